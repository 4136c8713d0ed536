"""``tiltz audit`` on files that were drawn and scored by the embedded models, whole and spoilt."""

import json

import numpy as np
import pytest

import tiltz as library
from tests.audits import World, draws
from tiltz.files import write_columns
from tiltz.lm import SamplingSpec, load

PROMPTS = ["nine minus three is ->", "ten minus seven is ->"]
N = 48


def rows_of(model, other, seed, words):
    """Rows that a model drew, with its log-probabilities and another's under two names."""
    drawn = [c for group in model.sample(PROMPTS, N, np.random.default_rng(seed)) for c in group]
    prompts = [prompt for prompt in PROMPTS for _ in range(N)]
    return {
        "prompt": prompts,
        "completion": [c.text for c in drawn],
        "completion_ids": [list(c.ids) for c in drawn],
        "reward": [float(len(c.ids) % 2) for c in drawn],
        words[0]: [c.log_prob for c in drawn],
        words[1]: other.log_prob(prompts, [c.ids for c in drawn]).tolist(),
    }


@pytest.fixture(scope="module")
def models():
    return load("tiny"), load("tiny:policy")


@pytest.fixture
def files(models, tmp_path):
    ref, policy = models
    tables = {
        "policy": rows_of(policy, ref, 0, ("log_policy", "log_ref")),
        "reference": rows_of(ref, policy, 1, ("log_ref", "log_policy")),
    }

    def write(**changed):
        for name, table in tables.items():
            spoilt = {
                key: value for key, value in (table | changed.get(name, {})).items() if value is not None
            }
            write_columns(spoilt, tmp_path / f"{name}.parquet", metadata=changed.get(f"{name}_says"))
        return tables

    write()
    return write


def statuses(done):
    return {check["name"]: check["status"] for check in done.json()["overall"]["checks"]}


def test_the_command_prints_what_the_library_finds(tiltz, files, tmp_path):
    words = ("audit", "policy.parquet", "--reference", "reference.parquet", "--beta", 0.5)
    result = tiltz(*words, "--json", "--output", "out.csv").json()
    policy = library.read(tmp_path / "policy.parquet", drawn_from="policy")
    reference = library.read(tmp_path / "reference.parquet", drawn_from="reference")
    found = library.audit(policy, 0.5, reference=reference)
    assert set(result) == {"schema", "rows", "overall", "source"}
    for i, row in enumerate(result["rows"]):
        assert row["gap"] == pytest.approx(found.gap.at(i).to_dict(), abs=1e-12)
        assert row["prompt"] == PROMPTS[i]
    assert result["overall"]["share"] == pytest.approx(found.overall.share.to_dict())
    assert result["overall"]["verdict"] == found.overall.verdict
    text = tiltz(*words).out
    assert max(map(len, text.splitlines())) <= 80
    assert found.overall.verdict in text
    header = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert {"gap", "gap_lo", "gap_hi", "verdict"} <= set(header)
    assert "rollouts" in tiltz(*words, "--output", "policy.parquet", code=2).err


def test_models_score_what_is_missing(tiltz, files):
    words = ("audit", "policy.parquet", "--reference", "reference.parquet", "--beta", 0.5, "--json")
    whole = tiltz(*words).json()
    files(policy={"log_ref": None, "log_policy": None}, reference={"log_ref": None, "log_policy": None})
    assert "needs log_policy" in tiltz(*words, code=2).err
    assert "--score-reference" in tiltz(*words, "--score-policy", "tiny:policy", code=2).err
    scored = tiltz(*words, "--score-policy", "tiny:policy", "--score-reference", "tiny")
    assert scored.json()["overall"]["gap"] == pytest.approx(whole["overall"]["gap"], abs=1e-4)
    assert statuses(scored)["log_ref scored again by tiny"] == "not checkable"
    files(policy={"log_ref": None, "completion_ids": None})
    text = tiltz(*words[:-1], "--score-reference", "tiny").out
    assert "tokenised again" in text


def test_what_drew_a_file_is_read_from_its_ref_id(tiltz, files, models):
    ref, policy = models
    rows = rows_of(policy, ref, 0, ("log_ref", "other"))
    files(
        policy={"log_policy": None, "log_ref": rows["log_ref"]},
        policy_says={"ref_id": json.dumps(policy.ref_id)},
        reference_says={"ref_id": json.dumps(ref.ref_id)},
    )
    done = tiltz(
        "audit", "policy.parquet", "--reference", "reference.parquet", "--beta", 0.5, "--json",
        "--score-policy", "tiny:policy", "--score-reference", "tiny",
    )  # fmt: skip
    assert "failed" not in statuses(done).values()
    assert statuses(done)["log_policy scored again by tiny:policy"] == "passed"
    assert statuses(done)["sampling settings"] == "passed"


def cold_rows(models):
    """Rows drawn at temperature 0.3 that say the log-probabilities of temperature 1."""
    ref, policy = models
    cold = load("tiny:policy", spec=SamplingSpec(temperature=0.3, max_tokens=24))
    rows = rows_of(cold, ref, 3, ("log_policy", "log_ref"))
    rows["log_policy"] = policy.log_prob(rows["prompt"], rows["completion_ids"]).tolist()
    return cold, rows


@pytest.mark.parametrize("shown_by", ["repeats", "settings", "scores"])
def test_a_temperature_that_was_left_out_is_refused(tiltz, files, models, shown_by):
    cold, rows = cold_rows(models)
    words = ["audit", "policy.parquet", "--beta", 0.5, "--json"]
    if shown_by == "repeats":
        files(policy=rows)
        check = "number of repeats of the policy"
    elif shown_by == "settings":
        says = {"policy_says": {"ref_id": json.dumps(cold.ref_id)}}
        files(policy=rows, reference_says={"ref_id": json.dumps(models[0].ref_id)}, **says)
        words += ["--reference", "reference.parquet"]
        check = "sampling settings"
    else:
        files(policy=rows, policy_says={"ref_id": json.dumps(cold.ref_id)})
        words += ["--score-policy", "tiny:policy"]
        check = "log_policy scored again by tiny:policy"
    done = tiltz(*words, code=2)
    assert statuses(done)[check] == "failed"
    assert done.json()["overall"]["verdict"] == "refused"
    assert done.json()["overall"]["gap"]["hi"] == "inf"


def test_log_probs_without_the_end_token_are_refused(tiltz, files, models):
    ref, policy = models
    rows = rows_of(policy, ref, 0, ("log_policy", "log_ref"))
    each = []
    for prompt, ids in zip(rows["prompt"], rows["completion_ids"], strict=True):
        after = policy.next_log_probs(prompt, [ids[:k] for k in range(len(ids))])
        each.append(after[np.arange(len(ids)), ids].tolist())
    words = ("audit", "policy.parquet", "--beta", 0.5, "--json")
    files(policy={"log_policy_tokens": each})
    assert statuses(tiltz(*words))["log-probabilities per token of the policy"] == "passed"
    short = [values[:-1] for values in each]
    files(policy={"log_policy_tokens": short, "log_policy": [sum(values) for values in short]})
    done = tiltz(*words, code=2)
    assert statuses(done)["log-probabilities per token of the policy"] == "failed"
    assert done.json()["overall"]["verdict"] == "refused"
    scored = tiltz(*words, "--score-policy", "tiny:policy", code=2)
    assert statuses(scored)["log_policy scored again by tiny:policy"] == "failed"


def test_repeats_that_disagree(tiltz, files):
    tables = files()
    again = list(tables["policy"]["log_policy"])
    ids = tables["policy"]["completion_ids"]
    i = next(i for i in range(1, N) if ids[i] in ids[:i])
    again[i] -= 0.5
    files(policy={"log_policy": again})
    done = tiltz("audit", "policy.parquet", "--beta", 0.5, "--json", code=2)
    assert statuses(done)["repeated completions of the policy"] == "failed"


@pytest.mark.parametrize(
    ("changed", "words", "message"),
    [
        ({"log_policy": None}, (), "needs log_policy"),
        ({"log_proposal": [-1.0] * 2 * N}, (), "differs from log_policy by up to"),
        ({"log_ref": [0.5] * 2 * N}, (), "at most 0"),
        ({"log_ref": ["x"] * 2 * N}, (), "one number per row"),
        ({"beta": [0.1] * 2 * N, "weight": [0.5] * 2 * N}, (), "resampled"),
        ({"prompt": None, "prompt_id": ["a"] * 2 * N}, ("--score-policy", "tiny"), "scored by their prompt"),
        ({}, ("--beta", 1), "one beta"),
        ({}, ("--drawn-from", "reference"), "--reference"),
    ],
)
def test_messages(tiltz, files, changed, words, message):
    files(policy=changed)
    done = tiltz("audit", "policy.parquet", "--beta", 0.5, *words, code=2)
    assert message in " ".join(done.err.split())


def test_honest_repeats_are_rarely_accused():
    """The betting test on draws from known laws: at most one in a thousand, and a wrong temperature is seen."""
    from tiltz.rollouts.row_checks import checks_of_rows

    def status(drawn, said, seed):
        rows = draws(drawn, 60, np.random.default_rng(seed)).reshape(-1)
        of_row = np.repeat(np.arange(len(said)), 60)
        columns = {"completion_ids": [[int(i)] for i in rows], "log_policy": np.log(said)[of_row, rows]}
        checks = checks_of_rows("policy", of_row, columns, drawn_by="log_policy", tokens={})
        return next(check for check in checks if check.name.startswith("number")).status

    law = World.drawn(2, n_outcomes=40).ref
    cold = law**2 / np.sum(law**2, axis=1, keepdims=True)
    assert [status(law, law, seed) for seed in range(300)].count("failed") <= 3
    assert [status(cold, law, seed) for seed in range(20)].count("failed") == 20
