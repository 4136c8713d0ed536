"""Models small enough to enumerate, and all their completions."""

import itertools
from pathlib import Path

import numpy as np

from tiltz.lm import LocalModel, SamplingSpec, table_model
from tiltz.lm.hf import load_transformers
from tiltz.lm.llama import LlamaEngine
from tiltz.lm.whole import end_of

SPECS = {
    "plain": SamplingSpec(max_tokens=4),
    "tempered": SamplingSpec(max_tokens=4, temperature=0.7),
    "top_k": SamplingSpec(max_tokens=4, top_k=5),
    "top_p": SamplingSpec(max_tokens=4, top_p=0.9),
    "min_p": SamplingSpec(max_tokens=4, min_p=0.1),
    "stop": SamplingSpec(max_tokens=4, stop=("b c", "d")),
}
COIN = {
    "toss": {"heads": 0.5, "tails": 0.4, "lost it": 0.1},
    "a die": {"one two three": 0.2, "one two": 0.3, "one": 0.5},
}
PROMPTS = ["a b", "c", "d d a c b"]


def tiny(folder: Path, spec: SamplingSpec, **options: int) -> LocalModel:
    return LocalModel(LlamaEngine(folder), spec, ref_id={"model": "toy"}, **options)


def build(kind: str, folder: Path, spec: SamplingSpec) -> tuple[LocalModel, list[str]]:
    if kind == "table":
        return table_model(COIN, spec=spec), list(COIN)
    if kind == "hf":
        return load_transformers(str(folder), spec=spec), PROMPTS
    return tiny(folder, spec), PROMPTS


def every_completion(model: LocalModel) -> list[tuple[int, ...]]:
    """Every sequence that ends within max_tokens, also by a stop string, and every one that is cut there."""
    others = [i for i in range(model.vocab_size) if i != model.end_id]
    length = model.spec.max_tokens
    ended = [(*ids, model.end_id) for k in range(length) for ids in itertools.product(others, repeat=k)]
    short = [ids for k in range(1, length) for ids in itertools.product(others, repeat=k)]
    stopped = [ids for ids in short if model.spec.stop and end_of(ids, model) == "stop"]
    return [*ended, *stopped, *itertools.product(others, repeat=length)]


def probabilities(model: LocalModel, prompt: str) -> dict[tuple[int, ...], float]:
    outcomes = every_completion(model)
    log_prob = model.log_prob([prompt] * len(outcomes), outcomes)
    return dict(zip(outcomes, np.exp(log_prob), strict=True))
