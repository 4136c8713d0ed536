"""Drawing from a model to files: streams, rounds until intervals are narrow, and what a reward may do on the way."""

import json
import math
import threading

import duckdb
import numpy as np
import pytest

import tiltz
from tests.oracles import covered_between
from tiltz.errors import FileError, InputError
from tiltz.lm import Completion, SamplingSpec, table_model
from tiltz.rewards import exact_match
from tiltz.rollouts.drawing import UntilNarrow, WidthRun, read_prompts, rollout
from tiltz.rollouts.drawing.prompts import Prompts

LEVEL = 0.95


class Coins:
    """A reference whose prompt is the probability of the completion "yes"; the other one is "no"."""

    spec = SamplingSpec()
    ref_id = {"model": "coins"}  # noqa: RUF012

    def sample(self, prompts, n, rng):
        return [
            [said(u < float(prompt)) for u in stream.random(n)]
            for prompt, stream in zip(prompts, rng, strict=True)
        ]

    def log_prob(self, prompts, completions):
        raise NotImplementedError


def said(yes):
    return Completion(ids=(int(yes),), text="yes" if yes else "no", log_prob=-1.0, ended="end")


def yes(prompts, completions, **columns):
    return [float(text == "yes") for text in completions]


yes.reward_range = (0, 1)  # pyright: ignore[reportFunctionMemberAccess]


def rows(folder):
    found = duckdb.sql(f"SELECT prompt_id, completion, reward FROM '{folder}/part-*.parquet'").fetchall()
    by_prompt = {}
    for label, completion, reward in found:
        by_prompt.setdefault(label, []).append((completion, reward))
    return by_prompt


WANTED = {"until_width": 1.0, "beta": 0.2}
MANY = [str(p) for p in np.linspace(0.05, 0.9, 20)]


def test_rounds_go_on_with_the_draws_of_a_fixed_number(tmp_path):
    run = rollout(Coins(), yes, MANY, 10, tmp_path / "adaptive", **WANTED, at_most=700)
    rollout(Coins(), yes, MANY, 700, tmp_path / "fixed")
    drawn, fixed = rows(tmp_path / "adaptive"), rows(tmp_path / "fixed")
    assert {label: len(found) for label, found in fixed.items()} == dict.fromkeys(drawn, 700)
    sizes = {len(found) for found in drawn.values()}
    assert len(sizes) > 5
    assert all(found == fixed[label][: len(found)] for label, found in drawn.items())
    assert run.n_rows == sum(map(len, drawn.values()))


def test_a_prompt_gets_the_same_whatever_the_others_are(tmp_path):
    rollout(Coins(), yes, MANY, 10, tmp_path / "together", **WANTED, batch_prompts=20)
    rollout(Coins(), yes, MANY, 10, tmp_path / "alone", **WANTED, batch_prompts=1)
    assert rows(tmp_path / "together") == rows(tmp_path / "alone")


@pytest.mark.parametrize(
    "declared", [{"reward_range": (0, 1)}, {"reward_values": (0, 1)}, {"reward_range": (-0.3, 1.7)}], ids=str
)
def test_what_is_read_agrees_with_the_monitor(tmp_path, declared):
    run = rollout(Coins(), yes, MANY, 10, tmp_path, **WANTED, **declared)
    assert isinstance(run, WidthRun)
    found = tiltz.estimate(tiltz.read(tmp_path), run.stopping.beta)
    monitor = run.stopping.watch()
    for label, drawn in rows(tmp_path).items():
        monitor.push([reward for _, reward in drawn], prompt=label)
    told = monitor.estimate(run.stopping.beta)
    assert list(told.prompt) == list(found.prompt)
    assert np.all(told.lo <= found.lo + 1e-9)
    assert np.all(found.hi <= told.hi + 1e-9)
    assert np.all((told.hi - told.lo) - (found.hi - found.lo) <= 1.0 / 32 + 1e-9)
    narrow = (told.hi - told.lo)[:, 0] <= 1.0
    assert run.n_narrow == narrow.sum()
    assert np.all(found.n[~narrow] == run.stopping.at_most)
    assert run.most_rows == found.n[narrow].max()
    assert all("adaptive" in flags for flags in found.flags[:, 0])
    assert set(found.kind[:, 0]) == {"certified"}


def test_intervals_at_the_stopping_time_cover_and_those_for_a_fixed_number_do_not(tmp_path):
    p, beta, width, n, many = 0.2, 0.1, 1.5, 2, 1000
    truth = math.log1p(p * math.expm1(1 / beta))
    run = rollout(Coins(), yes, [str(p)] * many, n, tmp_path, until_width=width, beta=beta, batch_prompts=250)
    assert run.n_narrow == many
    found = tiltz.estimate(tiltz.read(tmp_path), beta, level=LEVEL)
    assert np.all(found.hi - found.lo <= width)
    least, _ = covered_between(LEVEL, many)
    assert np.sum((found.lo <= truth) & (truth <= found.hi)) >= least
    # The twin stops as soon as an interval for a fixed number is narrow, and believes it.
    assert covered_by_fixed(p, beta, width, n, many, truth) < least


def covered_by_fixed(p, beta, width, n, many, truth):
    rewards = (np.random.default_rng(0).random((many, 600)) < p).astype(float)
    open_, covered, size = np.arange(many), 0, n
    while len(open_):
        table = tiltz.Outcomes.sampled(rewards[open_, :size], reward_values=(0, 1), stopping="fixed")
        found = tiltz.estimate(table, beta, interval="delta", level=LEVEL)
        narrow = (found.hi - found.lo)[:, 0] <= width
        covered += np.sum(narrow & (found.lo[:, 0] <= truth) & (truth <= found.hi[:, 0]))
        open_, size = open_[~narrow], size + n
    return covered


def test_rows_without_a_reward_count_towards_the_cap_and_not_towards_the_interval(tmp_path):
    def failing(prompts, completions, **columns):
        return [
            None if prompt == "0.5" else float(text == "yes")
            for prompt, text in zip(prompts, completions, strict=True)
        ]

    run = rollout(
        Coins(),
        failing,
        ["0.5", "0.6"],
        16,
        tmp_path,
        **WANTED,
        reward_range=(0, 1),
        at_most=100,
        batch_prompts=2,
    )
    drawn = rows(tmp_path)
    assert len(drawn["0"]) == 100 > len(drawn["1"])
    assert (run.n_failed, run.n_narrow, run.first_error) == (100, 1, "no reward: None")
    with pytest.raises(InputError, match="says why, 100 times: 'no reward: None'"):
        tiltz.read(tmp_path)


def test_a_policy_draws_and_the_reference_scores(tmp_path):
    worlds = [{"toss": {"heads": p, "tails": 1 - p}} for p in (0.5, 0.8)]
    reference, policy = (table_model(world) for world in worlds)
    heads = exact_match()
    rollout(reference, heads, [{"prompt": "toss", "answer": "heads"}], 200, tmp_path, policy=policy)
    found = tiltz.read(tmp_path)
    assert found.drawn_from == "policy"
    assert found.reward_values == (0.0, 1.0)
    ratio = np.where(found.reward == 1, 0.5 / 0.8, 0.5 / 0.2)
    assert np.allclose(found.log_weight, np.log(ratio), atol=1e-12)
    assert json.loads(found.source.metadata["ref_id"])["model"] == reference.ref_id["model"]
    with pytest.raises(InputError, match="begun with another policy_id"):
        rollout(reference, heads, [{"prompt": "toss", "answer": "heads"}], 200, tmp_path)
    narrow = table_model(worlds[1], spec=SamplingSpec(top_p=0.5))
    with pytest.raises(InputError, match="must be able to draw whatever the reference can"):
        rollout(reference, heads, ["toss"], 8, tmp_path / "b", policy=narrow)
    with pytest.raises(InputError, match="until_width watches draws from the reference"):
        rollout(reference, heads, ["toss"], 8, tmp_path / "b", policy=policy, until_width=1, beta=1)


def test_a_run_says_what_an_earlier_one_left(tmp_path):
    whole = rollout(Coins(), yes, MANY, 10, tmp_path, **WANTED, batch_prompts=5)
    drawn = rows(tmp_path)
    (tmp_path / "part-00001.parquet").unlink()
    again = rollout(Coins(), yes, MANY, 10, tmp_path, **WANTED, batch_prompts=5)
    assert (again.n_rows, again.n_narrow, again.most_rows) == (whole.n_rows, whole.n_narrow, whole.most_rows)
    assert 0 < again.n_new < whole.n_new
    assert rows(tmp_path) == drawn


def test_one_shard_is_rewarded_while_another_is_drawn_for(tmp_path):
    second_is_drawn = threading.Event()

    class Watched(Coins):
        calls = 0

        def sample(self, prompts, n, rng):
            self.calls += 1
            if self.calls == 2:
                second_is_drawn.set()
            return super().sample(prompts, n, rng)

    def waiting(prompts, completions, **columns):
        assert second_is_drawn.wait(60)
        return yes(prompts, completions)

    assert rollout(Watched(), waiting, MANY[:4], 2, tmp_path, batch_prompts=2).n_failed == 0


def test_progress_ends_with_all_there_is(tmp_path):
    told = []
    run = rollout(Coins(), yes, MANY, 10, tmp_path, **WANTED, batch_prompts=5, progress=told.append)
    assert (told[0].n_rows, told[0].n_prompts) == (0, 0)
    assert (told[-1].n_rows, told[-1].n_prompts, told[-1].n_prompts_wanted) == (run.n_rows, 20, 20)
    steps = [one.n_rows for one in told]
    assert steps == sorted(steps)


def silent(prompts, completions, **columns):
    return [2.0] * len(completions)


@pytest.mark.parametrize(
    ("reward", "arguments", "says"),
    [
        (silent, WANTED, "silent declares none"),
        (yes, {"until_width": 1.0}, "must come with beta"),
        (yes, {"beta": 1.0}, "beta must come with until_width"),
        (yes, {"until_width": -1.0, "beta": 1.0}, "width must be a positive number"),
        (yes, {**WANTED, "at_most": 5}, "at least n"),
        (yes, {**WANTED, "beta": 0.0}, "beta must be positive"),
        (yes, {"until_width": 1e-300, "beta": 1e-300}, "must be a part of the range of rewards"),
        (yes, {**WANTED, "reward_range": (-1e308, 1e308)}, "must be a part of the range of rewards"),
        (yes, {"batch_prompts": 0}, "batch_prompts must be"),
        (yes, {"seed": -1}, "seed must be"),
        (silent, {**WANTED, "reward_values": (0, 1)}, r"must be one of \(0.0, 1.0\), as declared"),
        (
            silent,
            {**WANTED, "reward_range": (0, 1)},
            r"must be in \[0, 1\], as declared, .* found 2 for a completion of prompt 'a'",
        ),
        ({"reward": yes, "style": yes}, {}, "found 'reward'"),
        ({"answer": yes, "style": yes}, {}, "found 'answer'"),
    ],
)
def test_what_is_refused(tmp_path, reward, arguments, says):
    prompts = [{"prompt": "0.5", "prompt_id": "a", "answer": 1}]
    with pytest.raises(InputError, match=says):
        rollout(Coins(), reward, prompts, 16, tmp_path / "out", **arguments)


@pytest.mark.parametrize("column", ["log_policy", "step", "completions", "Reward"])
def test_columns_that_would_be_read_as_something_else_are_refused(tmp_path, column):
    with pytest.raises(InputError, match=f"found '{column}'"):
        rollout(Coins(), yes, [{"prompt": "0.5", column: 1}], 16, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_range_of_a_sum_is_the_sum_of_the_ranges(tmp_path):
    def style(prompts, completions, **columns):
        return [-0.5] * len(completions)

    style.reward_range = (-1, 0.25)  # pyright: ignore[reportFunctionMemberAccess]
    run = rollout(Coins(), {"yes": yes, "style": style}, ["0.5"], 8, tmp_path, **WANTED, at_most=32)
    assert isinstance(run.stopping, UntilNarrow)
    assert run.stopping.reward_range == (-1.0, 1.25)
    assert tiltz.read(tmp_path).reward_range == (-1.0, 1.25)


def test_what_a_fixed_run_declares_is_read(tmp_path):
    rollout(Coins(), yes, ["0.5"], 8, tmp_path / "range")
    rollout(Coins(), yes, ["0.5"], 8, tmp_path / "values", reward_values=(-math.inf, 0, 1))
    assert tiltz.read(tmp_path / "range").reward_range == (0.0, 1.0)
    assert tiltz.read(tmp_path / "values").reward_values == (-math.inf, 0.0, 1.0)


def test_a_folder_without_a_shard_takes_another_run_and_one_with_other_files_none(tmp_path):
    rollout(Coins(), yes, ["0.5"], 4, tmp_path)
    (tmp_path / "part-00000.parquet").unlink()
    assert rollout(Coins(), yes, ["0.5"], 5, tmp_path).n_rows == 5
    with pytest.raises(InputError, match="begun with another n, batch_prompts: 5, now 6"):
        rollout(Coins(), yes, ["0.5"], 6, tmp_path)
    (tmp_path / "rollout.json").unlink()
    with pytest.raises(InputError, match="a folder of their own"):
        rollout(Coins(), yes, ["0.5"], 5, tmp_path)
    (tmp_path / "rollout.json").write_text("[", encoding="utf-8")
    with pytest.raises(FileError, match="cannot be used"):
        rollout(Coins(), yes, ["0.5"], 5, tmp_path)


def test_lines_of_text_keep_all_that_is_no_line_end(tmp_path):
    path = tmp_path / "prompts.TXT"
    path.write_bytes("\ufeffone\r\n\r\n  \ntwo\x0c\u2028and\x85\n\nthree".encode())
    assert read_prompts(path).prompts == ("one", "two\x0c\u2028and\x85", "three")


def test_texts_and_chats_in_one_file_stay_what_they_are(tmp_path):
    chat = [
        {"role": "system", "content": "brief", "name": "s"},
        {"role": "user", "content": [{"text": "hi"}]},
    ]
    given = [
        {"prompt": chat, "answer": ["a", 2]},
        {"prompt": "plain", "answer": "seven"},
        {"prompt": [{"role": "user", "content": None}], "answer": 3},
    ]
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n".join(map(json.dumps, given)), encoding="utf-8")
    found = read_prompts(path)
    assert list(found.prompts) == [row["prompt"] for row in given]
    assert found.columns == {"answer": [row["answer"] for row in given]}
    chats = [given[0], given[2]]
    path.write_text("\n".join(map(json.dumps, chats)), encoding="utf-8")
    assert list(read_prompts(path).prompts) == [row["prompt"] for row in chats]


@pytest.mark.parametrize(
    ("ids", "says"), [(["a", "b", "a"], "'a' is there 2 times"), (["a", None, "b"], "prompt 2 has none")]
)
def test_every_prompt_has_its_own_id(ids, says):
    with pytest.raises(InputError, match=says):
        Prompts.of([{"prompt": "p", "prompt_id": one} for one in ids])


def test_equal_prompts_are_told_apart_by_their_place():
    assert (
        Prompts.of(["p", "p"]).ids == Prompts.of([{"prompt": "p", "prompt_id": None}] * 2).ids == ("0", "1")
    )


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        (
            table_model({"toss": {"heads": 0.5, "tails": 0.5}}, spec=SamplingSpec(max_tokens=3)),
            "max_tokens of the policy",
        ),
        (table_model({"toss": {"heads": 0.5, "edge": 0.5}}), "to the policy and"),
        (table_model({"toss": {"heads": 0.5, "tails": 0.4, "zero": 0.1}}), "end_id of the policy"),
    ],
)
def test_a_policy_with_other_outcomes_is_refused(policy, says, tmp_path):
    reference = table_model({"toss": {"heads": 0.5, "tails": 0.5}})
    with pytest.raises(InputError, match=says):
        rollout(reference, yes, ["toss"], 50, tmp_path, policy=policy)


def test_a_table_with_other_probabilities_is_another_reference(tmp_path):
    for p in (0.5, 0.25):
        model = table_model({"toss": {"heads": p, "tails": 1 - p}})
        if p == 0.5:
            rollout(model, yes, ["toss"], 4, tmp_path)
    with pytest.raises(InputError, match="begun with another ref_id"):
        rollout(model, yes, ["toss"], 4, tmp_path)


def test_one_prompt_is_no_list_of_its_letters(tmp_path):
    with pytest.raises(InputError, match="a list of prompts; found 'toss'"):
        rollout(Coins(), yes, "toss", 4, tmp_path)
