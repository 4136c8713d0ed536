"""Truncated and tempered distributions are those of transformers; what makes no sense is refused."""

import json

import numpy as np
import pytest
import torch
from transformers.generation import logits_process as warpers

from tiltz.errors import InputError
from tiltz.lm import SamplingSpec


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("top_k", [0, 1, 7, 50, 99])
@pytest.mark.parametrize("top_p", [0.05, 0.9, 1.0])
@pytest.mark.parametrize("min_p", [0.0, 0.2])
def test_the_distribution_is_that_of_transformers(temperature, top_k, top_p, min_p):
    logits = np.random.default_rng(0).normal(0, 2, size=(20, 50))
    wanted = torch.tensor(logits) / temperature
    if top_k:
        wanted = warpers.TopKLogitsWarper(top_k)(None, wanted)
    if top_p < 1:
        wanted = warpers.TopPLogitsWarper(top_p)(None, wanted)
    if min_p:
        wanted = warpers.MinPLogitsWarper(min_p)(None, wanted)
    spec = SamplingSpec(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    assert np.allclose(np.exp(spec.log_probs(logits)), torch.softmax(wanted, -1).numpy(), atol=1e-12)


def test_equals_at_the_edge_are_kept():
    assert np.exp(SamplingSpec(top_k=1).log_probs(np.zeros((1, 4)))).tolist() == [[0.25] * 4]


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"top_k": -1},
        {"top_k": 1.5},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"min_p": 1.0},
        {"max_tokens": 0},
        {"stop": "end"},
        {"stop": ("",)},
        {"stop": None},
        {"top_k": None},
        {"top_k": True},
        {"temperature": "1"},
        {"max_tokens": 4.0},
        {"max_tokens": float("inf")},
    ],
)
def test_values_that_are_refused(wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))} must be"):
        SamplingSpec(**wrong)


def test_values_of_numpy_can_be_written_down():
    spec = SamplingSpec(max_tokens=np.int64(8), temperature=np.float32(0.5))  # type: ignore[arg-type]
    assert json.loads(json.dumps(spec.to_dict()))["max_tokens"] == 8
