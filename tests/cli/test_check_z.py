"""``tiltz check-z``: the library's numbers, the columns of files, and what is said of them."""

import json

import numpy as np
import pytest

import tiltz as library
from tiltz.files import write_columns

BETA = 0.5


@pytest.fixture
def claims(tmp_path):
    """Three interleaved prompts, each row with several claims."""
    rng = np.random.default_rng(0)
    prompt, reward = [f"p{i % 3}" for i in range(24)], rng.normal(size=24)
    groups = [reward[i::3] for i in range(3)]
    mean = [float(groups[i % 3].mean()) for i in range(24)]
    log_z = [float(np.log(np.mean(np.exp(groups[i % 3] / BETA)))) for i in range(24)]
    columns = {"prompt": prompt, "reward": reward.tolist(), "baseline": mean, "log_z": log_z}
    columns["as_text"] = [f"{x!r}" for x in log_z]
    columns["holes"] = [None if i == 7 else 1.0 for i in range(24)]
    columns["moving"] = rng.normal(size=24).tolist()
    write_columns(columns, tmp_path / "r.parquet")
    return tmp_path / "r.parquet"


def test_json_holds_the_numbers_of_the_library(tiltz, claims, tmp_path):
    words = ["check-z", claims, "--beta", BETA, "--column", "baseline", "--as", "soft_value", "-o", "out.csv"]
    result = tiltz(*words, "--reward-range", "-9:9", "--json").json()
    assert list(result) == ["schema", "rows", "overall", "source"]
    table = library.read(claims)
    claim = [np.mean(table.reward[i::3]) for i in range(3)]
    found = library.check_z(table, BETA, claim, of="soft_value", reward_range=(-9, 9))
    assert [row["difference"] for row in result["rows"]] == pytest.approx(found.difference, rel=1e-12)
    assert [row["prompt"] for row in result["rows"]] == ["p0", "p1", "p2"]
    assert result["overall"]["recognised"] == ["mean_reward"]
    assert result["overall"]["lo"] == pytest.approx(found.overall[1])
    assert (tmp_path / "out.csv").read_text().startswith("prompt,beta,claimed,log_z")


def test_what_the_column_is_is_said(tiltz, claims):
    done = tiltz("check-z", claims, "--beta", BETA, "--column", "as_text", "--prompt", "p1")
    assert max(map(len, done.out.splitlines())) <= 80
    assert "recognised: the log-mean-exp of the group" in done.out
    wrong = " ".join(tiltz("check-z", claims, "--beta", BETA, "--column", "baseline").out.split())
    assert "read as soft_value it is the mean reward over beta" in wrong


def test_values_of_a_line_serve_all_its_completions(tiltz, tmp_path):
    lines = [
        {
            "context": [{"role": "user", "content": name}],
            "completions": [{"completion": [], "reward": reward} for reward in (0.0, 1.0)],
            "log_z": claim,
        }
        for name, claim in (("a", 1.0), ("b", 2.0))
    ]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = tiltz("check-z", "r.jsonl", "--beta", BETA, "--column", "log_z", "--json").json()
    assert [row["claimed"] for row in result["rows"]] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--column", "absent"], "the column 'absent' is not in"),
        (["--column", "absent"], "columns that hold numbers: reward, baseline, log_z, holes, moving"),
        (["--column", "prompt"], "a number in every row; found text, null or NaN in"),
        (["--column", "holes"], "row 8 (1 such row)"),
        (["--column", "moving"], "differs within 3 of 3 prompts"),
        (["--column", "log_z", "--beta", 1], "one beta; found 2"),
        ([], "Missing option '--column'"),
    ],
)
def test_mistakes_are_refused(tiltz, claims, words, says):
    done = tiltz("check-z", claims, "--beta", BETA, *words, code=2)
    assert says in " ".join(done.err.split())
    assert done.out == ""
