"""Values, ranges and effects on Z of rewards made of other rewards."""

import asyncio
import math

import numpy as np
import pytest

import tiltz
from tiltz.errors import InputError
from tiltz.laws import Affine, Categorical, QuantileReward
from tiltz.rewards import affine, clip, evaluate, log_quantile, matches, name_of, quantile, weighted_sum

TEXTS = ["-2", "0", "1", "5"]


def value(prompts, completions, **columns):
    return [float(text) if text else None for text in completions]


async def late(prompts, completions, **columns):
    await asyncio.sleep(0)
    return value(prompts, completions)


def declared(low, high):
    def value_between(prompts, completions, **columns):
        return value(prompts, completions)

    vars(value_between)["reward_range"] = (low, high)
    return value_between


def apply(reward, texts=TEXTS, prompts=None):
    return reward(prompts=prompts or ["?"] * len(texts), completions=texts)


@pytest.mark.parametrize("part", [value, late])
def test_values_of_sync_and_async_rewards(part):
    assert apply(affine(part, 1, -2)) == [5.0, 1.0, -1.0, -9.0]
    assert apply(clip(part, -1, 2)) == [-1.0, 0.0, 1.0, 2.0]
    assert apply(weighted_sum({"a": (2, part), "b": (-1, value)})) == [-2.0, 0.0, 1.0, 5.0]
    assert apply(quantile([0, 1])(part)) == [0.0, 0.5, 1.0, 1.0]


def test_an_async_part_runs_inside_a_running_loop():
    async def main():
        return apply(affine(late, 0, 1))

    assert asyncio.run(main()) == [-2.0, 0.0, 1.0, 5.0]


@pytest.mark.parametrize(
    ("reward", "wanted"),
    [
        (affine(value, 1, 2), None),
        (affine(declared(-1, 3), 1, 2), (-1.0, 7.0)),
        (affine(declared(-1, 3), 1, -2), (-5.0, 3.0)),
        (clip(value, 0, 1), (0.0, 1.0)),
        (clip(value, 0, math.inf), None),
        (clip(declared(-1, 3), 0, math.inf), (0.0, 3.0)),
        (clip(declared(-1, 3), 0, 2), (0.0, 2.0)),
        (clip(declared(-1, 3), -5, 5), (-1.0, 3.0)),
        (clip(declared(-1, 3), 7, 9), (7.0, 7.0)),
        (weighted_sum({"a": (2, declared(-1, 3)), "b": (-1, declared(0, 1))}), (-3.0, 6.0)),
        (weighted_sum({"a": (2, declared(-1, 3)), "b": (1, value)}), None),
        (weighted_sum({"b": (1, value), "a": (2, declared(-1, 3))}), None),
        (quantile([1, 2])(value), (0.0, 1.0)),
        (log_quantile([1, 2, 3])(value), (math.log(0.25), 0.0)),
        (log_quantile({"p": [1], "q": [1, 2, 3]})(value), (math.log(0.25), 0.0)),
        (clip(affine(matches("a"), 0, 10), 0, 5), (0.0, 5.0)),
    ],
)
def test_declared_ranges_travel(reward, wanted):
    assert reward.reward_range == wanted


def test_rounding_leaves_no_value_outside_its_range():
    weights = [0.1, 0.2, 0.3, 0.7, 0.1, 0.1]
    raised = weighted_sum({str(i): (weight, declared(0, 1)) for i, weight in enumerate(weights)})
    lowered = weighted_sum({str(i): (-weight, declared(0, 1)) for i, weight in enumerate(weights)})
    assert raised.reward_range is not None
    assert raised.reward_range[1] != math.fsum(weights)
    assert tuple(apply(raised, ["0", "1"])) == raised.reward_range
    assert tuple(apply(lowered, ["1", "0"])) == lowered.reward_range
    logs = log_quantile([1] * 6)(value)
    assert tuple(apply(logs, ["0", "1"])) == logs.reward_range


def test_names_say_what_was_done():
    assert name_of(clip(affine(value, 1, 2), 0, 1)) == "clip(affine(value))"
    assert name_of(weighted_sum({"correct": (1, value), "format": (0.3, late)})) == "1*correct + 0.3*format"
    assert (name_of(quantile([1])(value)), name_of(log_quantile([1])(value))) == (
        "quantile(value)",
        "log_quantile(value)",
    )


def test_a_row_without_a_value_has_none_and_a_bad_row_is_lost_alone():
    rewards = {
        "sum": weighted_sum({"a": (1, value), "b": (1, late)}),
        "clip": clip(value, 0, 1),
        "quantile": quantile([0, 1])(value),
    }
    found = evaluate(rewards, ["?"] * 5, ["1", "", "inf", "x", "-inf"])
    assert found.values["sum"].tolist() == pytest.approx([2.0, *[math.nan] * 3, -math.inf], nan_ok=True)
    assert found.values["clip"].tolist() == pytest.approx([1.0, *[math.nan] * 3, 0.0], nan_ok=True)
    assert found.values["quantile"].tolist() == pytest.approx([1.0, *[math.nan] * 3, 0.0], nan_ok=True)
    for errors in found.errors.values():
        assert errors[0] is errors[4] is None
        assert errors[1] == "no reward: None"
        assert "found +inf" in str(errors[2])
        assert errors[3] == "ValueError: could not convert string to float: 'x'"


def test_a_negative_weight_turns_a_forbidden_completion_into_an_error():
    found = evaluate(
        {"r": affine(value, 0, -1), "s": weighted_sum({"a": (1, value), "b": (-1, value)})}, ["?"], ["-inf"]
    )
    assert "found +inf" in str(found.errors["r"][0])
    assert found.errors["s"] == ["no reward: None"]


PROB = np.array([0.4, 0.3, 0.2, 0.1])
BETAS = [0.3, 1.0, 10.0]


def log_z(rewards, betas=BETAS):
    return tiltz.estimate(tiltz.Outcomes.complete(np.log(PROB), rewards), betas).log_z[0]


@pytest.mark.parametrize(("shift", "scale"), [(1.0, 2.0), (-3.0, 0.5)])
def test_affine_has_the_effect_on_z_that_its_notes_say(shift, scale):
    found = log_z(apply(affine(value, shift, scale)))
    plain = log_z(apply(value), [beta / scale for beta in BETAS])
    assert found == pytest.approx(shift / np.array(BETAS) + plain, abs=1e-12)
    law = Affine(Categorical(PROB, [float(text) for text in TEXTS]), shift=shift, scale=scale)
    assert found == pytest.approx(law.log_z(BETAS), abs=1e-12)


def test_clip_has_the_effect_on_z_that_its_notes_say():
    betas, plain = np.array(BETAS), log_z(apply(value))
    both = log_z(apply(clip(value, -1, 2)))
    assert np.all((-1 / betas <= both) & (both <= 2 / betas))
    assert np.all(log_z(apply(clip(value, -1, math.inf))) > plain)
    assert np.all(log_z(apply(clip(value, -math.inf, 2))) < plain)


@pytest.mark.parametrize("ties", ["at-most", "below", "mid-rank"])
def test_quantile_has_the_law_of_its_convention(ties):
    """Enumeration of every reference set of three rewards, and of every outcome."""
    values, total = [float(text) for text in TEXTS], 0.0
    for index in np.ndindex(4, 4, 4):
        reward = quantile([values[i] for i in index], ties=ties)(value)
        total += PROB[list(index)].prod() * (PROB @ np.exp(np.array(apply(reward)) / 0.5))
    assert math.log(total) == pytest.approx(QuantileReward(3, tuple(PROB), ties=ties).log_z(0.5), abs=1e-12)


def test_log_quantile_adds_one_to_both_counts():
    assert apply(log_quantile([-math.inf, 0, 1])(value)) == pytest.approx(np.log([0.5, 0.75, 1.0, 1.0]))
    assert apply(log_quantile([7, 8, 9])(value)) == pytest.approx([math.log(0.25)] * 4)


def test_log_quantile_has_the_effect_on_z_that_its_notes_say():
    """Uniform rewards: among m others every count k = 0..m is as likely."""
    m, beta, rng = 3, 0.7, np.random.default_rng(0)
    draws = rng.random((4000, m + 1))
    rewards = [apply(log_quantile(row[1:])(value), [str(row[0])])[0] for row in draws]
    z = np.exp(np.array(rewards) / beta)
    wanted = np.mean(((np.arange(m + 1) + 1) / (m + 1)) ** (1 / beta))
    assert abs(z.mean() - wanted) <= 4.89 * z.std() / math.sqrt(len(z))
    without_the_one = np.exp(np.log(np.maximum(np.exp(rewards) * (m + 1) - 1, 1e-300) / m) / beta)
    assert abs(without_the_one.mean() - wanted) > 4.89 * z.std() / math.sqrt(len(z))


def test_each_prompt_has_its_own_references():
    chat = [{"role": "user", "content": "é"}]
    reward = quantile({"p": [0, 0], "q": [0, 2, 4], '[{"role": "user", "content": "é"}]': [3]})(value)
    assert apply(reward, ["1", "1", "3"], ["p", "q", chat]) == [1.0, 1 / 3, 1.0]
    found = evaluate(reward, ["p", "z"], ["1", "1"])
    assert found.errors["quantile(value)"] == [
        None,
        "every prompt must have reference rewards; there are none for 'z'.",
    ]


def test_reference_rewards_are_copied():
    rewards = np.array([2.0, 1.0])
    reward = quantile(rewards)(value)
    rewards[:] = 100.0
    assert apply(reward) == [0.0, 0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: affine(value, math.inf, 1), "shift must be a finite number; found inf"),
        (lambda: affine(value, 1, 0), "scale must be a finite number, not 0; found 0"),
        (lambda: affine(value, 1, math.nan), "scale must be a finite number, not 0; found nan"),
        (lambda: affine(declared(1, 0), 1, 1), "reward_range must be"),
        (lambda: clip(value, 1, 1), "low must be below high; found 1 and 1"),
        (lambda: clip(value, math.nan, 1), "low must be below high"),
        (lambda: weighted_sum({}), "at least one part; found none"),
        (
            lambda: weighted_sum({"a": (0, value)}),
            "the weight of 'a' must be a finite number, not 0; found 0",
        ),
        (
            lambda: quantile([1], ties="above"),
            "ties must be one of 'at-most', 'below', 'mid-rank'; found 'above'",
        ),
        (lambda: quantile([]), r"at least one, without NaN and \+inf; found shape \(0,\)"),
        (lambda: quantile([[1, 2]]), r"found shape \(1, 2\)"),
        (lambda: quantile(3), "must be a list of numbers, .*; found 3"),
        (lambda: quantile([1, math.nan]), "found nan"),
        (lambda: log_quantile([1, math.inf]), "found inf"),
        (lambda: quantile(["a"]), "must be a list of numbers"),
        (lambda: quantile({}), "at least one prompt; found none"),
        (lambda: log_quantile({"p": []}), "reference_rewards of 'p' must be a list of numbers"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
