"""The embedded models: they keep the promises, are the models of transformers, and their prompts fit them."""

import json

import numpy as np
import pytest

from tiltz import lm
from tiltz.errors import InputError
from tiltz.lm.hf import load_transformers
from tiltz.lm.load import EMBEDDED
from tiltz.testbeds import check_language_model

ROWS = [json.loads(line) for line in (EMBEDDED / "prompts.jsonl").read_text(encoding="utf-8").splitlines()]
SOME = [row["prompt"] for row in ROWS[::12]]


@pytest.mark.parametrize("name", ["tiny", "tiny:policy"])
def test_embedded_models_keep_the_promises(name):
    check_language_model(lm.load(name), SOME[:6])


@pytest.mark.parametrize(("name", "folder"), [("tiny", "reference"), ("tiny:policy", "policy")])
def test_embedded_models_are_those_of_transformers(name, folder):
    ours = lm.load(name)
    theirs = load_transformers(str(EMBEDDED / folder), spec=ours.spec)
    drawn = ours.sample(SOME, 8, np.random.default_rng(0))
    pairs = [(prompt, c.ids) for prompt, group in zip(SOME, drawn, strict=True) for c in group]
    prompts, ids = zip(*pairs, strict=True)
    assert np.abs(ours.log_prob(prompts, ids) - theirs.log_prob(prompts, ids)).max() < 1e-4
    assert [theirs.decode(i) for i in ids] == [ours.decode(i) for i in ids]


def test_prompts_and_answers_are_in_the_vocabulary():
    model = lm.load("tiny")
    assert len({row["prompt_id"] for row in ROWS}) == len(ROWS) == 240
    for row in ROWS:
        model.engine.encode_prompt(row["prompt"])
        for text in (row["answer"] or []) + (row["options"] or []):
            assert len(model.encode(text)) < model.spec.max_tokens
    with pytest.raises(InputError, match="must be in the vocabulary"):
        model.sample(["what is a zebra ?"], 1, np.random.default_rng(0))


def test_scored_answers_are_as_probable_as_they_are_drawn():
    model = lm.load("tiny")
    row = next(row for row in ROWS if row["kind"] == "label")
    known = lm.score_answers(model, [row["prompt"]], row["options"])
    drawn = [c.text for c in model.sample([row["prompt"]], 4000, np.random.default_rng(0))[0]]
    for text, log_prob in zip(row["options"], known.log_ref[0], strict=True):
        p = float(np.exp(log_prob))
        assert abs(drawn.count(text) / 4000 - p) <= 4.89 * np.sqrt(p * (1 - p) / 4000)


@pytest.mark.parametrize(
    "name", ["", "tiny:", "tiny:other", "gpt", "hf:", "numpy:nowhere", "table:nowhere.jsonl"]
)
def test_names_that_are_refused(name):
    if name == "tiny:":
        assert lm.load(name).ref_id["model"] == "tiny"
        return
    with pytest.raises(InputError):
        lm.load(name)
