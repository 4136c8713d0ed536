"""tiltz rollout: what it writes, that it goes on after being killed, and what it refuses."""

import fcntl
import json
import os
import random
import resource
import signal
import subprocess
import time

import duckdb
import pytest

import tiltz as library
from tests.cli.conftest import TILTZ
from tests.cli.test_endings import wait_for

REWARD = """
def words(prompts, completions, **columns):
    return [len(text.split()) / 24 for text in completions]

def right(prompts, completions, answer, **columns):
    return [float(text in accepted) for text, accepted in zip(completions, answer)]

words.reward_range = (0, 1)

def nowhere(prompts, completions, **columns):
    raise LookupError("no such answer")

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


def start(tmp_path, command):
    return subprocess.Popen(
        [TILTZ, *map(str, command)], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


UNTIL = ["--reward", "rewards.py:words", "--until-width", 1, "--beta", 0.2, "-o", "out"]


def test_every_prompt_gets_what_its_interval_needs(tiltz, prompts, tmp_path):
    done = tiltz("rollout", prompts, *UNTIL, "--at-most", 300, "--batch-prompts", 2)
    sizes = duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/out/*.parquet' GROUP BY prompt_id").fetchall()
    assert len(set(sizes)) > 1
    assert "6 of 6 prompts have an interval at most 1 nats wide at beta 0.2" in done.out
    assert (
        f"the hardest prompt needed {max(sizes)[0]}; so many for each would be {max(sizes)[0] * 6:,}"
        in done.out
    )
    assert "tiltz estimate out --beta 0.2\n" in done.out
    found = tiltz("estimate", "out", "--beta", 0.2, "--json").json()
    assert all(row["hi"] - row["lo"] <= 1 and row["flags"] == ["adaptive"] for row in found["rows"])
    assert [row["kind"] for row in found["rows"]] == ["certified"] * 6
    again = tiltz("rollout", prompts, *UNTIL, "--at-most", 300, "--batch-prompts", 2, "--json").json()
    assert (again["n_new"], again["n_narrow"], again["most_rows"]) == (0, 6, max(sizes)[0])
    for option in (["--at-most", 200], ["--beta", 0.1], ["--until-width", 2]):
        refused = tiltz("rollout", prompts, *UNTIL, "--at-most", 300, "--batch-prompts", 2, *option, code=2)
        assert "begun with another" in refused.err
    command = ["rollout", prompts, "--reward", "rewards.py:words", "-o", "out", "--batch-prompts", 2]
    assert "until_width" in tiltz(*command, code=2).err


def test_how_many_ended_at_the_cap_is_said(tiltz, prompts):
    done = tiltz("rollout", prompts, *UNTIL, "--at-most", 20)
    assert "0 of 6 prompts have an interval" in done.out
    assert "6 ended with the 20 completions that --at-most allows" in done.out


def test_why_rewards_are_missing_is_said(tiltz, prompts):
    done = tiltz("rollout", prompts, "--reward", "rewards.py:nowhere", "-n", 2, "-o", "out")
    assert "12 completions without a reward" in done.out
    assert "the first because: LookupError: no such answer" in done.out
    refused = tiltz("estimate", "out", "--beta", 1, code=2)
    assert "12 times: 'LookupError: no such answer'" in " ".join(refused.err.split())


def test_two_runs_in_one_folder_are_refused(tiltz, prompts, tmp_path):
    (tmp_path / "out").mkdir()
    other = os.open(tmp_path / "out", os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    command = ["rollout", prompts, "--reward", "rewards.py:words", "-n", 2, "-o", "out"]
    assert "one run at a time" in tiltz(*command, code=2).err
    os.close(other)
    tiltz(*command)


def test_a_full_disk_gets_one_paragraph_and_leaves_nothing_half_written(prompts, tmp_path):
    command = ["rollout", prompts, "--reward", "rewards.py:words", "-n", 50, "-o", "out"]
    done = subprocess.run(
        [TILTZ, *map(str, command)], cwd=tmp_path, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)),
    )  # fmt: skip
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["rollout.json"]


def test_interrupted_it_says_how_to_go_on(tiltz, prompts, tmp_path):
    command = ["rollout", prompts, "--reward", "rewards.py:words", "-n", 150, "--batch-prompts", 1]
    with start(tmp_path, [*command, "-o", "out"]) as running:
        wait_for(lambda: list(tmp_path.glob("out/part-*")))
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert out == ""
    assert err.split("\n") == [
        "finished shards are in out; the same command goes on from there",
        "",
        "Aborted!",
        "",
    ]
    tiltz(*command, "-o", "out")
    tiltz(*command, "-o", "whole")
    assert written(tmp_path / "out") == written(tmp_path / "whole")


def test_a_folder_is_read_while_it_grows(prompts, tmp_path):
    command = [
        "rollout",
        prompts,
        "--reward",
        "rewards.py:words",
        "-n",
        200,
        "--batch-prompts",
        1,
        "-o",
        "out",
    ]
    seen = []
    with start(tmp_path, command) as running:
        wait_for(lambda: list(tmp_path.glob("out/part-*")))
        while running.poll() is None:
            seen.append(len(library.read(tmp_path / "out").n))
    assert seen == sorted(seen)
    assert library.read(tmp_path / "out").n.tolist() == [200] * 6


@pytest.mark.parametrize(
    ("options", "kills"),
    [(["-n", 400], 10), (["--until-width", 1.5, "--beta", 0.2, "--at-most", 200], 3)],
    ids=["fixed", "until-width"],
)
def test_killed_at_any_moment_it_goes_on_to_the_same_end(tiltz, killed, prompts, tmp_path, options, kills):
    command = ["rollout", prompts, "--reward", "rewards.py:words", *options, "--batch-prompts", 1]
    begun = time.monotonic()
    tiltz(*command, "-o", "whole")
    seconds = time.monotonic() - begun
    rng = random.Random(0)
    for _ in range(kills):
        killed(*command, "-o", "killed", when=lambda process: time.sleep(rng.uniform(0.3, 1.0) * seconds))
    tiltz(*command, "-o", "killed")
    assert written(tmp_path / "killed") == written(tmp_path / "whole")
    left = {path.name for path in (tmp_path / "killed").iterdir()}
    assert left == {path.name for path in (tmp_path / "whole").iterdir()}


def test_a_large_model_is_loaded_once(monkeypatch):
    from tiltz import lm
    from tiltz.cli.rollout import _model

    asked = []
    monkeypatch.setattr(lm, "load", lambda name, spec=None: asked.append((name, spec)))
    plain = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    _model("hf:large", {**plain, "max_tokens": None})
    assert asked == [("hf:large", lm.SamplingSpec())]


def test_a_length_of_nothing_is_refused(tiltz, prompts):
    done = tiltz("rollout", prompts, "--reward", "rewards.py:words", "--max-tokens", 0, "-o", "out", code=2)
    assert "max_tokens must be a whole number, at least 1" in done.err


def test_the_same_name_in_another_file_is_another_reward(tiltz, prompts, tmp_path):
    (tmp_path / "other.py").write_text(REWARD, encoding="utf-8")
    tiltz("rollout", prompts, "--reward", "rewards.py:words", "-n", 2, "-o", "out")
    err = tiltz("rollout", prompts, "--reward", "other.py:words", "-n", 2, "-o", "out", code=2).err
    assert "another reward_id" in err
