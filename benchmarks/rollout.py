"""tiltz.rollout through transformers, against a bare generate() loop: tokens per second at equal batches.

Both draw the same number of completions of the same prompts from the same weights, in alternating repetitions. The
rollout also computes the log-probability of every completion, rewards it and writes it to disk. Tokens are those of
the completions, up to the end token. The second model is random, has 32,000 tokens and hardly ever ends a completion
before max_tokens, so that nothing is won by leaving rows that have ended.
"""

import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from tiltz import lm
from tiltz.lm.hf import TransformersEngine
from tiltz.lm.load import EMBEDDED
from tiltz.rollouts.drawing import rollout

BATCHES = (64, 256)
COMPLETIONS = 16
MAX_TOKENS = 24
REPETITIONS = 3


def length(prompts, completions, **columns):
    return [float(len(text)) for text in completions]


def embedded():
    lines = (EMBEDDED / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    return str(EMBEDDED / "reference"), [json.loads(line)["prompt"] for line in lines][:64]


def large_vocabulary(folder, vocab_size=32_000):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = ["<pad>", "<bos>", "<end>", *(f"w{i}" for i in range(3, vocab_size))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<end>", pad_token="<pad>"
    ).save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=vocab_size, hidden_size=256, intermediate_size=688, num_hidden_layers=4, num_attention_heads=4,
        bos_token_id=1, eos_token_id=2, pad_token_id=0, tie_word_embeddings=True, initializer_range=0.1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    rng = np.random.default_rng(0)
    prompts = [" ".join(f"w{i}" for i in rng.integers(3, vocab_size, rng.integers(5, 20))) for _ in range(16)]
    return str(folder), prompts


def by_rollout(model, prompts, seed):
    with tempfile.TemporaryDirectory() as folder:
        return rollout(model, length, prompts, COMPLETIONS, folder, seed=seed).n_tokens


def by_generate(engine: TransformersEngine, prompts, batch, seed):
    import torch

    torch.manual_seed(seed)
    ids = [engine.encode_prompt(prompt) for prompt in prompts for _ in range(COMPLETIONS)]
    n_tokens = 0
    for first in range(0, len(ids), batch):
        some = ids[first : first + batch]
        longest = max(map(len, some))
        tokens = torch.tensor([[0] * (longest - len(row)) + row for row in some])
        seen = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in some])
        with torch.inference_mode():
            drawn = engine.model.generate(
                input_ids=tokens, attention_mask=seen, do_sample=True, top_k=0, top_p=1.0, temperature=1.0,
                max_new_tokens=MAX_TOKENS, pad_token_id=0,
            )[:, longest:]  # fmt: skip
        is_end = (drawn == engine.end_id).long()
        n_tokens += int((is_end.cumsum(1) - is_end == 0).sum())
    return n_tokens


def speed(draw):
    begun = time.perf_counter()
    n_tokens = draw()
    return n_tokens / (time.perf_counter() - begun)


def compare(name, folder, prompts, batch):
    model = lm.load(f"hf:{folder}", spec=lm.SamplingSpec(max_tokens=MAX_TOKENS), batch_size=batch)
    by_rollout(model, prompts[:2], 0)  # what is compiled or read once
    ours, theirs = [], []
    for seed in range(REPETITIONS):
        ours.append(speed(lambda: by_rollout(model, prompts, seed)))  # noqa: B023
        theirs.append(speed(lambda: by_generate(model.engine, prompts, batch, seed)))  # noqa: B023
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    print(
        f"{name:<22}{batch:>6}{statistics.median(ours):>12,.0f}{statistics.median(theirs):>12,.0f}{ratio:>8.2f}",
        flush=True,
    )


def main():
    print(
        f"tokens per second, median of {REPETITIONS} alternating repetitions; ratio: median of their ratios"
    )
    print(f"{'model':<22}{'batch':>6}{'rollout':>12}{'generate':>12}{'ratio':>8}")
    for batch in BATCHES:
        compare("embedded", *embedded(), batch)
    with tempfile.TemporaryDirectory() as folder:
        for batch in BATCHES:
            compare("random, 32,000 tokens", *large_vocabulary(Path(folder)), batch)


if __name__ == "__main__":
    main()
