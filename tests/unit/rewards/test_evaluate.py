"""What one reward does wrong costs no other reward, and no other row."""

import asyncio
import math
import subprocess
import sys

import numpy as np
import pytest

from tiltz.errors import InputError
from tiltz.rewards import evaluate, name_of, range_of

NAN = math.nan
PROMPTS = ["p", "q", "r"]
TEXTS = ["a", "bb", "ccc"]


def length(prompts, completions, **columns):
    return [len(text) for text in completions]


async def slow_length(prompts, completions, **columns):
    await asyncio.sleep(0)
    return [len(text) for text in completions]


def returning(values):
    return lambda prompts, completions, **columns: values


def fails_at_b(prompts, completions, **columns):
    if "bb" in completions:
        raise ValueError("no b")
    return [1.0] * len(completions)


async def fails_at_b_later(prompts, completions, **columns):
    await asyncio.sleep(0)
    return fails_at_b(prompts, completions)


def test_one_reward_goes_by_its_own_name():
    found = evaluate(length, PROMPTS, TEXTS)
    assert list(found.values) == list(found.errors) == ["length"]
    assert found.values["length"].tolist() == [1.0, 2.0, 3.0]
    assert found.values["length"].dtype == np.float64
    assert found.errors["length"] == [None] * 3


@pytest.mark.parametrize("bad", [fails_at_b, fails_at_b_later])
def test_an_exception_loses_its_own_row_only(bad):
    found = evaluate({"bad": bad, "good": length, "late": slow_length}, PROMPTS, TEXTS)
    assert found.values["bad"].tolist() == pytest.approx([1.0, NAN, 1.0], nan_ok=True)
    assert found.errors["bad"] == [None, "ValueError: no b", None]
    for name in ("good", "late"):
        assert found.values[name].tolist() == [1.0, 2.0, 3.0]
        assert found.errors[name] == [None] * 3


def test_a_batch_that_succeeds_is_called_once_and_one_that_fails_once_more_per_row():
    sizes = []

    def counted(prompts, completions, **columns):
        sizes.append(len(completions))
        return fails_at_b(prompts, completions)

    evaluate(counted, ["p", "q"], ["a", "c"])
    assert sizes == [2]
    evaluate(counted, PROMPTS, TEXTS)
    assert sizes == [2, 3, 1, 1, 1]
    evaluate(counted, ["p"], ["bb"])
    assert sizes == [2, 3, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (None, "no reward: None"),
        (NAN, "no reward: nan"),
        (math.inf, "a reward must be a number or -inf, or None where there is none; found +inf."),
        ("1", "a reward must be a number or -inf, or None where there is none; found '1'."),
        ([1.0], "a reward must be a number or -inf, or None where there is none; found [1.0]."),
        (10**400, None),
    ],
)
def test_a_value_that_is_no_reward_is_an_error_of_its_row(value, error):
    found = evaluate(returning([0.5, value, -math.inf]), PROMPTS, TEXTS)
    (values,), (errors,) = found.values.values(), found.errors.values()
    assert values.tolist() == pytest.approx([0.5, NAN, -math.inf], nan_ok=True)
    assert errors[::2] == [None, None]
    assert errors[1] == error if error else "found 1000" in str(errors[1])


@pytest.mark.parametrize(
    ("returned", "error"),
    [
        ([1.0], "a reward must return one value per completion, 3 in all; found 1."),
        ([1.0] * 4, "a reward must return one value per completion, 3 in all; found 4."),
        (0.5, "a reward must return a list of numbers, one per completion; found 0.5."),
        (None, "a reward must return a list of numbers, one per completion; found None."),
        ("abc", "a reward must return a list of numbers, one per completion; found 'abc'."),
    ],
)
def test_a_wrong_number_of_values_is_an_error_of_that_reward(returned, error):
    found = evaluate({"bad": returning(returned), "good": length}, PROMPTS, TEXTS)
    assert np.isnan(found.values["bad"]).all()
    assert found.errors["bad"] == [error] * 3
    assert found.errors["good"] == [None] * 3


def test_arrays_tuples_tensors_and_truth_values_are_read():
    import torch

    for returned in (
        np.array([0, 1, 1]),
        (False, True, True),
        torch.tensor([0.0, 1.0, 1.0]),
        iter([0, 1, 1]),
    ):
        (values,) = evaluate(returning(returned), PROMPTS, TEXTS).values.values()
        assert values.tolist() == [0.0, 1.0, 1.0]


def test_async_rewards_run_inside_a_running_loop():
    async def main():
        return evaluate({"late": slow_length, "bad": fails_at_b_later}, PROMPTS, TEXTS)

    found = asyncio.run(main())
    assert found.values["late"].tolist() == [1.0, 2.0, 3.0]
    assert found.errors["bad"] == [None, "ValueError: no b", None]


def test_async_rewards_wait_at_the_same_time():
    def pair():
        met = asyncio.Event()

        async def first(prompts, completions, **columns):
            await asyncio.wait_for(met.wait(), 10)
            return [1.0]

        async def second(prompts, completions, **columns):
            met.set()
            return [2.0]

        return {"first": first, "second": second}

    assert evaluate(pair(), ["p"], ["a"]).errors == {"first": [None], "second": [None]}


def test_a_cancelled_reward_is_an_error():
    async def gives_up(prompts, completions, **columns):
        raise asyncio.CancelledError

    found = evaluate({"bad": gives_up, "late": slow_length}, ["p"], ["a"])
    assert found.errors == {"bad": ["RuntimeError: the reward was cancelled"], "late": [None]}


def test_an_interruption_is_not_an_error_of_a_row():
    def interrupted(prompts, completions, **columns):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(interrupted, ["p"], ["a"])


def test_rows_keep_their_columns_and_messages_pass_as_they_are():
    seen = []

    def spy(prompts, completions, **columns):
        seen.append((prompts, completions, columns))
        if len(prompts) > 1:
            raise ValueError
        return [columns["answer"][0]]

    prompts = [[{"role": "user", "content": "2 + 2?"}], "3 + 3?"]
    completions = [[{"role": "assistant", "content": "4"}], "6"]
    found = evaluate(spy, prompts, completions, {"answer": (4, 6)})
    assert found.values["spy"].tolist() == [4.0, 6.0]
    assert seen[0] == (prompts, completions, {"answer": [4, 6]})
    assert seen[2] == (["3 + 3?"], ["6"], {"answer": [6]})


def test_a_reward_cannot_change_what_the_next_one_gets():
    def greedy(prompts, completions, answer):
        n = len(completions)
        for values in (prompts, completions, answer):
            values.clear()
        return [0.0] * n

    found = evaluate({"greedy": greedy, "length": length}, PROMPTS, TEXTS, {"answer": [1, 2, 3]})
    assert found.values["length"].tolist() == [1.0, 2.0, 3.0]


def test_no_rows_call_nothing():
    found = evaluate({"bad": fails_at_b, "short": returning([1])}, [], [])
    assert {name: values.shape for name, values in found.values.items()} == {"bad": (0,), "short": (0,)}
    assert found.errors == {"bad": [], "short": []}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({}, PROMPTS, TEXTS), "at least one reward; found none"),
        (({"r": 3}, PROMPTS, TEXTS), "must be a function; found 3 under the name 'r'"),
        ((length, PROMPTS, TEXTS[:2]), "one entry per completion; found 3 prompts, 2 completions"),
        ((length, PROMPTS, TEXTS, {"answer": [1]}), "found 3 prompts, 3 completions, 1 answer"),
        ((length, "pqr", TEXTS), "prompts must be a list with one entry per completion; found 'pqr'"),
        ((length, PROMPTS, TEXTS, {"answer": 1}), "answer must be a list"),
        ((length, PROMPTS, TEXTS, {"prompts": PROMPTS}), "may be named prompts or completions"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        evaluate(*arguments)


def test_names_and_ranges_are_optional():
    class Plain:
        def __call__(self, prompts, completions, **columns):
            return [0.0]

    class Declared(Plain):
        name = "mine"
        reward_range = (0, 2)

    assert (name_of(Plain()), range_of(Plain())) == ("Plain", None)
    assert (name_of(Declared()), range_of(Declared())) == ("mine", (0.0, 2.0))
    Declared.reward_range = (2, 0)
    with pytest.raises(InputError, match="reward_range must be"):
        range_of(Declared())


def test_import_loads_no_heavy_package():
    code = "import sys, tiltz.rewards; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert {"torch", "transformers", "jsonschema", "math_verify", "sympy"} & set(loaded.split()) == set()


class Speechless(Exception):  # noqa: N818
    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        (SystemExit(3), "RuntimeError: the reward left the program (SystemExit: 3)"),
        (asyncio.CancelledError(), "RuntimeError: the reward was cancelled"),
        (Speechless(), "Speechless"),
    ],
)
@pytest.mark.parametrize("waits", [False, True])
def test_no_way_to_fail_ends_the_run(raised, says, waits):
    def fails(prompts, completions, **columns):
        if "bb" in completions:
            raise raised
        return [1.0] * len(completions)

    async def fails_later(prompts, completions, **columns):
        await asyncio.sleep(0)
        return fails(prompts, completions)

    found = evaluate({"it": fails_later if waits else fails}, PROMPTS, TEXTS)
    assert found.errors["it"] == [None, says, None]
    assert found.values["it"].tolist() == pytest.approx([1, NAN, 1], nan_ok=True)
