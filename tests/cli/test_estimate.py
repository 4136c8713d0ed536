import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

import tiltz as library
from tiltz.testbeds import DEMO_FILE

KEYS = [
    "prompt", "beta", "log_z", "lo", "hi", "level", "soft_value", "n", "ess", "khat", "kind", "flags", "bias",
]  # fmt: skip


def test_one_line_per_prompt_and_beta_and_a_total(tiltz, rollouts):
    out = tiltz("estimate", rollouts, "--beta", 0.1, "--beta", 0.5).out
    lines = out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("p") and "[" in line] == ["p0"] * 2 + [
        "p1"
    ] * 2 + ["p2"] * 2
    assert sum(line.startswith("mean soft value over 3 prompts") for line in lines) == 2
    assert "if you know it, declare reward_values=(0, 1)" in out
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in out


def test_json_is_one_object_with_the_numbers_of_the_library(tiltz, rollouts):
    done = tiltz("estimate", rollouts, "--beta", 0.5, "--reward-values", "0,1", "--json")
    result = done.json()
    assert list(result) == ["schema", "rows", "overall", "source"]
    assert [list(row) for row in result["rows"]] == [KEYS] * 3
    est = library.estimate(library.read(rollouts), 0.5, reward_values=(0, 1))
    for i, row in enumerate(result["rows"]):
        assert row["log_z"] == est.log_z[i, 0]
        assert (row["lo"], row["hi"], row["kind"]) == (est.lo[i, 0], est.hi[i, 0], "certified")
        assert row["flags"] == list(est.flags[i, 0])
    assert result["overall"]["soft_value"] == est.overall.soft_value[0]
    assert result["overall"]["over"] == "population"
    assert isinstance(result["source"], dict)


def test_json_of_several_betas_and_infinite_limits(tiltz, tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("prompt,reward\na,0.5\na,0.5\nb,0.1\nb,0.7\nb,0.3\n")
    result = tiltz("estimate", path, "--betas", "0.1:1:3", "--json").json()
    assert [row["beta"] for row in result["rows"][:3]] == pytest.approx([0.1, math.sqrt(0.1), 1.0])
    assert [entry["beta"] for entry in result["overall"]] == pytest.approx([0.1, math.sqrt(0.1), 1.0])
    assert result["rows"][0]["hi"] == "inf"
    assert result["rows"][0]["kind"] == "lower-only"
    assert [entry["n_unbounded"] for entry in result["overall"]] == [
        sum(row["hi"] == "inf" for row in result["rows"][j::3]) for j in range(3)
    ]


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_output_by_suffix(tiltz, rollouts, tmp_path, suffix):
    path = tmp_path / f"table.{suffix}"
    done = tiltz("estimate", rollouts, "--beta", 0.5, "-o", path, "--json")
    expected = [row["log_z"] for row in done.json()["rows"]]
    if suffix == "parquet":
        import pyarrow.parquet as pq

        found = pq.read_table(path).to_pylist()
    elif suffix == "jsonl":
        found = [json.loads(line) for line in path.read_text().splitlines()]
    else:
        with path.open(newline="", encoding="utf-8") as file:
            found = list(csv.DictReader(file))
    assert list(found[0]) == KEYS
    assert [float(row["log_z"]) for row in found] == expected
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([rollouts.name, path.name])


def test_prompt_filter_keeps_what_the_whole_table_shows(tiltz, rollouts):
    whole = tiltz("estimate", rollouts, "--beta", 0.5, "--json").json()["rows"]
    part = tiltz("estimate", rollouts, "--beta", 0.5, "--prompt", "P2", "--json").json()["rows"]
    assert part == whole[2:]
    assert tiltz("estimate", rollouts, "--beta", 0.5, "--prompt", "p0", "--json").json()["rows"] == whole[:1]
    assert "none of its 3 labels" in tiltz("estimate", rollouts, "--beta", 1, "--prompt", "x", code=2).err


def test_level_interval_and_these_prompts(tiltz, rollouts):
    wide, narrow = (
        tiltz("estimate", rollouts, "--beta", 0.5, "--level", level, "--json").json()["rows"][1]
        for level in (0.99, 0.5)
    )
    assert wide["lo"] < narrow["lo"] < narrow["hi"] < wide["hi"]
    points = tiltz("estimate", rollouts, "--beta", 0.5, "--interval", "none", "--json").json()
    assert {row["kind"] for row in points["rows"]} == {"point"}
    assert points["rows"][0]["lo"] == "nan"
    these = tiltz("estimate", rollouts, "--beta", 0.5, "--these-prompts", "--json").json()
    assert these["overall"]["over"] == "these prompts"


def test_rows_limits_the_lines(tiltz, rollouts):
    out = tiltz("estimate", rollouts, "--beta", 0.5, "--rows", 1).out
    assert "... 2 more lines of 3" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["missing.parquet", "--beta", "1"], "missing.parquet"),
        (["rollouts.jsonl", "--beta", "0"], "positive"),
        (["rollouts.jsonl", "--beta", "nan"], "positive"),
        (["rollouts.jsonl", "--beta", "1:2"], "LOW:HIGH:N"),
        (["rollouts.jsonl", "--beta", "1:2:10000000000"], "10,000 betas at most"),
        (["rollouts.jsonl", "--beta", "1", "--step", "1", "--step", "2"], "only one can be given"),
        (["rollouts.jsonl"], "--beta"),
        (["rollouts.jsonl", "--beta", "1", "--level", "95"], "level must lie between 0 and 1"),
        (["rollouts.jsonl", "--beta", "1", "--reward", "nope"], "nope"),
        (["rollouts.jsonl", "--beta", "1", "--reward", "completion"], "completion"),
        (["rollouts.jsonl", "--beta", "1", "--reward-range", "1:0"], "lowest first"),
        (
            ["rollouts.jsonl", "--beta", "1", "--reward-range", "0.5:1"],
            "found 0 in 'rollouts.jsonl', line 1, prompt 'p0'",
        ),
        (["rollouts.jsonl", "--beta", "1", "--reward-values", "0,2"], "reward_values"),
        (["rollouts.jsonl", "--beta", "1", "-o", "table.xlsx"], "table.xlsx"),
        (["rollouts.jsonl", "--beta", "1", "-o", "no/such/folder.csv"], "folder"),
        (["rollouts.jsonl", "--beta", "1", "--drawn-from", "policy"], "log_ref"),
        (["rollouts.jsonl", "--beta", "1", "--step", "x"], "step"),
        (["nan.csv", "--beta", "1"], "nan.csv"),
        (["broken.jsonl", "--beta", "1"], "line 2"),
        (["cut.parquet", "--beta", "1"], "cut.parquet"),
        (["text.csv", "--beta", "1"], "good"),
        (["columns.csv", "--beta", "1"], "reward"),
        (["empty.csv", "--beta", "1"], "empty"),
    ],
)
def test_mistakes_get_one_paragraph_and_exit_code_2(tiltz, rollouts, tmp_path, words, says):
    (tmp_path / "nan.csv").write_text("prompt,reward\na,1\na,nan\n")
    (tmp_path / "broken.jsonl").write_text('{"prompt": "a", "reward": 1}\n{"prompt": "a", "rew\n')
    (tmp_path / "cut.parquet").write_bytes(DEMO_FILE.read_bytes()[:5000])
    (tmp_path / "text.csv").write_text("prompt,reward\na,1\na,good\n")
    (tmp_path / "columns.csv").write_text("question,answer\na,1\n")
    (tmp_path / "empty.csv").write_text("")
    before = sorted(path.name for path in tmp_path.iterdir())
    done = tiltz("estimate", *words, code=2)
    assert says in " ".join(done.err.split())
    assert done.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_large_table_in_one_go(tiltz, tmp_path):
    from tiltz.files import write_columns

    rng = np.random.default_rng(0)
    columns = {"prompt_id": [f"q{i // 8}" for i in range(80_000)], "reward": rng.normal(size=80_000)}
    write_columns(columns, tmp_path / "large.parquet")
    done = tiltz("estimate", "large.parquet", "--beta", 1, "--json")
    assert len(done.json()["rows"]) == 10_000
    assert Path(tmp_path / "large.parquet").exists()
