"""llama.cpp's own server with the embedded reference, in a process that ends with the test run.

Run as a script it serves the model that it is given, says where on stdout, and ends when its stdin does.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

N_SLOTS = 8
_SPACE = "\u0120"  # how a vocabulary of this kind writes the space before a word
_ORDINARY, _CONTROL = 1, 3
_LAYER = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def write_gguf(folder: Path, path: Path) -> None:
    """Write a small Llama with a word-level vocabulary as llama.cpp reads it, in single precision.

    Its words become those of a byte-pair vocabulary that nothing is merged in, so that the server tokenises a text
    whose every word follows a space.
    """
    import gguf
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_vocab_size(config["vocab_size"])
    words = [word for word, _ in sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])]
    special = {added["id"] for added in tokenizer["added_tokens"] if added["special"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_merges(["a b"])  # of no tokens that there are; there must be one
    writer.add_token_list([word if i in special else _SPACE + word for i, word in enumerate(words)])
    writer.add_token_types([_CONTROL if i in special else _ORDINARY for i in range(len(words))])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(True)
    for name, weights in load_file(folder / "model.safetensors").items():
        single = weights.astype(np.float32)
        if "q_proj" in name or "k_proj" in name:
            heads = config["num_attention_heads" if "q_proj" in name else "num_key_value_heads"]
            single = _interleaved(single, heads)
        writer.add_tensor(_tensor(name), np.ascontiguousarray(single))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _interleaved(weights: np.ndarray, heads: int) -> np.ndarray:
    """Put pairs that are rotated together side by side, as llama.cpp rotates them."""
    return weights.reshape(heads, 2, -1, weights.shape[1]).swapaxes(1, 2).reshape(weights.shape)


def _tensor(name: str) -> str:
    whole = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if name in whole:
        return whole[name]
    _, _, layer, part = name.removesuffix(".weight").split(".", 3)
    return f"blk.{layer}.{_LAYER[part]}.weight"


@pytest.fixture(scope="session")
def llama_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the embedded reference and give the address."""
    from tiltz.lm.load import EMBEDDED

    path = tmp_path_factory.mktemp("gguf") / "reference.gguf"
    write_gguf(EMBEDDED / "reference", path)
    process = subprocess.Popen(
        [sys.executable, __file__, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://"), "the server of xllamacpp did not start"
        yield url
    finally:
        process.kill()
        process.communicate()


def serve(path: str) -> None:
    """Serve a model until stdin ends."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.model_alias = path, {"reference"}
    params.n_parallel, params.n_ctx = N_SLOTS, 64 * N_SLOTS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.n_threads_http = N_SLOTS + 4
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.warmup = params.fit_params = False
    # As the model is: single precision throughout.
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
