"""The tilted policy over the rows of a table, by its definition, and every path of its sampler."""

import dataclasses
import itertools
import math

import mpmath
import numpy as np
import pytest
from scipy import stats

import tiltz
from tests.oracles import exact, precisely
from tiltz.errors import InputError
from tiltz.tilted import Tilted

complete, partial, sampled = tiltz.Outcomes.complete, tiltz.Outcomes.partial, tiltz.Outcomes.sampled

# Three prompts of four, two and one outcomes, interleaved; one outcome is forbidden, one never occurs.
PROMPT = np.array(["b", "a", "b", "c", "b", "a", "b"])
MASS = np.array([0.4, 0.3, 0.35, 1.0, 0.25, 0.7, 0.0])
REWARD = np.array([1.0, -2.0, -np.inf, 3.0, 0.5, 1.5, 9.0])


def log(mass):
    with np.errstate(divide="ignore"):
        return np.log(mass)


def table_of(kind, mass=MASS, reward=REWARD):
    """One table of each kind of evidence, all with the same rows."""
    if kind == "complete":
        return complete(log(mass), reward, prompt=PROMPT)
    if kind == "partial":
        return partial(log(0.5 * mass), np.maximum(reward, -5.0), reward_range=(-5, 10), prompt=PROMPT)
    if kind == "drawn":
        return sampled(reward, prompt=PROMPT)
    return sampled(reward, prompt=PROMPT, log_ref=log(mass), log_proposal=np.linspace(-3, 1, 7))


KINDS = ["complete", "partial", "drawn", "weighted"]
MEASURES = ("mean_reward", "kl", "kl_reverse", "ess")


# By definition


@pytest.mark.parametrize("beta", [1e-300, 0.01, 0.5, 3.0, 1e6, 1e300])
@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_sum_to_one_for_each_prompt(kind, beta):
    tilted = tiltz.tilt(table_of(kind), beta)
    assert tilted.prob.shape == tilted.log_prob.shape == (7,)
    for label in "abc":
        assert math.fsum(tilted.prob[label == PROMPT]) == precisely(1.0, rel=1e-14)
    assert np.array_equal(np.exp(tilted.log_prob), tilted.prob)
    assert tilted.prompt.tolist() == ["b", "a", "c"]
    assert tilted.beta.tolist() == [beta]
    assert all(getattr(tilted, name).shape == (3, 1) for name in MEASURES)


@pytest.mark.parametrize("beta", [0.01, 0.5, 3.0, 1e4, 1e8])
@pytest.mark.parametrize("kind", KINDS)
def test_everything_against_fifty_digits(kind, beta):
    table = table_of(kind)
    tilted = tiltz.tilt(table, beta)
    # Weights do not sum to 1, so that a log-ratio of size 1 / beta is a difference of logs, each rounded.
    rel = max(1e-12, 4 * np.finfo(float).eps * beta) if kind == "weighted" else 1e-12
    for i, label in enumerate(tilted.prompt):
        rows = label == PROMPT
        mass = [mpmath.exp(mpmath.mpf(x)) for x in table.log_weight[rows]]
        truth = exact(mass, table.reward[rows], beta)
        np.testing.assert_allclose(tilted.prob[rows], np.array(truth["prob"], dtype=float), rtol=1e-13)
        assert tilted.mean_reward[i, 0] == precisely(truth["mean_reward"], rel=1e-13)
        assert tilted.kl[i, 0] == precisely(truth["kl"], rel=rel)
        assert tilted.kl_reverse[i, 0] == precisely(truth["kl_reverse"], rel=rel)
        if kind != "weighted":
            assert tilted.ess[i, 0] == precisely(rows.sum() * truth["rel_ess"], rel=1e-13)


@pytest.mark.parametrize("beta", [0.05, 0.5, 3.0, 1e8])
def test_weights_of_a_proposal_are_normalised_among_themselves(beta):
    table = table_of("weighted")
    tilted = tiltz.tilt(table, beta)
    for i, label in enumerate(tilted.prompt):
        rows = label == PROMPT
        weights = np.exp(table.log_weight[rows])
        tilts = weights * np.exp(table.reward[rows] / beta)
        assert tilted.prob[rows] == pytest.approx(tilts / tilts.sum(), rel=1e-12)
        assert tilted.ess[i, 0] == precisely(tilts.sum() ** 2 / (tilts**2).sum(), rel=1e-12)


def test_weights_that_are_all_too_large_change_nothing():
    log_ref, log_proposal = np.log([0.2, 0.3, 0.5]), np.log([0.5, 0.3, 0.2])
    one, two = (
        tiltz.tilt(sampled([1.0, 0.0, 2.0], log_ref=log_ref + off, log_proposal=log_proposal), 0.5)
        for off in (0.0, 3.0)
    )
    for name in ("prob", *MEASURES):
        np.testing.assert_allclose(getattr(two, name), getattr(one, name), rtol=1e-13)


def test_a_partial_table_is_tilted_given_that_the_outcome_is_listed():
    mass, reward = np.array([0.2, 0.1, 0.3]), [1.0, 0.0, 2.0]
    whole = tiltz.tilt(complete(np.log(mass / mass.sum()), reward), 0.7)
    part = tiltz.tilt(partial(np.log(mass), reward, reward_range=(0, 2)), 0.7)
    for name in ("prob", *MEASURES):
        np.testing.assert_allclose(getattr(part, name), getattr(whole, name), rtol=1e-14)


def test_a_constant_reward_tilts_nothing():
    tilted = tiltz.tilt(table_of("complete", reward=np.full(7, 3.25)), 0.1)
    assert tilted.prob == pytest.approx(MASS, rel=1e-14)
    for name in ("kl", "kl_reverse"):
        assert getattr(tilted, name)[:, 0] == pytest.approx(np.zeros(3), abs=1e-30)
    assert tilted.mean_reward[:, 0] == pytest.approx([3.25] * 3, rel=1e-15)
    assert tiltz.tilt(sampled([2.0] * 9), 0.1).ess[0, 0] == precisely(9.0, rel=1e-14)


# Order of rows, several betas


@pytest.mark.parametrize("kind", KINDS)
def test_rows_keep_the_order_in_which_they_were_given(kind):
    together = np.argsort(PROMPT, kind="stable")
    tilted, beta = tiltz.tilt(table_of(kind), [0.3, 2.0]), [0.3, 2.0]
    for label in "abc":
        alone = tiltz.tilt(table_of(kind).select([label]), beta)
        assert np.array_equal(tilted.prob[label == PROMPT], alone.prob)
    if kind == "complete":
        sorted_rows = tiltz.tilt(
            complete(log(MASS[together]), REWARD[together], prompt=PROMPT[together]), beta
        )
        assert np.array_equal(tilted.prob[together], sorted_rows.prob)


@pytest.mark.parametrize("kind", KINDS)
def test_several_betas_are_columns(kind):
    betas = [5.0, 0.01, 0.5]
    tilted = tiltz.tilt(table_of(kind), betas)
    assert tilted.prob.shape == tilted.log_prob.shape == (7, 3)
    assert tilted.beta.tolist() == betas
    for j, beta in enumerate(betas):
        alone = tiltz.tilt(table_of(kind), beta)
        assert np.array_equal(tilted.prob[:, j], alone.prob)
        assert np.array_equal(tilted.log_prob[:, j], alone.log_prob)
        for name in MEASURES:
            assert np.array_equal(getattr(tilted, name)[:, j], getattr(alone, name)[:, 0])


def test_one_beta_in_a_list_is_one_column():
    assert tiltz.tilt(table_of("drawn"), [0.5]).prob.shape == (7, 1)
    assert tiltz.tilt(table_of("drawn"), np.float32(0.5)).prob.shape == (7,)
    assert tiltz.tilt(table_of("drawn"), np.array(0.5)).prob.shape == (7,)


def test_a_tilt_is_read_only_and_leaves_its_arguments_alone():
    betas, table = np.array([1.0, 2.0]), table_of("weighted")
    for tilted in (tiltz.tilt(table, betas), tiltz.tilt(table, 1.0)):
        for name in ("prob", "log_prob", "beta", "prompt", *MEASURES):
            assert not getattr(tilted, name).flags.writeable
        with pytest.raises(dataclasses.FrozenInstanceError):
            tilted.prob = None
        assert tilted.outcomes is table
    tilted = tiltz.tilt(table, betas)
    betas[:] = 9.0
    assert tilted.beta.tolist() == [1.0, 2.0]


# Limits


@pytest.mark.parametrize("beta", [1e-300, 1e-200, 1e-8])
def test_a_tiny_beta_leaves_the_best_outcomes_in_their_old_proportions(beta):
    tilted = tiltz.tilt(complete(np.log([0.5, 0.2, 0.3]), [0.0, 1.0, 1.0]), beta)
    assert tilted.prob == pytest.approx([0.0, 0.4, 0.6], rel=1e-14)
    assert tilted.prob[0] == 0.0
    assert tilted.mean_reward[0, 0] == 1.0
    assert tilted.kl[0, 0] == precisely(math.log(2), rel=1e-13)
    assert tilted.kl_reverse[0, 0] == precisely(0.5 / beta - math.log(2), rel=1e-13)
    assert tilted.ess[0, 0] == precisely(1.5, rel=1e-13)


@pytest.mark.parametrize("beta", [1e8, 1e12, 1e100, 1e300])
def test_a_huge_beta_leaves_the_reference_and_a_kl_that_is_not_zero(beta):
    mass, reward = np.array([0.5, 0.25, 0.25]), np.array([0.0, 1.0, 2.0])
    tilted = tiltz.tilt(complete(np.log(mass), reward), beta)
    assert tilted.prob == pytest.approx(mass, rel=2 / beta + 1e-15)
    assert tilted.mean_reward[0, 0] == precisely(0.75, rel=2 / beta + 1e-15)
    # Half of the variance of the reward over beta squared, to first order.
    small = 0.5 * 0.6875 / beta / beta
    for name in ("kl", "kl_reverse"):
        assert getattr(tilted, name)[0, 0] == precisely(small, rel=3 / beta + 1e-12)
    assert tilted.ess[0, 0] == precisely(3.0, rel=3 / beta + 1e-15)


def test_a_hard_constraint_and_a_lost_outcome_have_probability_zero():
    tilted = tiltz.tilt(table_of("complete"), [1e-3, 1.0, 1e9])
    for row in (2, 6):
        assert np.all(tilted.prob[row] == 0.0)
        assert np.all(tilted.log_prob[row] == -np.inf)
    assert np.all(tilted.kl_reverse[0] == np.inf)
    assert np.all(np.isfinite(tilted.kl))
    assert np.all(np.isfinite(tilted.kl_reverse[1:]))


@pytest.mark.parametrize("kind", ["complete", "drawn", "weighted"])
@pytest.mark.parametrize("beta", [0.5, [0.5, 1.0]])
def test_a_prompt_of_hard_constraints_cannot_be_tilted(kind, beta):
    reward = np.where(PROMPT == "a", -np.inf, REWARD)
    table = table_of(kind, reward=reward)
    with pytest.raises(InputError, match=r"positive weight.* prompt 'a' .*-inf.* Outcomes\.select"):
        tiltz.tilt(table, beta)
    assert tiltz.tilt(table.select(["b", "c"]), beta).prompt.tolist() == ["b", "c"]


def test_a_prompt_outside_the_support_of_the_reference_is_not_called_a_hard_constraint():
    table = sampled([[0.0, 1.0], [1.0, 2.0]], log_ref=[[-1, -1], [-np.inf] * 2], log_proposal=[[-1, -1]] * 2)
    with pytest.raises(InputError, match=r"positive weight.* prompt 1\b") as refused:
        tiltz.tilt(table, 1.0)
    assert "all rewards of prompt 1 are -inf" not in str(refused.value)


@pytest.mark.parametrize("beta", [0, -1.0, np.nan, np.inf, [], [[1.0]], [1.0, 0.0], "a", None])
def test_beta_must_be_positive(beta):
    with pytest.raises(InputError, match="beta must be"):
        tiltz.tilt(table_of("drawn"), beta)


def test_what_a_tilt_says_of_itself():
    tilted = tiltz.tilt(complete(np.log([0.6, 0.4]), [2.0, 1.0]), 1.0)
    assert repr(tilted) == "Tilted(1 prompt, 2 rows, beta 1, mean KL 0.09454 nats)"
    several = tiltz.tilt(sampled(np.zeros((3, 4))), [0.1, 1, 10, 100])
    assert repr(several) == "Tilted(3 prompts, 12 rows, beta 0.1, 1, 10, ..., mean KL 0 nats)"


# Every path of the sampler


class Fixed:
    """A generator whose uniforms are given; ``random`` is all that it has."""

    def __init__(self, uniforms):
        self.uniforms = np.asarray(uniforms, dtype=float)
        self.calls = []

    def random(self, size):
        self.calls.append(tuple(size))
        assert self.uniforms.shape == tuple(size)
        return self.uniforms


GRID = 1 << 53
"""A generator's uniforms are the multiples of 1 / GRID below 1, all equally likely."""


def draw_one(tilted, prompt, step):
    """The row that multiple ``step`` of 1 / GRID draws for a prompt."""
    uniforms = np.full((len(tilted.prompt), 1), 0.5)
    uniforms[prompt] = step / GRID
    return int(tilted.sample(1, rng=Fixed(uniforms))[prompt])


def cells_of(tilted, prompt):
    """Every row that can be drawn for a prompt, with the first and the last multiple that draws it."""
    members = np.flatnonzero(tilted.outcomes.groups.of_row == prompt).tolist()
    cells, first = [], 0
    while first < GRID:
        row = draw_one(tilted, prompt, first)
        low, high = first, GRID
        while high - low > 1:
            middle = (low + high) // 2
            at = draw_one(tilted, prompt, middle)
            assert members.index(at) >= members.index(row)
            low, high = (middle, high) if at == row else (low, middle)
        cells.append((row, first, low))
        first = high
    return cells


def mean_over_paths(tilted, n):
    """Exact mean over all paths of the mean reward of n draws per prompt; every path is checked."""
    cells = [cells_of(tilted, prompt) for prompt in range(len(tilted.prompt))]
    total, mean = 0.0, np.zeros(len(cells))
    for path in itertools.product(*(cell for cell in cells for _ in range(n))):
        uniforms = np.array([(first + last) // 2 / GRID for _, first, last in path]).reshape(len(cells), n)
        rng = Fixed(uniforms)
        drawn = tilted.sample(n, rng=rng)
        assert rng.calls == [(len(cells), n)]
        assert drawn.tolist() == [row for row, _, _ in path]
        prob = math.prod((last - first + 1) / GRID for _, first, last in path)
        total += prob
        mean += prob * tilted.outcomes.reward[drawn].reshape(-1, n).mean(axis=1)
    assert total == precisely(1.0, rel=1e-12)
    return mean


@pytest.mark.parametrize("beta", [0.05, 0.7, 20.0])
@pytest.mark.parametrize("kind", KINDS)
def test_the_sampler_has_exactly_the_probabilities_of_the_tilt(kind, beta):
    tilted = tiltz.tilt(table_of(kind), beta)
    found = np.zeros(7)
    for prompt in range(3):
        for row, first, last in cells_of(tilted, prompt):
            assert draw_one(tilted, prompt, first) == draw_one(tilted, prompt, last) == row
            found[row] += (last - first + 1) / GRID
    assert np.abs(found - tilted.prob).max() <= 4 / GRID
    assert np.all(found[tilted.prob == 0] == 0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_over_every_path_is_the_tilted_mean_reward(kind):
    tilted = tiltz.tilt(table_of(kind), 0.7)
    assert mean_over_paths(tilted, 2) == pytest.approx(tilted.mean_reward[:, 0], rel=1e-12)


def wrong_samplers():
    """Tilts that draw from something else than what they say."""
    right = tiltz.tilt(table_of("complete"), 0.7)
    others = {
        "the reference": MASS,
        "half of beta": tiltz.tilt(right.outcomes, 0.35).prob,
        "two rows for one another": right.prob[[4, 1, 2, 3, 0, 5, 6]],
    }
    return [
        pytest.param(right, dataclasses.replace(right, prob=prob), id=name) for name, prob in others.items()
    ]


@pytest.mark.parametrize(("right", "wrong"), wrong_samplers())
def test_the_mean_over_every_path_tells_a_wrong_sampler(right, wrong):
    assert abs(mean_over_paths(wrong, 1)[0] - right.mean_reward[0, 0]) > 1e-3


@pytest.mark.parametrize("uniform", [0.0, 5e-324, 0.5, 1 - 2.0**-53])
@pytest.mark.parametrize("zeros", ["first", "middle", "last", "all but one"])
def test_an_outcome_of_probability_zero_is_never_drawn(zeros, uniform):
    possible = {
        "first": [False, False, True, True],
        "middle": [True, False, False, True],
        "last": [True, True, False, False],
        "all but one": [False, False, True, False],
    }[zeros]
    reward = np.where(possible, [0.3, 0.1, 0.7, 0.2], -np.inf)
    tilted = tiltz.tilt(sampled(reward), 0.5)
    drawn = tilted.sample(3, rng=Fixed([[uniform] * 3]))
    assert np.all(np.array(possible)[drawn])
    # Probabilities whose running sum ends above or below 1 must not let the end of the line be drawn either.
    for total in (1 - 1e-12, 1 + 1e-12):
        off = dataclasses.replace(tilted, prob=tilted.prob * total)
        assert np.array_equal(off.sample(3, rng=Fixed([[uniform] * 3])), drawn)


def test_many_outcomes_never_let_a_forbidden_one_through():
    rng = np.random.default_rng(8)
    reward = np.where(rng.random(5000) < 0.9, -np.inf, rng.normal(size=5000))
    tilted = tiltz.tilt(sampled(reward), 0.5)
    edges = np.cumsum(tilted.prob)
    uniforms = np.concatenate([edges, np.nextafter(edges, 0), np.nextafter(edges, 1)])
    drawn = tilted.sample(15_000, rng=Fixed([np.clip(uniforms, 0.0, 1 - 2.0**-53)]))
    assert np.all(tilted.prob[drawn] > 0)


def test_draws_stand_prompt_by_prompt_and_point_into_the_table():
    tilted = tiltz.tilt(table_of("drawn"), 0.7)
    drawn = tilted.sample(50, rng=np.random.default_rng(0))
    assert drawn.shape == (150,)
    assert drawn.dtype == np.int64
    assert PROMPT[drawn].tolist() == ["b"] * 50 + ["a"] * 50 + ["c"] * 50


def test_draws_take_one_uniform_each_from_the_generator():
    tilted = tiltz.tilt(table_of("complete"), 0.7)
    rng, twin = np.random.default_rng(5), np.random.default_rng(5)
    drawn = tilted.sample(9, rng=rng)
    assert np.array_equal(drawn, tilted.sample(9, rng=Fixed(twin.random((3, 9)))))
    assert rng.random() == twin.random()


# Frequencies

FALSE_ALARM = 1e-6
N_DRAWS = 40_000


def too_far(counts, prob):
    """Whether counts are farther from probabilities than one table in a million is (Pearson)."""
    expected = counts.sum() * prob[prob > 0]
    assert expected.min() > 20
    if np.any(counts[prob == 0]):
        return True
    distance = np.sum((counts[prob > 0] - expected) ** 2 / expected)
    return distance > stats.chi2.isf(FALSE_ALARM, len(expected) - 1)


def frequencies(tilted, rng):
    return np.bincount(tilted.sample(N_DRAWS, rng=rng), minlength=len(tilted.prob))


def test_draws_have_the_tilted_frequencies():
    tilted = tiltz.tilt(table_of("complete"), 0.7)
    counts = frequencies(tilted, np.random.default_rng(3))
    for label in "ab":
        assert not too_far(counts[label == PROMPT], tilted.prob[label == PROMPT])
    assert counts[PROMPT == "c"].tolist() == [N_DRAWS]


@pytest.mark.parametrize(("right", "wrong"), wrong_samplers())
def test_the_frequencies_tell_a_wrong_sampler(right, wrong):
    counts = frequencies(wrong, np.random.default_rng(3))
    assert too_far(counts[PROMPT == "b"], right.prob[PROMPT == "b"])


def pairs(drawn, prob):
    """Counts of the pairs that two prompts drew together, and the probabilities if they are independent."""
    first, second = drawn.reshape(3, -1)[:2]
    used = [np.flatnonzero((label == PROMPT) & (prob > 0)) for label in "ba"]
    counts = np.array([[np.sum((first == i) & (second == j)) for j in used[1]] for i in used[0]])
    return counts.reshape(-1), np.outer(prob[used[0]], prob[used[1]]).reshape(-1)


class Repeating:
    """A wrong generator: all prompts get the same uniforms."""

    def __init__(self, rng):
        self.rng = rng

    def random(self, size):
        return np.broadcast_to(self.rng.random(size[1]), size)


def test_prompts_are_drawn_independently():
    tilted = tiltz.tilt(table_of("complete"), 0.7)
    assert not too_far(*pairs(tilted.sample(N_DRAWS, rng=np.random.default_rng(3)), tilted.prob))
    assert too_far(*pairs(tilted.sample(N_DRAWS, rng=Repeating(np.random.default_rng(3))), tilted.prob))


# Arguments


@pytest.mark.parametrize("n", [0, -1, 1.0, 2.5, True, False, "3", None, [3], np.float64(3)])
def test_the_number_of_draws_is_a_positive_integer(n):
    with pytest.raises(InputError, match="number of draws must be a positive integer; found"):
        tiltz.tilt(table_of("drawn"), 1.0).sample(n, rng=np.random.default_rng(0))


@pytest.mark.parametrize("n", [1, np.int64(1), np.uint8(1)])
def test_any_integer_counts_draws(n):
    assert len(tiltz.tilt(table_of("drawn"), 1.0).sample(n, rng=np.random.default_rng(0))) == 3


def test_samples_come_from_one_beta():
    tilted = tiltz.tilt(table_of("drawn"), [0.5, 1.0])
    with pytest.raises(InputError, match=r"one beta; this one has 2\. Call tiltz\.tilt with one"):
        tilted.sample(1, rng=np.random.default_rng(0))


def test_one_beta_in_a_list_is_one_beta_to_the_sampler():
    one, listed = (tiltz.tilt(table_of("drawn"), beta) for beta in (0.5, [0.5]))
    assert isinstance(listed, Tilted)
    assert np.array_equal(
        one.sample(20, rng=np.random.default_rng(0)), listed.sample(20, rng=np.random.default_rng(0))
    )


def test_a_generator_is_asked_for_by_name():
    with pytest.raises(TypeError):
        tiltz.tilt(table_of("drawn"), 1.0).sample(1)
