"""tiltz rollout: what it writes, that it goes on after being killed, and what it refuses."""

import json
import os
import random
import signal
import subprocess
import time

import duckdb
import pytest

from tests.cli.conftest import TILTZ

REWARD = """
def words(prompts, completions, **columns):
    return [len(text.split()) / 24 for text in completions]

def right(prompts, completions, answer, **columns):
    return [float(text in accepted) for text, accepted in zip(completions, answer)]

def sometimes(prompts, completions, **columns):
    return [None if len(text.split()) > 3 else 1.0 for text in completions]
"""


@pytest.fixture
def prompts(tmp_path):
    (tmp_path / "rewards.py").write_text(REWARD, encoding="utf-8")
    rows = [
        {"prompt": f"what is {a} plus {b} ? ->", "answer": ["seven"]}
        for a in ("two", "three")
        for b in ("four", "five", "six")
    ]
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def written(folder):
    return duckdb.sql(f"SELECT * FROM '{folder}/part-*.parquet'").fetchall()


def test_rollouts_are_written_and_estimated(tiltz, prompts, tmp_path):
    done = tiltz(
        "rollout",
        prompts,
        "--reward",
        "rewards.py:right",
        "-n",
        10,
        "-o",
        "out",
        "--batch-prompts",
        4,
        "--json",
    )
    assert done.json() | {"seconds": 0, "n_tokens": 0} == {
        "schema": "tiltz/1", "folder": "out", "n_rows": 60, "n_new": 60, "n_tokens": 0, "n_failed": 0, "seconds": 0,
    }  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "part-00000.parquet",
        "part-00001.parquet",
        "rollout.json",
    ]
    columns = duckdb.sql(f"DESCRIBE SELECT * FROM '{tmp_path}/out/*.parquet'").fetchall()
    assert [name for name, *_ in columns] == [
        "prompt_id", "prompt", "completion", "reward", "log_ref", "n_tokens", "truncated", "completion_ids", "error",
        "answer",
    ]  # fmt: skip
    found = tiltz("estimate", "out", "--beta", 1, "--json").json()
    assert len(found["rows"]) == 6
    assert json.loads(found["source"]["metadata"]["ref_id"])["model"] == "tiny"


def test_a_second_run_repeats_nothing(tiltz, prompts, tmp_path):
    command = ["rollout", prompts, "--reward", "rewards.py:words", "-n", 5, "-o", "out", "--batch-prompts", 2]
    tiltz(*command)
    whole = written(tmp_path / "out")
    (tmp_path / "out" / "part-00001.parquet").unlink()
    again = tiltz(*command).out
    assert "30 completions, 10 drawn now, 20 were there" in again
    assert written(tmp_path / "out") == whole


def test_several_rewards_are_summed_and_failures_kept(tiltz, prompts, tmp_path):
    done = tiltz(
        "rollout",
        prompts,
        "--reward",
        "rewards.py:words",
        "--reward",
        "rewards.py:sometimes",
        "-n",
        20,
        "-o",
        "out",
    )
    rows = duckdb.sql(f"SELECT reward, words, sometimes, error FROM '{tmp_path}/out/*.parquet'").fetchall()
    assert len(rows) == 120
    failed = [row for row in rows if row[3] is not None]
    assert 0 < len(failed) < 120
    assert f"{len(failed)} completions without a reward" in done.out
    assert all(reward == words + sometimes for reward, words, sometimes, error in rows if error is None)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--seed", 1], "another seed"),
        (["--temperature", 0.5], "another ref_id"),
        (["-n", 6], "another n"),
        (["--reward", "rewards.py:right"], "another reward_id"),
    ],
)
def test_a_folder_holds_one_run(tiltz, prompts, options, says):
    command = ["rollout", prompts, "-n", 5, "-o", "out", "--batch-prompts", 3]
    tiltz(*command, "--reward", "rewards.py:words")
    reward = [] if "--reward" in options else ["--reward", "rewards.py:words"]
    assert says in tiltz(*command, *reward, *options, code=2).err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["prompts.jsonl", "--reward", "rewards.py:nothing"], "nothing"),
        (["prompts.jsonl", "--reward", "rewards.py:words", "-m", "gpt"], "a model is tiny"),
        (
            ["prompts.jsonl", "--reward", "rewards.py:words", "--temperature", 0],
            "temperature must be above 0",
        ),
        (["rewards.py", "--reward", "rewards.py:words"], "rewards.py"),
        (["missing.jsonl", "--reward", "rewards.py:words"], "missing.jsonl"),
    ],
)
def test_what_is_refused(tiltz, prompts, words, says):
    assert says in tiltz("rollout", *words, "-o", "out", code=2).err


def test_killed_at_any_moment_it_goes_on_to_the_same_end(tiltz, prompts, tmp_path):
    command = ["rollout", prompts, "--reward", "rewards.py:words", "-n", 400, "--batch-prompts", 1]
    begun = time.monotonic()
    tiltz(*command, "-o", "whole")
    seconds = time.monotonic() - begun
    rng = random.Random(0)
    for _ in range(10):
        process = subprocess.Popen(
            [TILTZ, *map(str, command), "-o", "killed"],
            cwd=tmp_path, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(rng.uniform(0.3, 1.0) * seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
    tiltz(*command, "-o", "killed")
    assert written(tmp_path / "killed") == written(tmp_path / "whole")
    left = {path.name for path in (tmp_path / "killed").iterdir()}
    assert left == {path.name for path in (tmp_path / "whole").iterdir()}
