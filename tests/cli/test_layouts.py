"""A file in each trainer's layout, end to end through the installed command."""

import json
from pathlib import Path

import numpy as np
import pytest

from tiltz.files import write_columns

TRL_RUN = Path(__file__).parents[1] / "data" / "trl_grpo_string"
TRL_REWARD = ["--reward", "1.0*contains_kind_word", "--reward", "0.3*rm_128_4_fp16"]
REWARDS = {"What is 1 + 1?": [0.0, 1.0, 1.0, 0.0], "What is 2 + 2?": [0.0, 0.0, 0.0, 1.0]}


def log_mean_exp(rewards, beta):
    return float(np.log(np.mean(np.exp(np.array(rewards) / beta))))


@pytest.mark.parametrize(
    ("step", "n_groups", "mean_reward", "at_0_05", "at_0_5"),
    [("all", 40, 0.911281, 31.284170, 2.482412), ("1", 4, 0.941099, 31.705757, 2.499886)],
)
def test_real_trl_run(tiltz, step, n_groups, mean_reward, at_0_05, at_0_5):
    words = [TRL_RUN, *TRL_REWARD, "--step", step, "--json"]
    result = tiltz("estimate", *words, "--beta", 0.05, "--beta", 0.5).json()
    assert len(result["rows"]) == 2 * n_groups
    for beta, expected in ((0.05, at_0_05), (0.5, at_0_5)):
        found = [row["log_z"] for row in result["rows"] if row["beta"] == beta]
        assert np.mean(found) == pytest.approx(expected, abs=1e-5)
    flat = tiltz("sweep", *words, "--betas", 1e9, "--interval", "none").json()
    assert np.mean([row["soft_value"] for row in flat["rows"]]) == pytest.approx(mean_reward, abs=1e-5)


def test_trl_steps_must_be_named(tiltz):
    assert "--step 1" in " ".join(tiltz("estimate", TRL_RUN, *TRL_REWARD, "--beta", 0.5, code=2).err.split())
    err = tiltz("estimate", TRL_RUN, "--beta", 0.5, code=2).err
    assert "contains_kind_word" in err
    assert "rm_128_4_fp16" in err
    out = tiltz("estimate", TRL_RUN, *TRL_REWARD, "--beta", 0.5, "--step", 3).out
    assert "relative to the policy of step 3" in " ".join(out.split())


def verl(folder):
    lines = [
        {"input": prompt, "output": "x", "gts": "2", "score": reward, "step": 7, "acc": bool(reward)}
        for prompt, rewards in REWARDS.items()
        for reward in rewards
    ]
    path = folder / "7.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path, []


def a_po(folder):
    columns = {"prompt": list(REWARDS)}
    for i in range(4):
        columns |= {f"response_{i}": ["x", "y"], f"eval_{i}": [rewards[i] for rewards in REWARDS.values()]}
    path = folder / "a_po.parquet"
    write_columns(columns, path)
    return path, []


def nemo_rl(folder):
    lines = [
        {
            "context": [{"role": "user", "content": prompt}],
            "completions": [
                {
                    "completion": [{"role": "assistant", "content": "x"}],
                    "reward": reward,
                    "reference_logprob": -3.5,
                }
                for reward in rewards
            ],
        }
        for prompt, rewards in REWARDS.items()
    ]
    path = folder / "oapl.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path, []


def ours(folder):
    path = folder / "ours.csv"
    rows = [(prompt, reward) for i in range(4) for prompt, reward in ((p, REWARDS[p][i]) for p in REWARDS)]
    path.write_text("prompt,reward\n" + "".join(f"{prompt},{reward}\n" for prompt, reward in rows))
    return path, []


@pytest.mark.parametrize("layout", [verl, a_po, nemo_rl, ours], ids=lambda layout: layout.__name__)
def test_other_layouts(tiltz, tmp_path, layout):
    path, words = layout(tmp_path)
    result = tiltz("estimate", path, *words, "--beta", 0.5, "--json").json()
    assert [row["log_z"] for row in result["rows"]] == pytest.approx(
        [log_mean_exp(rewards, 0.5) for rewards in REWARDS.values()], abs=1e-12
    )
    assert [row["n"] for row in result["rows"]] == [4, 4]
    tiltz("sample", path, "--beta", 0.5, "-n", 3, "-o", "tilted.jsonl")
    drawn = [json.loads(line) for line in (tmp_path / "tilted.jsonl").read_text().splitlines()]
    assert len(drawn) == 6


def test_rollouts_of_a_policy_are_weighted(tiltz, tmp_path):
    columns = {
        "prompt": ["a"] * 4,
        "reward": [0.0, 1.0, 0.5, 0.2],
        "log_ref": [-2.0, -3.0, -1.5, -2.5],
        "log_policy": [-2.5, -1.0, -1.5, -2.0],
    }
    write_columns(columns, tmp_path / "policy.parquet")
    weights = np.exp(np.array(columns["log_ref"]) - columns["log_policy"] + np.array(columns["reward"]) / 0.5)
    row = tiltz("estimate", "policy.parquet", "--beta", 0.5, "--json").json()["rows"][0]
    assert row["log_z"] == pytest.approx(np.log(weights.mean()), abs=1e-12)
    assert row["kind"] == "lower-only"
    out = tiltz("estimate", "policy.parquet", "--beta", 0.5).out
    assert "policy" in out
    plain = tiltz("estimate", "policy.parquet", "--beta", 0.5, "--drawn-from", "reference", "--json").json()[
        "rows"
    ][0]
    assert plain["log_z"] == pytest.approx(log_mean_exp(columns["reward"], 0.5), abs=1e-12)
