import json
from collections import Counter

import numpy as np
import pytest

import tiltz as library
from tiltz.files import open_table, write_columns
from tiltz.text import width_of


def test_version(tiltz):
    assert tiltz("--version").out.strip() == f"tiltz, version {library.__version__}"


@pytest.mark.parametrize(
    "command", ["", "rollout", "estimate", "sweep", "audit", "check-z", "sample", "demo", "completion"]
)
def test_help(tiltz, golden, command):
    words = [command, "--help"] if command else ["--help"]
    golden(f"help{'-' * bool(command)}{command}.txt", tiltz(*words).out)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(tiltz, shell):
    assert "_TILTZ_COMPLETE" in tiltz("completion", shell).out


def test_demo_goes_from_prompts_to_where_the_policy_stands(tiltz, tmp_path):
    out = tiltz("demo", "--prompts", 10, "-n", 16, "--rows", 4, "-o", "d").out
    assert max(map(len, out.splitlines())) <= 80
    assert "... 6 more in log_z.csv" in out
    table = open_table([str(tmp_path / "d" / "log_z.csv")])
    names = ("log_z", "lo", "hi", "certified_lo", "certified_hi")
    found = dict(
        zip(names, np.array(table.query(f"SELECT {', '.join(names)} FROM {table.relation}")).T, strict=True)
    )
    assert np.all(found["certified_lo"] <= found["certified_hi"])
    overlap = (found["lo"] <= found["certified_hi"]) & (found["certified_lo"] <= found["hi"])
    assert f"overlap for {overlap.sum()} of 10 prompts" in " ".join(out.split())
    kinds = ("sum", "list", "label", "review", "story")
    for kind in kinds:
        drawn = {who: library.read(tmp_path / "d" / kind / who) for who in ("reference", "policy")}
        assert drawn["policy"].drawn_from == "policy"
        assert len(drawn["policy"]) == len(drawn["reference"]) == 32
    again = tiltz("demo", "--prompts", 10, "-n", 16, "--rows", 4, "-o", "d").out
    assert again == out
    assert "begun with another n" in " ".join(
        tiltz("demo", "--prompts", 10, "-n", 8, "-o", "d", code=2).err.split()
    )


def test_sweep_prints_a_curve_and_the_smallest_beta(tiltz, rollouts):
    done = tiltz("sweep", rollouts, "--betas", "0.1:10:5", "--reward-values", "0,1")
    assert max(map(len, done.out.splitlines())) <= 80
    assert "smallest beta that the rows support" in done.out
    result = tiltz("sweep", rollouts, "--betas", "0.1:10:5", "--reward-values", "0,1", "--json").json()
    curve = library.sweep(library.read(rollouts), np.geomspace(0.1, 10, 5), reward_values=(0, 1))
    least = library.smallest_beta(library.read(rollouts), reward_values=(0, 1))
    assert [row["kl"] for row in result["rows"]] == curve.kl.reshape(-1).tolist()
    assert [row["smallest_beta"] for row in result["rows"][::5]] == least.tolist()
    assert len(result["overall"]) == 5


@pytest.mark.parametrize(("suffix", "begins"), [("svg", b"<svg"), ("png", b"\x89PNG"), ("html", b"<")])
def test_sweep_draws(tiltz, rollouts, tmp_path, suffix, begins):
    tiltz("sweep", rollouts, "--betas", "0.1:10:5", "--plot", f"curve.{suffix}")
    drawn = (tmp_path / f"curve.{suffix}").read_bytes()
    assert drawn.lstrip().startswith(begins)
    if suffix == "html":
        assert b"https://cdn" not in drawn
    assert "must end in" in tiltz("sweep", rollouts, "--betas", "1", "--plot", "curve.pdf", code=2).err


def test_sample_writes_tilted_rows(tiltz, rollouts, tmp_path):
    done = tiltz("sample", rollouts, "--beta", 0.2, "-n", 400, "-o", "tilted.jsonl")
    assert "wrote 1,200 rows" in done.err
    drawn = [json.loads(line) for line in (tmp_path / "tilted.jsonl").read_text().splitlines()]
    assert Counter(row["prompt"] for row in drawn) == {"p0": 400, "p1": 400, "p2 \x1b[31m[red]": 400}
    assert set(drawn[0]) == {"prompt", "completion", "reward", "beta", "weight"}
    mean = np.mean([row["reward"] for row in drawn if row["prompt"] == "p1"])
    tilted = library.tilt(library.read(rollouts), 0.2)
    expected = tilted.mean_reward[1, 0]
    assert abs(mean - expected) <= 4.89 * np.sqrt(expected * (1 - expected) / 400)
    weight = {row["completion"]: row["weight"] for row in drawn}
    assert weight["c1"] == pytest.approx(tilted.prob[1], rel=1e-12)


def test_sample_says_in_the_file_what_it_drew(tiltz, rollouts, tmp_path):
    import pyarrow.parquet as pq

    columns = {"prompt": ["a"] * 4, "reward": [0.0, 1.0, 0.5, 0.2]}
    write_columns(columns, tmp_path / "own.parquet", metadata={"ref_id": "tiny", "stopping": "fixed"})
    tiltz("sample", "own.parquet", "--beta", 0.2, "-n", 3, "-o", "tilted.parquet")
    metadata = pq.read_schema(tmp_path / "tilted.parquet").metadata
    assert {key.decode(): value.decode() for key, value in metadata.items()} == {
        "ref_id": "tiny", "stopping": "fixed", "drawn_from": "tilted policy", "beta": "0.2",
    }  # fmt: skip
    # Draws from the tilted policy would make Z too large.
    for suffix in ("parquet", "jsonl", "csv"):
        tiltz("sample", rollouts, "--beta", 0.2, "-n", 3, "-o", f"again.{suffix}")
        err = " ".join(tiltz("estimate", f"again.{suffix}", "--beta", 1, code=2).err.split())
        assert "resampled from the tilted policy" in err


def test_sample_leaves_out_prompts_of_which_nothing_can_be_drawn(tiltz, tmp_path):
    rows = [{"prompt": p, "reward": "-inf" if p == "b" else i} for p in "abc" for i in range(4)]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = tiltz("sample", "r.jsonl", "--beta", 1, "-n", 5, "-o", "t.jsonl", "--json")
    assert "left out: 1 prompt whose rewards are all -inf" in done.err
    assert "prompt 'b'" in done.err
    assert [row["prompt"] for row in done.json()["rows"]] == ["a", "c"]
    drawn = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert Counter(row["prompt"] for row in drawn) == {"a": 5, "c": 5}
    none = tiltz("sample", "r.jsonl", "--beta", 1, "--prompt", "b", "-o", "none.jsonl", code=2).err
    assert "nothing can be drawn" in none
    assert "select" not in none
    assert not (tmp_path / "none.jsonl").exists()


def test_a_bound_on_kl_is_said_only_where_it_holds(tiltz, rollouts, tmp_path):
    columns = {"prompt": ["a"] * 3, "reward": [0.0, 0.0, 1.0], "log_ref": [-1.0, -1.0, -9.0]}
    write_columns({**columns, "log_policy": [-9.0, -9.0, -0.1]}, tmp_path / "policy.parquet")
    weighted = tiltz("sample", "policy.parquet", "--beta", 0.05, "-o", "t.csv")
    row = tiltz("sample", "policy.parquet", "--beta", 0.05, "-o", "t.csv", "--json").json()["rows"][0]
    assert row["kl"] > np.log(3)
    assert "at most log" not in weighted.out
    assert "at most log" in tiltz("sample", rollouts, "--beta", 0.05, "-o", "t.csv").out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["sample", "rollouts.jsonl", "--beta", ".1", "--beta", ".2", "-o", "t.csv"], "one beta; found 2"),
        (["sample", "rollouts.jsonl", "--beta", ".1:1:3", "-o", "t.csv"], "one beta; found 3"),
        (["sample", "rollouts.jsonl", "--beta", "1", "-o", "t.csv", "-n", "10000000000"], "3 prompts x 10,000,000,000"),
        (["sample", "rollouts.jsonl", "--beta", "1", "-o", "t.arrow"], "must end in .parquet, .jsonl or .csv"),
        (["demo", "--beta", "0.1:1:3"], "one beta; found 3"),
        (["demo", "--beta", "0.1", "--beta", "0.2"], "one beta; found 2"),
        (["demo", "-o", "mine.parquet"], "is a file"),
        (["sweep", "rollouts.jsonl", "--betas", "1", "--plot", "absent/c.svg"], "'absent'"),
    ],
)  # fmt: skip
def test_mistakes_are_refused(tiltz, rollouts, tmp_path, words, says):
    (tmp_path / "mine.parquet").write_bytes(b"my own rollouts")
    done = tiltz(*words, code=2)
    assert says in " ".join(done.err.split())
    assert done.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.parquet", rollouts.name]
    assert (tmp_path / "mine.parquet").read_bytes() == b"my own rollouts"


def test_sample_is_reproducible_and_seeded(tiltz, rollouts, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        tiltz("sample", rollouts, "--beta", 1, "-n", 50, "-o", f"{name}.csv", "--seed", seed)
    a, b, c = ((tmp_path / f"{name}.csv").read_text() for name in "abc")
    assert a == b
    assert a != c


def test_sample_json(tiltz, rollouts):
    result = tiltz("sample", rollouts, "--beta", 0.2, "-n", 5, "-o", "t.parquet", "--json").json()
    assert [row["n_drawn"] for row in result["rows"]] == [5, 5, 5]
    assert result["rows"][2]["kl"] == 0.0


@pytest.mark.parametrize(
    "words",
    [
        ["estimate", "--beta", "0.0005", "--step", "all"],
        ["sweep", "--betas", "0.0005:1:3", "--step", "all"],
        ["sample", "--beta", "0.0005", "--step", "all", "-o", "t.jsonl"],
    ],
    ids=lambda words: words[0],
)
def test_hostile_names_stay_within_80_columns(tiltz, tmp_path, words):
    wide, reward = "\u6f22\u5b57\N{GRINNING FACE}" * 60, "\u5956" * 50 + "\x1b[31m"
    chat = [{"role": "system", "content": "Be brief. " * 30}, {"role": "user", "content": wide}]
    labels = [
        json.dumps(chat),
        wide + "1",
        wide + "2",
        "x" * 1000,
        "e\u0301" * 200,
        "\x1b[2J\x07",
        "\u202eleft",
    ]
    rows = [
        {"prompt": label, "step": 100_000 + i % 2, reward: float(i % 3 == 0)}
        for label in labels
        for i in range(8)
    ]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = tiltz(words[0], "r.jsonl", "--reward", reward, *words[1:])
    lines = done.out.splitlines()
    assert max(map(width_of, lines)) <= 80
    assert all(line.isprintable() for line in lines)
    if words[0] != "sweep":
        assert sum(f" {step} " in line for line in lines for step in (100_000, 100_001)) >= 14


def test_smallest_betas_in_words(tiltz, tmp_path):
    (tmp_path / "r.csv").write_text(
        "prompt,reward\n" + "a,0\na,1\n" * 8 + "b,0\nb,1\n" * 8 + "c,0.5\nc,0.7\n"
    )

    def says(*words):
        out = " ".join(tiltz("sweep", "r.csv", "--betas", 1, *words).out.split())
        return out.partition("smallest beta that the rows support ")[2].partition("): ")[2]

    assert says("--reward-range", "0:1").count("for half") == 1
    assert says() == "none for 3 prompts"
    assert says("--prompt", "a") == "none"
    assert float(says("--prompt", "a", "--reward-range", "0:1")) > 0


def test_sweep_against_best_of_n(tiltz, rollouts, tmp_path):
    words = [
        "sweep",
        rollouts,
        "--betas",
        "0.1:10:3",
        "--prompt",
        "p0",
        "--prompt",
        "p1",
        "--against-best-of",
        6,
    ]
    done = tiltz(*words, "--plot", "curve.json")
    assert max(map(len, done.out.splitlines())) <= 80
    assert "at the mean KL of best-of-6" in done.out
    assert "best of 6" in (tmp_path / "curve.json").read_text()
    best = library.best_of_n(library.read(rollouts).select(["p0", "p1"]), [1, 2, 4, 6])
    rows = tiltz(*words, "--json").json()["best_of_n"]
    assert [row["n"] for row in rows] == [1, 2, 4, 6]
    assert [row["reward"] for row in rows] == best.overall.reward.tolist()
    assert "found n = 5 and 4 rows" in " ".join(
        tiltz("sweep", rollouts, "--beta", 1, "--against-best-of", 5, code=2).err.split()
    )
