"""The embedded reward model is that of transformers."""

import json

import numpy as np

from tiltz import lm, rewards
from tiltz.lm.load import EMBEDDED


def test_the_embedded_reward_is_the_classifier_of_transformers():
    rows = [
        json.loads(line) for line in (EMBEDDED / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    prompts = [row["prompt"] for row in rows if row["kind"] in ("review", "story")][::8]
    drawn = lm.load("tiny").sample(prompts, 4, np.random.default_rng(0))
    texts = [c.text for group in drawn for c in group]
    repeated = [prompt for prompt in prompts for _ in range(4)]
    theirs = rewards.load(f"hf:{EMBEDDED / 'reward'}")
    wanted = theirs(repeated, [f"{text} <end>" for text in texts])
    assert np.allclose(rewards.load("tiny")(repeated, texts), wanted, atol=1e-4)
    assert np.std(wanted) > 0.1
