"""Where the models lie, and how a model, its tokenizer and its settings are written there and read back."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

import words

MODELS = Path(__file__).resolve().parent.parent / "src" / "tiltz" / "lm" / "models"

SAMPLING = {
    "bos_token_id": words.BOS,
    "do_sample": True,
    "eos_token_id": words.END,
    "max_new_tokens": words.MAX_COMPLETION,
    "pad_token_id": words.PAD,
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
}
"""``generation_config.json``: draws from the model itself, nothing cut off."""

TOKENIZER_SETTINGS = {
    "add_bos_token": True,
    "add_eos_token": False,
    "bos_token": "<bos>",
    "clean_up_tokenization_spaces": False,
    "eos_token": "<end>",
    "model_input_names": ["input_ids", "attention_mask"],
    "model_max_length": 64,
    "pad_token": "<pad>",
    "padding_side": "left",
    "tokenizer_class": "PreTrainedTokenizerFast",
    "unk_token": "<unk>",
}


def config(**sizes: int) -> LlamaConfig:
    """Return the settings of a small Llama over our vocabulary.

    Parameters
    ----------
    **sizes : int
        ``hidden_size`` and the like.

    Returns
    -------
    LlamaConfig
        Embeddings are tied, positions end at 64.
    """
    return LlamaConfig(
        vocab_size=len(words.vocabulary()),
        max_position_embeddings=64,
        rope_theta=10000.0,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        pad_token_id=words.PAD,
        bos_token_id=words.BOS,
        eos_token_id=words.END,
        use_cache=True,
        **sizes,
    )


def tokenizer() -> Tokenizer:
    """Return the tokenizer: one word is one token, words are split at spaces, ``<bos>`` is put in front.

    Returns
    -------
    Tokenizer
        Without padding and truncation.
    """
    ids = {word: i for i, word in enumerate(words.vocabulary())}
    made = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    made.add_special_tokens(list(words.SPECIAL))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", words.BOS)]
    )
    return made


def write_json(path: Path, content: dict) -> None:
    """Write an object as indented JSON.

    Parameters
    ----------
    path : Path
        The file.
    content : dict
        What it will hold.
    """
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def save(model: LlamaForCausalLM | LlamaForSequenceClassification, name: str) -> None:
    """Write a model in half precision, with its tokenizer.

    Parameters
    ----------
    model : LlamaForCausalLM or LlamaForSequenceClassification
        Is changed to half precision.
    name : str
        The folder: ``"reference"``, ``"policy"`` or ``"reward"``.
    """
    folder = MODELS / name
    model.half().save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if isinstance(model, LlamaForCausalLM):
        write_json(folder / "generation_config.json", SAMPLING)
    tokenizer().save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", TOKENIZER_SETTINGS)


def load(name: str) -> LlamaForCausalLM:
    """Return a saved language model in single precision.

    Parameters
    ----------
    name : str
        ``"reference"`` or ``"policy"``.

    Returns
    -------
    LlamaForCausalLM
        Ready to be read from; what it computes is what the file means.
    """
    return LlamaForCausalLM.from_pretrained(MODELS / name, dtype=torch.float32).eval()


def load_reward() -> LlamaForSequenceClassification:
    """Return the saved reward model in single precision.

    Returns
    -------
    LlamaForSequenceClassification
        One number for each text.
    """
    return LlamaForSequenceClassification.from_pretrained(MODELS / "reward", dtype=torch.float32).eval()


def load_tokenizer(name: str = "reference"):
    """Return a saved tokenizer as users get it.

    Parameters
    ----------
    name : str
        The folder.

    Returns
    -------
    PreTrainedTokenizerFast
        The three folders hold the same one.
    """
    return AutoTokenizer.from_pretrained(MODELS / name)
