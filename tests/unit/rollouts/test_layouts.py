"""Every layout, end to end through read()."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from tiltz.errors import LayoutError
from tiltz.files import expand, open_table, write_columns
from tiltz.rollouts import Rollouts, read
from tiltz.rollouts.rows import canonical_messages

OWN = {
    "prompt": ["b", "a", "b", "a", "b"],
    "completion": ["1", "2", "3", "4", "5"],
    "reward": [1.0, 0.0, float("-inf"), 0.5, -1.0],
}


def groups_of(outcomes) -> dict:
    """Return the rewards of each prompt, keyed by label (and step)."""
    keys = outcomes.prompt.tolist()
    if outcomes.step is not None:
        keys = list(zip(outcomes.step.tolist(), keys, strict=True))
    of_row = outcomes.groups.of_row
    return {key: outcomes.reward[of_row == i].tolist() for i, key in enumerate(keys)}


@pytest.mark.parametrize("name", ["x.parquet", "x.jsonl", "x.csv", "x.jsonl.gz", "x.jsonl.zst", "x.csv.gz"])
def test_our_own_layout_in_every_format(tmp_path, name):
    write_columns(OWN, tmp_path / name)
    outcomes = read(tmp_path / name)
    assert groups_of(outcomes) == {"b": [1.0, float("-inf"), -1.0], "a": [0.0, 0.5]}
    assert outcomes.reward.tolist() == OWN["reward"]
    assert outcomes.drawn_from == "reference"
    assert not outcomes.log_weight.any()
    source = outcomes.source
    assert isinstance(source, Rollouts)
    assert source.layout == "tiltz"
    assert source.recognised == "tiltz rollouts, 1 file: 5 rows, 2 prompts; reward = reward"
    assert "an audit needs log_policy and log_ref" in source.missing
    assert json.loads(json.dumps(source.to_dict(), allow_nan=False))["n_rows"] == 5


def test_our_own_layout_in_an_arrow_file(tmp_path):
    pa = pytest.importorskip("pyarrow")
    table = pa.table(OWN | {"truncated": [True, None, False, True, False]})
    table = table.replace_schema_metadata({"ref_id": "m", "stopping": "adaptive"})
    with pa.OSFile(str(tmp_path / "x.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    outcomes = read(tmp_path / "x.arrow")
    assert groups_of(outcomes) == {"b": [1.0, float("-inf"), -1.0], "a": [0.0, 0.5]}
    assert outcomes.stopping == "adaptive"
    assert outcomes.source.metadata == {"ref_id": "m", "stopping": "adaptive"}
    assert "2 rows of 5 truncated, outcomes like any other." in outcomes.source.notes


@pytest.mark.parametrize(
    ("labels", "kind"), [([7, 8, 7, 7, 8], np.int64), (["7", "008", "7", "7", "008"], object)]
)
def test_prompt_id_groups_where_it_is_there(parquet, labels, kind):
    texts = {7: "seven", "7": "seven"}
    columns = OWN | {"prompt": [texts.get(label, "eight") for label in labels], "prompt_id": labels}
    outcomes = read(parquet(columns))
    assert outcomes.prompt.dtype == kind
    assert outcomes.prompt.tolist() == labels[:2]
    assert outcomes.n.tolist() == [3, 2]


def test_labels_in_csv_stay_text(tmp_path):
    write_columns(OWN | {"prompt": ["007", "7", "007", "2024-01-01", "7"]}, tmp_path / "x.csv")
    assert read(tmp_path / "x.csv").prompt.tolist() == ["007", "7", "2024-01-01"]


def test_duplicate_prompts_of_several_files_are_pooled(parquet):
    parquet(OWN, "1.parquet")
    path = parquet(OWN, "2.parquet")
    outcomes = read(path.parent)
    assert outcomes.prompt.tolist() == ["b", "a"]
    assert outcomes.n.tolist() == [6, 4]


def test_equal_chat_messages_are_one_prompt(jsonl):
    hello = [{"role": "user", "content": "Hi"}]
    same = [{"content": "Hi", "role": "user", "name": None}]
    other = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [{"type": "text"}]}]
    path = jsonl({"prompt": p, "reward": r} for p, r in ((hello, 1), (same, 0), (other, 0.5)))
    outcomes = read(path)
    assert outcomes.prompt.tolist() == [canonical_messages(json.dumps(p)) for p in (hello, other)]
    assert outcomes.n.tolist() == [2, 1]


def test_chat_messages_in_parquet(parquet):
    chats = [[{"role": "user", "content": text}] for text in ("a", "b", "a")]
    outcomes = read(parquet({"prompt": chats, "reward": [1, 0, 1]}))
    assert outcomes.prompt.tolist() == [json.dumps(c, sort_keys=True) for c in chats[:2]]


def test_verl(tmp_path):
    for step in (2, 10):
        rows = [
            {
                "input": p,
                "output": "o",
                "gts": None,
                "score": s,
                "step": step,
                "acc": True,
                "request_id": f"{step}{p}{s}",
            }
            for p, s in (("p", 1.0), ("p", 0.0), ("q", 0.5))
        ]
        (tmp_path / f"{step}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(LayoutError, match=r"steps 2, 10\b.*--step 2 .*--step all"):
        read(tmp_path)
    outcomes = read(tmp_path, step=10)
    assert groups_of(outcomes) == {(10, "p"): [1.0, 0.0], (10, "q"): [0.5]}
    assert outcomes.drawn_from == "policy of step 10"
    assert "relative to the policy of step 10" in outcomes.source.notes[0]
    assert outcomes.source.layout == "verl"
    assert len(read(tmp_path, step="all").prompt) == 4
    assert groups_of(read(tmp_path, step=2, reward="acc")) == {(2, "p"): [1.0, 1.0], (2, "q"): [1.0]}


def test_verl_without_a_step_column_takes_the_number_of_the_file(jsonl):
    path = jsonl([{"input": "p", "output": "o", "score": 1}], "40.jsonl")
    assert read(path).step.tolist() == [40]
    unnumbered = jsonl([{"input": "p", "output": "o", "score": 1}], "val.jsonl")
    assert read(unnumbered).step is None
    assert read(unnumbered).drawn_from == "policy"


def test_a_po(parquet):
    columns = {
        "prompt": [[{"role": "user", "content": text}] for text in ("a", "b", "a")],
        "extra_info": [{"index": i} for i in range(3)],
        **{f"response_{i}": [f"{i}x", f"{i}y", f"{i}z"] for i in range(11)},
        **{f"eval_{i}": [i % 2, 0, float(i == 10)] for i in range(11)},
    }
    columns["response_10"][1] = columns["eval_10"][1] = None
    path = parquet(columns)
    outcomes = read(path)
    a, b = (json.dumps([{"content": text, "role": "user"}]) for text in "ab")
    assert groups_of(outcomes) == {a: [float(i % 2) for i in range(11)] + [0.0] * 10 + [1.0], b: [0.0] * 10}
    assert outcomes.drawn_from == "reference"
    assert outcomes.source.layout == "a-po"
    outcomes.source.write([31, 0], path.with_suffix(".jsonl"), columns={"weight": [0.5, 0.25]})
    written = [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]
    assert [(row["completion"], row["reward"], row["draw"], row["weight"]) for row in written] == [
        ("10z", 1.0, 10, 0.5),
        ("0x", 0.0, 0, 0.25),
    ]
    assert written[0]["extra_info"] == {"index": 2}


def test_a_po_with_a_prompt_under_another_name(parquet):
    columns = {"problem": ["p", "q"], "response_0": ["x", "y"], "eval_0": [True, False]}
    assert groups_of(read(parquet(columns))) == {"p": [1.0], "q": [0.0]}
    with pytest.raises(LayoutError, match="responses need their prompt"):
        read(parquet({"response_0": ["x"], "eval_0": [1]}))
    with pytest.raises(LayoutError, match=r"missing for i = 1\."):
        read(parquet(columns | {"response_1": ["z", "z"]}))


def nemo(prompt: str, *completions: tuple) -> dict:
    listed = [
        {
            "completion": [{"role": "assistant", "content": text}],
            "reward": reward,
            "reference_logprob": log_ref,
        }
        for text, reward, log_ref in completions
    ]
    return {"context": [{"role": "user", "content": prompt}], "completions": listed, "id": prompt * 2}


def test_nemo_rl(jsonl, tmp_path):
    path = jsonl([nemo("p", ("x", 1, -2.5), ("y", "-inf", -3)), nemo("q", ("z", 0.5, -1))])
    outcomes = read(path)
    p, q = (json.dumps([{"content": text, "role": "user"}]) for text in "pq")
    assert groups_of(outcomes) == {p: [1.0, float("-inf")], q: [0.5]}
    assert outcomes.drawn_from == "reference"
    assert (
        outcomes.source.missing
        == "no log_policy: fine for estimate, sweep and sample; an audit needs log_policy and log_ref"
    )
    outcomes.source.write([2, 1, 2], tmp_path / "out.parquet")
    table = open_table(expand(tmp_path / "out.parquet"))
    found = table.query(
        f"SELECT prompt[1].content, completion[1].content, log_ref, id, draw FROM {table.relation}"
    )
    assert found == [("q", "z", -1.0, "qq", 0), ("p", "y", -3.0, "pp", 1), ("q", "z", -1.0, "qq", 0)]


def test_nemo_rl_without_completions_names_the_line(jsonl):
    with pytest.raises(LayoutError, match=r"at least one completion; found none in '.*', line 2"):
        read(jsonl([nemo("p", ("x", 1, -2.5)), nemo("q")]))
    with pytest.raises(LayoutError, match="lists of objects with completion and reward"):
        read(jsonl([{"context": "c", "completions": ["x", "y"]}]))


HIDDEN = ("one", "place", "draw", "position", "label", "code", "first", "PLACE", "Draw", "pick", "rowid")


@pytest.mark.parametrize("name", [*HIDDEN, "completion", "Completion", "reward", "Reward", "Prompt"])
def test_columns_named_like_what_is_made_do_no_harm(jsonl, parquet, tmp_path, name):
    lines = [
        {"context": c, "completions": [{"completion": f"{c}{i}", "reward": i} for i in range(3)]}
        for c in "ba"
    ]
    columns = {"problem": ["b", "a"]}
    for i in range(3):
        columns |= {f"response_{i}": [f"{c}{i}" for c in "ba"], f"eval_{i}": [i, i]}
    for path in (
        jsonl(line | {name: 9 - i} for i, line in enumerate(lines)),
        parquet(columns | {name: [9, 8]}),
    ):
        outcomes = read(path, reward=None if name.lower() != "reward" else "reward")
        assert groups_of(outcomes) == {"b": [0.0, 1.0, 2.0], "a": [0.0, 1.0, 2.0]}
        outcomes.source.write([4, 0], tmp_path / "out.jsonl")
        written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
        assert [(row["completion"], row["draw"]) for row in written] == [("a1", 1), ("b0", 0)]
        if name.lower() not in ("draw", "completion", "reward", "prompt"):
            assert [row[name] for row in written] == [8, 9]


def test_fields_of_completions_named_like_what_is_made_do_no_harm(jsonl):
    fields = {"place": 1, "one": 2, "draw": 9, "prompt": "other"}
    completions = [{"completion": "x", "reward": i, "reference_logprob": -1.0 - i} | fields for i in range(3)]
    outcomes = read(jsonl([{"context": "c", "completions": completions}]))
    assert groups_of(outcomes) == {"c": [0.0, 1.0, 2.0]}
    for one in completions:
        one["log_ref"] = -9.0
    with pytest.raises(
        LayoutError, match=r"one log_ref; .* two fields for it \(reference_logprob, log_ref\)"
    ):
        read(jsonl([{"context": "c", "completions": completions}]))
    completions[0]["Reward"] = 5
    with pytest.raises(LayoutError, match=r"found type JSON\[\] .* alike up to upper and lower case"):
        read(jsonl([{"context": "c", "completions": completions}]))


def test_prompts_of_several_kinds_are_text_or_messages(jsonl, tmp_path):
    chat = [{"role": "user", "content": "Hi"}]
    prompts = ["1", 1, 1.5, chat, "Hi", {"role": "user"}]
    outcomes = read(jsonl({"prompt": p, "reward": i} for i, p in enumerate(prompts)))
    assert outcomes.prompt.tolist() == [
        "1",
        "1.5",
        canonical_messages(json.dumps(chat)),
        "Hi",
        '{"role": "user"}',
    ]
    for name in ("o.jsonl", "o.parquet"):
        outcomes.source.write(np.arange(6), tmp_path / name)
        assert read(tmp_path / name).prompt.tolist() == outcomes.prompt.tolist()


def test_the_same_file_is_not_pooled_with_itself(jsonl, monkeypatch):
    path = jsonl([{"prompt": "p", "reward": 1}])
    monkeypatch.chdir(path.parent)
    (path.parent / "latest.jsonl").symlink_to(path.name)
    for files in ([path.name, f"./{path.name}"], [path, path.parent], path.parent, ["latest.jsonl", path]):
        assert read(files).n.tolist() == [1]


def test_verl_with_a_label_for_each_prompt(jsonl):
    rows = [{"input": "p", "output": "o", "score": 1, "prompt_id": 7}] * 2
    assert read(jsonl(rows)).prompt.tolist() == [7]


def test_any_column_can_be_the_reward_beside_a_prompt(parquet):
    path = parquet({"prompt": ["p", "p"], "quality": [1, 2], "length": [3, 4]})
    assert read(path, reward="quality").reward.tolist() == [1.0, 2.0]
    assert read(path, reward={"quality": 1, "length": -0.5}).reward.tolist() == [-0.5, 0.0]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            {"a": [1], "b": [2]},
            r"found in '.*': a, b\. Needed are, for tiltz: .*; trl: .*; verl: .*; a-po: .*; nemo-rl: ",
        ),
        ({"reward": [1]}, "must fit one of the known layouts"),
        ({"prompt": ["p"], "quality": [1]}, "--reward NAME"),
        (
            {"prompt": ["p"], "reward": [1], "input": ["i"], "output": ["o"], "score": [1]},
            "they fit tiltz and verl",
        ),
    ],
)
def test_columns_that_fit_no_layout_or_two_are_refused(parquet, columns, said):
    with pytest.raises(LayoutError, match=said):
        read(parquet(columns))


def test_hostile_text_and_names(tmp_path):
    text = ["'; DROP TABLE rows; --", 'a"b\n\x01', "\U0001f600 %s {x} [red]", "\\", ""]
    name = "re'wa\"rd; --"
    path = tmp_path / "a'b [x]*.parquet"
    write_columns({"prompt": text, "completion": text, name: [1, 2, 3, 4, 5]}, path)
    outcomes = read(path, reward=name)
    assert outcomes.prompt.tolist() == text
    assert outcomes.reward.tolist() == [1, 2, 3, 4, 5]
    outcomes.source.write([4, 1], tmp_path / "o'ut.csv", columns={"w'\"": [1.0, 2.0]})
    assert read(tmp_path / "o'ut.csv", reward=name).reward.tolist() == [5, 2]


def test_pandas_and_pyarrow_are_not_needed(jsonl, parquet):
    nested = jsonl([nemo("p", ("x", 1, -2.5), ("y", "-inf", -3))])
    code = """
import sys
sys.modules["pandas"] = sys.modules["pyarrow"] = None
from tiltz.rollouts import read
for path in sys.argv[1:]:
    outcomes = read(path)
    outcomes.source.write([0, 0], path + ".parquet", columns={"weight": [0.5, 0.5], "flags": [["a"], []]})
    assert read(path + ".parquet").n.tolist() == [2]
"""
    subprocess.run([sys.executable, "-c", code, str(nested), str(parquet(OWN))], check=True)


def test_a_chat_prompt_reads_back_from_what_was_written(jsonl, tmp_path):
    outcomes = read(jsonl([nemo("p", ("x", 1, -2.5), ("y", 0, -3))]))
    for name in ("o.parquet", "o.jsonl"):
        outcomes.source.write([1, 0, 1], tmp_path / name)
        again = read(tmp_path / name)
        assert again.prompt.tolist() == outcomes.prompt.tolist()
        assert again.reward.tolist() == [0.0, 1.0, 0.0]
