"""What a file may not hold, and the message that says where it holds it."""

from __future__ import annotations

import pytest

from tiltz.errors import FileError, InputError, LayoutError
from tiltz.rollouts import read

NAN, INF = float("nan"), float("inf")


def rows(**columns) -> dict:
    """Return four sound rows with some columns replaced."""
    return {"prompt": ["a", "a", "b", "b"], "reward": [1.0, 0.0, 0.5, 0.25]} | columns


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (rows(reward=[1, NAN, 0, NAN]), r"found NaN or null in '.*', row 2, prompt 'a' \(2 such rows\)"),
        (rows(reward=[1, None, 0, 1]), r"found NaN or null in '.*', row 2, prompt 'a'"),
        (rows(reward=[1, 0, INF, 1]), r"below \+inf .* found \+inf in '.*', row 3, prompt 'b'"),
        (
            rows(reward=["1", "0", "good", "inf"]),
            r"found the text 'good' in '.*', row 3, prompt 'b' \(1 row with text",
        ),
        (rows(reward=["1", "", "2", "3"]), r"found the text '' in '.*', row 2"),
        (rows(reward=[[1], [2], [3], [4]]), r"must hold numbers; found type BIGINT\[\]"),
        (rows(prompt=["a", None, "b", "b"]), r"'prompt' is null in '.*', row 2"),
        (rows(prompt_id=["x", None, "y", "y"]), r"'prompt_id' is null in '.*', row 2"),
        (rows(prompt_id=["x", "x", "x", "y"]), r"'x' has different texts in '.*', row [12] and '.*', row 3"),
        (rows(prompt_id=[1.5, 1.5, 2.0, 2.0]), "must hold text or whole numbers"),
        (rows(step=[1, 1, None, 1]), r"step must be a whole number .* found null in '.*', row 3"),
        (rows(step=[1, 1.5, 1, 1]), r"step must be a whole number .* found 1.5 in '.*', row 2"),
        (rows(step=["1", "1", "x", "1"]), r"step must be a whole number .* found 'x' in '.*', row 3"),
        (rows(step=[1, 1, 2**63, 2**63 + 1]), r"found 9223372036854775808 in '.*', row 3.*\(2 such rows\)"),
        (rows(step=[1, 1e300, 1, 1]), r"found 1e\+300 in '.*', row 2"),
        (rows(step=[1, 2.0**53 + 2, 1, 1]), r"found 9007199254740994.0 in '.*', row 2"),
        (rows(step=[1, 1, 2, 2]), r"steps 1, 2\. Name one with --step 1 "),
        (rows(log_policy=[-1.0] * 4), "drawn from a policy .* need log_ref"),
        (rows(log_proposal=[-1.0] * 4), "drawn from a proposal .* need log_ref"),
        (
            rows(log_ref=[-1, -2, 1e-5, -1], log_policy=[-1.0] * 4),
            r"log_ref is a log-probability .* found 1e-05 in .* row 3",
        ),
        (
            rows(log_ref=[-1.0] * 4, log_policy=[-1, 0.5, -1, -1]),
            r"log_policy is a log-prob.* found 0.5 in .* row 2",
        ),
        (
            rows(log_ref=[-1, NAN, -1, -1], log_policy=[-1.0] * 4),
            r"log_ref must be a number .* NaN or null in .* row 2",
        ),
        (
            rows(log_ref=[-1.0] * 4, log_policy=[-1, None, -1, -1]),
            r"log_policy must be .* NaN or null in .* row 2",
        ),
        (
            rows(log_ref=[-1.0] * 4, log_policy=[-1, -INF, -1, -1]),
            r"above -inf for a completion .* found -inf in .* row 2",
        ),
        (rows(log_ref=[[-1.0]] * 4, log_policy=[-1.0] * 4), "Sum it over the tokens"),
    ],
)
def test_a_value_that_is_not_legal_is_named_with_file_row_and_prompt(parquet, columns, said):
    with pytest.raises(LayoutError, match=said) as caught:
        read(parquet(columns))
    assert "\n" not in str(caught.value)


def test_json_lines_are_counted_as_lines(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"prompt": "p", "reward": 1}\n\n{"prompt": "q", "reward": "high"}\n')
    with pytest.raises(LayoutError, match=r"found the text 'high' in '.*x.jsonl', line 3, prompt 'q'"):
        read(path)
    path.write_text('{"prompt": "p", "reward": NaN}\n{"prompt": "q", "reward": 2}\n')
    with pytest.raises(LayoutError, match=r"NaN or null in '.*', line 1, prompt 'p'"):
        read(path)
    path.write_text(
        '{"prompt": "p", "reward": "-inf"}\n{"prompt": "q", "reward": true}\n{"prompt": "q", "reward": 2}\n'
    )
    assert read(path).reward.tolist() == [-INF, 1.0, 2.0]


def test_the_second_file_is_named(jsonl):
    first = jsonl([{"prompt": "p", "reward": 1.0}], "1.jsonl")
    jsonl([{"prompt": "p", "reward": 1.0}, {"prompt": "q", "reward": None}], "2.jsonl")
    with pytest.raises(LayoutError, match=r"2\.jsonl', line 2, prompt 'q'"):
        read(first.parent)


@pytest.mark.parametrize(
    ("reward", "said"),
    [
        ("other", "'other' is not in .*; columns that hold numbers: a, b"),
        ({"a": 0}, "finite and not 0"),
        ({"a": NAN}, "finite and not 0"),
        ({"a": -INF}, "finite and not 0"),
        ({"a": "x"}, "must be a number; found 'x'"),
        ({}, "at least one column"),
        ({"a": 1, "b": -1}, r"the weighted sum of a, b must be below \+inf .* row 2"),
        ({"a": 1e300, "b": 1}, r"below \+inf"),
        ({"b": -1}, r"below \+inf"),
        ({"c": 1, "d": 1}, r"the weighted sum of c, d must be a number .* row 2, prompt 'a'"),
    ],
)
def test_rewards_that_cannot_be_summed_are_refused(parquet, reward, said):
    columns = {"a": [1e10, 2.0], "b": [0.0, -INF], "c": [1.0, NAN], "d": [NAN, NAN]}
    with pytest.raises(InputError, match=said):
        read(parquet({"prompt": ["a", "a"]} | columns), reward=reward)


def test_an_abstention_is_skipped_and_counted(parquet):
    path = parquet({"prompt": ["p"] * 3, "a": [1.0, NAN, None], "b": [True, False, True]})
    outcomes = read(path, reward={"a": 2, "b": -0.5})
    assert outcomes.reward.tolist() == [1.5, 0.0, -0.5]
    assert any(note.startswith("a abstained (NaN) in 2 rows of 3") for note in outcomes.source.notes)
    assert outcomes.source.recognised.endswith("reward = 2*a + -0.5*b")


def test_log_probabilities_weight_the_rows(parquet):
    columns = rows(log_ref=[-1.0, -2, 5e-7, -INF], log_policy=[-1.5, -1, -1, 1e-7])
    outcomes = read(parquet(columns))
    assert outcomes.log_weight.tolist() == [0.5, -1.0, 1.0, -INF]
    assert outcomes.drawn_from == "policy"
    assert outcomes.source.missing.startswith("nothing is missing")
    assert read(parquet(columns), drawn_from="reference").log_weight.tolist() == [0.0] * 4
    both = columns | {"log_proposal": [-1.0] * 4}
    assert read(parquet(both)).drawn_from == "proposal"
    assert read(parquet(both), drawn_from="policy").log_weight.tolist() == [0.5, -1.0, 1.0, -INF]
    empty = rows(log_policy=[None] * 4, log_ref=[None] * 4)
    assert read(parquet(empty)).drawn_from == "reference"


def test_draws_from_a_policy_need_its_log_probabilities(parquet):
    with pytest.raises(LayoutError, match="lacks log_policy and log_ref"):
        read(parquet(rows()), drawn_from="policy")
    with pytest.raises(InputError, match="'reference' or 'policy'; found 'me'"):
        read(parquet(rows()), drawn_from="me")


def test_steps_are_chosen(parquet):
    path = parquet(rows(step=[1, 1, 2, 2]))
    assert read(path, step=2).reward.tolist() == [0.5, 0.25]
    assert read(path, step=2).drawn_from == "policy of step 2"
    assert read(path, step="all").step.tolist() == [1, 2]
    for step, said in (
        (3, "step 3 is not there"),
        ("some", "whole number or 'all'"),
        (True, "whole number or 'all'"),
    ):
        with pytest.raises(InputError, match=said):
            read(path, step=step)
    with pytest.raises(LayoutError, match="no column step"):
        read(parquet(rows(), "y.parquet"), step=1)
    assert read(parquet(rows(), "y.parquet"), step="all").step is None


def test_large_steps_stay_apart(parquet, tmp_path):
    path = parquet(rows(step=[2**62, 2**62, 2**62 + 1, 2**63 - 1], prompt=list("aabb")))
    outcomes = read(path, step="all")
    assert outcomes.step.tolist() == [2**62, 2**62 + 1, 2**63 - 1]
    assert outcomes.n.tolist() == [2, 1, 1]
    (tmp_path / "x.csv").write_text(f"prompt,reward,step\na,1,{2**62}\na,2,{2**62 + 1}\n")
    assert read(tmp_path / "x.csv", step=2**62 + 1).reward.tolist() == [2.0]


def test_a_bad_row_of_another_step_does_no_harm(parquet):
    assert read(parquet(rows(step=[1, 1, 2, 2], reward=[1.0, 0.0, NAN, 1.0])), step=1).reward.tolist() == [
        1.0,
        0.0,
    ]


@pytest.mark.parametrize("key", ["ref_id", "reward_id"])
def test_files_of_two_references_or_rewards_are_not_mixed(parquet, key):
    parquet(rows(), "1.parquet", metadata={key: "one"})
    path = parquet(rows(), "2.parquet", metadata={key: "two"})
    with pytest.raises(LayoutError, match=f"{key} is 'one' in '.*1.parquet' and 'two' in '.*2.parquet'"):
        read(path.parent)


def test_the_stopping_rule_is_read_from_the_file(parquet):
    assert read(parquet(rows())).stopping == "fixed"
    assert read(parquet(rows(), metadata={"stopping": "adaptive"})).stopping == "adaptive"
    with pytest.raises(LayoutError, match="'fixed' or 'adaptive'; found 'never'"):
        read(parquet(rows(), metadata={"stopping": "never"}))


def test_declarations_reach_the_outcomes(parquet):
    path = parquet(rows())
    assert read(path, reward_range=(0, 2)).reward_range == (0.0, 2.0)
    assert read(path, reward_values=(0, 0.25, 0.5, 1)).reward_values == (0.0, 0.25, 0.5, 1.0)


def test_files_declare_the_rewards_of_their_own_column(parquet):
    path = parquet(rows(other=[5.0] * 4), "1.parquet", metadata={"reward_range": "[0, 2]"})
    assert read(path).reward_range == (0.0, 2.0)
    assert read(path, reward_values=(0, 0.25, 0.5, 1)).reward_range is None
    assert read(path, reward="other").reward_range is None
    parquet(rows(), "2.parquet", metadata={"reward_range": "[0, 1]"})
    assert read(path.parent).reward_range is None
    assert read(parquet(rows(), metadata={"reward_values": "[0, 0.25, 0.5, 1.0]"})).reward_values is not None
    with pytest.raises(LayoutError, match="must be a JSON list of numbers; found 'half'"):
        read(parquet(rows(), metadata={"reward_range": "half"}))


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (
            {"reward_range": (0, 0.5)},
            r"reward_range \[0, 0.5\]; found 1 in '.*', row 1, prompt 'a' \(1 such row\)",
        ),
        (
            {"reward_values": (1, 0)},
            r"reward_values \(0.0, 1.0\); found 0.5 in '.*', row 3, prompt 'b' \(2 such",
        ),
        ({"reward_range": (1, 0)}, "lowest first"),
        ({"reward_values": ()}, "without NaN"),
    ],
)
def test_a_reward_that_contradicts_what_is_declared_is_named_with_its_place(parquet, declared, said):
    with pytest.raises(InputError, match=said):
        read(parquet(rows()), **declared)


def test_what_was_resampled_from_a_tilted_policy_is_no_draw_of_the_reference(parquet, tmp_path):
    source = read(parquet(rows())).source
    for name in ("x.parquet", "x.jsonl", "x.csv"):
        tilted = {"beta": [0.5] * 3, "weight": [0.7, 0.7, 1.0]}
        source.write([0, 0, 2], tmp_path / name, columns=tilted)
        with pytest.raises(LayoutError, match=rf"{name}' were resampled from the tilted policy at beta 0.5 "):
            read(tmp_path / name)
        assert read(tmp_path / name, drawn_from="reference").reward.tolist() == [1.0, 1.0, 0.5]
    for other in (
        {"beta": [0.5] * 4},
        {"beta": ["b"] * 4, "weight": [1.0] * 4},
        {"beta": [0.5] * 4, "weight": [7] * 4},
    ):
        assert read(parquet(rows(**other))).drawn_from == "reference"


def test_the_columns_of_the_tilted_policy_are_no_rewards(parquet):
    path = parquet(
        {"step": [1, 1], "prompt": ["p"] * 2, "completion": ["c"] * 2, "r": [1, 2], "beta": [1, 2]}
    )
    assert read(path).source.reward == {"r": 1.0}


def test_a_damaged_column_is_found_while_reading(parquet):
    path = parquet(rows(prompt=[f"{i}" * 999 for i in range(4)]))
    raw = bytearray(path.read_bytes())
    raw[8:60] = b"\xff" * 52
    path.write_bytes(raw)
    with pytest.raises(FileError, match=r"rollouts\.parquet"):
        read(path)


def test_rows_to_write_are_indices(parquet):
    source = read(parquet(rows())).source
    for bad in ([4], [-1], [0.5], [[0]]):
        with pytest.raises(InputError, match="rows must be"):
            source.write(bad, "never.jsonl")
