"""TRL runs as they really are; the run under tests/data was written by TRL 1.16.0."""

from __future__ import annotations

import json
import shutil

import duckdb
import numpy as np
import pytest

from tiltz.errors import LayoutError
from tiltz.rollouts import read
from tiltz.rollouts.trl_run import _possible_advantages

WEIGHTS = {"contains_kind_word": 1.0, "rm_128_4_fp16": 0.3}


def mean_log_z(outcomes, beta: float) -> float:
    """Return the mean over groups of log-mean-exp(r / beta)."""
    values = []
    for i in range(len(outcomes.prompt)):
        scaled = outcomes.reward[outcomes.groups.of_row == i] / beta
        values.append(np.log(np.mean(np.exp(scaled - scaled.max()))) + scaled.max())
    return float(np.mean(values))


def rewrite(run, step: int, query: str) -> None:
    """Write the file of a step anew from a query on the old files, named by step as {1}, {2}, ..."""
    names = {str(i): f"'{run}/completions/completions_{i:05d}.parquet'" for i in range(1, 11)}
    for number, name in names.items():
        query = query.replace("{" + number + "}", name)
    table = duckdb.connect().execute(f"CREATE TABLE new AS {query}")
    table.execute(f"COPY new TO {names[str(step)]} (FORMAT parquet)")


@pytest.mark.parametrize(
    ("step", "n", "mean", "at_005", "at_05"),
    [("all", 40, 0.911281, 31.284170, 2.482412), (1, 4, 0.941099, 31.705757, 2.499886)],
)
@pytest.mark.parametrize("place", ["", "completions", "completions/completions_*.parquet"])
def test_a_real_run(trl_run, step, n, mean, at_005, at_05, place):
    outcomes = read(trl_run / place, reward=WEIGHTS, step=step)
    assert len(outcomes.prompt) == n
    assert outcomes.n.tolist() == [8] * n
    assert outcomes.reward.mean() == pytest.approx(mean, abs=1e-5)
    assert mean_log_z(outcomes, 0.05) == pytest.approx(at_005, abs=1e-5)
    assert mean_log_z(outcomes, 0.5) == pytest.approx(at_05, abs=1e-5)
    assert any("agrees with the advantages" in note for note in outcomes.source.notes)


def test_what_a_run_is_called(trl_run):
    source = read(trl_run, reward=WEIGHTS, step=1).source
    assert source.layout == "trl"
    assert source.recognised == (
        "TRL completions, 10 files, step 1: 32 rows, 4 prompts; reward = contains_kind_word + 0.3*rm_128_4_fp16"
    )
    assert source.notes[0] == (
        "Z is relative to the policy of step 1 (the starting policy, before its first update), which drew the rows."
    )
    outcomes = read(trl_run, reward=WEIGHTS, step=4)
    assert outcomes.drawn_from == "policy of step 4"
    assert "relative to the policy of step 4, which" in outcomes.source.notes[0]
    assert "its own step (steps 1 to 10)" in read(trl_run, reward=WEIGHTS, step="all").source.notes[0]
    assert read(trl_run, reward=WEIGHTS, step=4, drawn_from="reference").drawn_from == "reference"


def test_a_single_file_needs_no_step(trl_run):
    outcomes = read(trl_run / "completions" / "completions_00007.parquet", reward=WEIGHTS)
    assert outcomes.step.tolist() == [7] * 4


def test_the_choice_of_rewards_is_told(trl_run):
    with pytest.raises(LayoutError) as caught:
        read(trl_run, step=1)
    for part in (
        "3 columns of",
        "contains_kind_word, rm_128_4_fp16, n_words",
        "--reward contains_kind_word",
        "--reward 1*contains_kind_word --reward 0.3*rm_128_4_fp16",
        "reward={'contains_kind_word': 1, 'rm_128_4_fp16': 0.3}",
    ):
        assert part in str(caught.value)


def test_the_only_column_of_numbers_is_the_reward(trl_run):
    rewrite(trl_run, 1, "SELECT step, prompt, completion, contains_kind_word, advantage FROM {1}")
    outcomes = read(trl_run / "completions" / "completions_00001.parquet")
    assert outcomes.source.reward == {"contains_kind_word": 1.0}


@pytest.mark.parametrize("reward", ["contains_kind_word", {"contains_kind_word": 1.0, "rm_128_4_fp16": 0.1}])
def test_weights_that_are_not_the_trainers_are_called_so(trl_run, reward):
    notes = read(trl_run, reward=reward, step="all").source.notes
    assert any(note.startswith("WARNING: the reward does not reproduce the advantages") for note in notes)


@pytest.mark.parametrize("scheme", range(4))
def test_every_way_to_scale_advantages_is_recognised(trl_run, scheme):
    plain = read(trl_run, reward=WEIGHTS, step=2)
    group = plain.groups.of_row
    advantage = _possible_advantages(plain.reward, group, np.zeros(len(group), int))[scheme]
    listed = ", ".join(f"({i}, {value!r}::DOUBLE)" for i, value in enumerate(advantage.tolist()))
    rewrite(
        trl_run,
        2,
        "SELECT t.* EXCLUDE (advantage, i), a.v AS advantage FROM (SELECT *, row_number() OVER () - 1 AS i FROM {2}) t "
        f"JOIN (VALUES {listed}) a(i, v) ON t.i = a.i ORDER BY t.i",
    )
    notes = read(trl_run, reward=WEIGHTS, step=2).source.notes
    assert any("agrees with the advantages" in note for note in notes)


def test_rollouts_written_twice_are_counted_once(trl_run):
    for step in (2, 4):
        rewrite(trl_run, step, f"SELECT * REPLACE ({step} AS step) FROM {{{step - 1}}}")
    outcomes = read(trl_run, reward=WEIGHTS, step="all")
    assert sorted(set(outcomes.step.tolist())) == [1, 3, *range(5, 11)]
    assert any(note.startswith("64 rows of 2 steps repeat the step before") for note in outcomes.source.notes)
    with pytest.raises(LayoutError, match=r"step 4 holds the rollouts of step 3 once more .* Use --step 3\."):
        read(trl_run, reward=WEIGHTS, step=4)


def test_rollouts_written_three_times_lead_back_to_the_first(trl_run):
    rewrite(trl_run, 2, "SELECT * REPLACE (2 AS step) FROM {1}")
    rewrite(trl_run, 3, "SELECT * REPLACE (3 AS step) FROM {1}")
    with pytest.raises(LayoutError, match=r"Use --step 1\."):
        read(trl_run, reward=WEIGHTS, step=3)


def test_rows_in_another_order_are_not_a_repeat(trl_run):
    rewrite(trl_run, 2, "SELECT * REPLACE (2 AS step) FROM {1} ORDER BY prompt, completion")
    assert len(read(trl_run, reward=WEIGHTS, step="all").prompt) == 40


def test_a_collapsed_policy_is_not_a_repeat(trl_run):
    same = "prompt, 'x' AS completion, 1.0 AS contains_kind_word, 0.0 AS advantage FROM {1}"
    for step in range(10, 0, -1):
        rewrite(trl_run, step, f"SELECT {step} AS step, {same}")
    assert len(read(trl_run, step="all").prompt) == 40


@pytest.mark.parametrize("with_settings", [True, False])
def test_evaluation_rows_and_cut_groups_are_left_out(trl_run, with_settings):
    if not with_settings:
        (trl_run / "grpo_config.json").unlink()
    rewrite(trl_run, 5, "SELECT * FROM {5} LIMIT 19 OFFSET 13")
    evaluation = "SELECT *, row_number() OVER () AS i FROM {7}"
    rewrite(
        trl_run,
        6,
        "(SELECT * FROM {6} LIMIT 8) UNION ALL (SELECT * EXCLUDE (i) REPLACE ('eval ' || prompt AS prompt, "
        f"6 AS step) FROM ({evaluation}) WHERE i % 8 IN (1, 2))",
    )
    outcomes = read(trl_run, reward=WEIGHTS, step="all")
    assert set(outcomes.n.tolist()) == {8}
    note = next(note for note in outcomes.source.notes if "left out" in note)
    assert note.startswith(
        "5 groups with 11 rows left out: 2, 3 rows where the run draws 8 completions for a prompt"
    )
    assert any("agrees with the advantages" in note for note in outcomes.source.notes)
    assert len(read(trl_run, reward=WEIGHTS, step=6).prompt) == 1


def test_a_run_without_a_usual_group_size_is_kept_whole(trl_run):
    (trl_run / "grpo_config.json").unlink()
    path = trl_run / "completions" / "completions_00001.parquet"
    rewrite(trl_run, 1, "SELECT * FROM {1} LIMIT 11 OFFSET 3")
    outcomes = read(path, reward=WEIGHTS)
    assert outcomes.n.tolist() == [5, 6]
    assert any("no usual size: none was left out" in note for note in outcomes.source.notes)


def test_settings_that_fit_no_group_leave_all_in(trl_run):
    (trl_run / "grpo_config.json").write_text(json.dumps({"num_generations": 7}))
    outcomes = read(trl_run, reward=WEIGHTS, step=1)
    assert len(outcomes.prompt) == 4
    assert any("no group has a multiple of 7 rows" in note for note in outcomes.source.notes)


def test_settings_that_are_broken_are_passed_over(trl_run):
    (trl_run / "grpo_config.json").write_text("{")
    assert len(read(trl_run, reward=WEIGHTS, step=1).prompt) == 4


def test_a_prompt_drawn_twice_in_one_step_is_one_group(trl_run):
    rewrite(trl_run, 1, "SELECT * REPLACE ('same' AS prompt) FROM {1}")
    assert read(trl_run, reward=WEIGHTS, step=1).n.tolist() == [32]


def test_steps_as_text_and_chat_messages(trl_run):
    rewrite(
        trl_run,
        1,
        "SELECT * REPLACE (CAST(step AS VARCHAR) AS step, [{'role': 'user', 'content': prompt}] AS prompt) FROM {1}",
    )
    shutil.move(trl_run / "completions" / "completions_00001.parquet", trl_run / "x.parquet")
    outcomes = read(trl_run / "x.parquet", reward=WEIGHTS)
    assert outcomes.step.tolist() == [1] * 4
    assert json.loads(outcomes.prompt[0])[0]["role"] == "user"


def test_draws_of_a_policy_need_log_probabilities(trl_run):
    with pytest.raises(
        LayoutError, match=r"lacks log_policy and log_ref.*relative to the policy that drew the rows"
    ):
        read(trl_run, reward=WEIGHTS, step=2, drawn_from="policy")


def test_resampled_rows_keep_their_columns(trl_run, tmp_path):
    outcomes = read(trl_run, reward=WEIGHTS, step=3)
    outcomes.source.write(
        outcomes.row[[0, 31, 0]], tmp_path / "out.parquet", columns={"weight": [0.2, 0.3, 0.5]}
    )
    found = duckdb.connect().execute(f"SELECT * FROM '{tmp_path}/out.parquet'").fetchall()
    original = (
        duckdb.connect()
        .execute(f"SELECT * FROM '{trl_run}/completions/completions_00003.parquet'")
        .fetchall()
    )
    assert [row[:-1] for row in found] == [original[0], original[31], original[0]]
    assert [row[-1] for row in found] == [0.2, 0.3, 0.5]
