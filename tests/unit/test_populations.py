"""Populations of prompts and named problems: their exact answers against integrals, and their draws against those."""

import math

import mpmath
import numpy as np
import pytest
from scipy import stats

import tiltz
from tests.oracles import covered_between, precisely
from tiltz.errors import InputError
from tiltz.laws import Beta, Exponential, Gamma, Law, Normal, StudentT, TwoPoint, check_law
from tiltz.testbeds.populations import (
    Cell,
    LawPopulation,
    NormalPopulation,
    Population,
    Problem,
    RatePopulation,
    cells,
    mixed_problem,
)

BETAS = np.array([0.01, 0.1, 1.0, 30.0])
POPULATIONS: list[Population] = [
    RatePopulation(0.5, 1.5),
    RatePopulation(2.0, 2.0, impossible=0.2, trivial=0.05, low=-1.0, high=2.0),
    NormalPopulation(mean=1.0, between=0.5, sd=(0.2, 2.0)),
    LawPopulation([Normal(0, 1), Beta(2, 5), TwoPoint(0.1)], [0.5, 0.3, 0.2]),
    LawPopulation([TwoPoint(0.3)]),
]


def name(population):
    return repr(population).replace(".0", "")


# The mean soft value


@pytest.mark.parametrize(("a", "b"), [(0.5, 1.5), (2, 5), (0.2, 0.2), (1, 1), (0.05, 3), (60, 40), (1, 0.1)])
@pytest.mark.parametrize("beta", [1e-3, 0.1, 1.0, 1e4])
def test_the_mean_soft_value_over_rates_is_the_integral(a, b, beta):
    with mpmath.workdps(25):
        mp, t = mpmath.mp, 1 / mpmath.mpf(beta)

        def half(a, b, value):
            # With p = s^root the density is not singular; the cuts are where log Z bends.
            root = max(2 / mp.mpf(a), 1)
            cuts = {min(mp.exp(k), mp.mpf(0.5)) ** (1 / root) for k in (-t, -t + 8, -t / 2, -8, -3, -1, 0)}
            norm = root / mp.beta(a, b)
            pdf = lambda s: norm * s ** (root * a - 1) * (1 - s**root) ** (b - 1)  # noqa: E731
            return mp.quad(lambda s: pdf(s) * value(s**root), [0, *sorted(cuts)])

        rare = half(a, mp.mpf(b), lambda p: mp.log1p(p * mp.expm1(t)))
        common = half(b, mp.mpf(a), lambda q: t + mp.log(1 - q + q * mp.exp(-t)))
        wanted = (rare + common) / t
    assert RatePopulation(a, b).mean_soft_value(beta) == precisely(wanted, rel=1e-11)


def test_atoms_and_rewards_enter_the_mean_exactly():
    plain, beta = RatePopulation(0.5, 1.5), np.array([0.1, 1.0])
    mixed = RatePopulation(0.5, 1.5, impossible=0.3, trivial=0.1, low=-2.0, high=2.0)
    wanted = -2.0 + 4.0 * (0.6 * plain.mean_soft_value(beta / 4.0) + 0.1)
    assert mixed.mean_soft_value(beta) == precisely(wanted, rel=1e-14)
    assert RatePopulation(1, 1, impossible=1.0).mean_soft_value(0.1) == 0.0
    assert RatePopulation(1, 1, trivial=1.0).mean_soft_value(0.1) == 1.0


def test_the_mean_soft_value_from_tiny_to_huge_betas():
    population = RatePopulation(0.5, 1.5)
    value = population.mean_soft_value(np.geomspace(1e-8, 1e8, 40))
    assert np.all(np.diff(value) < 0)
    assert value[0] == pytest.approx(1.0, abs=1e-7)
    assert value[-1] - 0.25 == precisely(0.125 / 2e8, rel=1e-6)  # E[p (1 - p)] / (2 beta)


def test_the_other_means():
    normal = NormalPopulation(mean=1.0, between=0.5, sd=(0.2, 2.0))
    assert normal.mean_soft_value(0.5) == precisely(1.0 + (2.0**3 - 0.2**3) / 3 / 1.8 / (2 * 0.5), rel=1e-14)
    law, other = Beta(2, 5), TwoPoint(0.1)
    population = LawPopulation([law, other, StudentT(3)], [0.75, 0.25, 0.0])
    assert population.mean_soft_value(0.3) == precisely(
        0.75 * law.soft_value(0.3) + 0.25 * other.soft_value(0.3), rel=1e-15
    )
    assert LawPopulation([law, StudentT(3)]).mean_soft_value(0.3) == math.inf
    assert LawPopulation([law]).mean_soft_value(0.3) == law.soft_value(0.3)


@pytest.mark.parametrize("population", POPULATIONS, ids=name)
def test_one_beta_gives_a_float_and_an_array_an_array(population):
    assert type(population.mean_soft_value(0.5)) is float
    assert population.mean_soft_value([[0.5, 1.0]]).shape == (1, 2)
    with pytest.raises(InputError, match="beta must be positive"):
        population.mean_soft_value(0.0)


def off_in_sds(population, stack, betas=BETAS):
    """How many standard errors the mean exact soft value of some prompts is from that of a population."""
    value = stack.soft_value(betas)
    gap = value.mean(axis=0) - population.mean_soft_value(betas)
    return np.max(np.abs(gap) / np.maximum(value.std(axis=0) / math.sqrt(len(value)), 1e-12))


@pytest.mark.parametrize("population", POPULATIONS, ids=name)
def test_prompts_have_the_mean_soft_value_of_their_population(population):
    assert off_in_sds(population, population.prompts(50_000, np.random.default_rng(1))) <= 4.89


@pytest.mark.parametrize(
    ("population", "neighbour"),
    [
        (RatePopulation(0.5, 1.5), RatePopulation(0.55, 1.5)),
        (RatePopulation(0.5, 1.5, impossible=0.2), RatePopulation(0.5, 1.5, impossible=0.22)),
        (RatePopulation(0.5, 1.5, trivial=0.2), RatePopulation(0.5, 1.5, trivial=0.22)),
        (NormalPopulation(sd=(0.5, 1.5)), NormalPopulation(sd=(0.52, 1.52))),
        (LawPopulation([Normal(), Beta(2, 5)]), LawPopulation([Normal(), Beta(2, 5)], [0.47, 0.53])),
    ],
    ids=str,
)
def test_prompts_of_a_neighbour_are_found_out(population, neighbour):
    assert off_in_sds(population, neighbour.prompts(50_000, np.random.default_rng(1))) > 4.89


# Draws


@pytest.mark.parametrize("population", POPULATIONS, ids=name)
def test_a_draw_knows_the_truth_about_each_of_its_prompts(population):
    draw = population.draw(30, 7, np.random.default_rng(2))
    assert draw.reward.shape == (30, 7)
    assert len(draw.laws) == 30
    assert all(isinstance(law, Law) for law in draw.laws)
    assert draw.log_z(BETAS) == precisely(np.array([law.log_z(BETAS) for law in draw.laws]), rel=1e-14)
    assert draw.soft_value(BETAS) == precisely(BETAS * draw.log_z(BETAS), rel=1e-14)
    for law, reward in zip(draw.laws, draw.reward, strict=True):
        low, high = law.reward_range
        assert np.all((reward >= low) & (reward <= high))


@pytest.mark.parametrize("population", POPULATIONS, ids=name)
def test_a_draw_follows_from_the_generator_alone(population):
    first, again = (population.draw(20, 5, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first.reward, again.reward)
    assert first.laws == again.laws


def test_each_prompt_is_drawn_from_its_own_law():
    draw = POPULATIONS[2].draw(2000, 50, np.random.default_rng(4))
    mean, sd = (np.array([getattr(law, what) for law in draw.laws])[:, None] for what in ("mean", "sd"))
    z = (draw.reward - mean) / sd
    assert abs(z.mean()) <= 4.89 / math.sqrt(z.size)
    assert abs((z**2).mean() - 1.0) <= 4.89 * math.sqrt(2 / z.size)
    crossed = (draw.reward[::-1] - mean) / sd
    assert abs((crossed**2).mean() - 1.0) > 4.89 * math.sqrt(2 / z.size)
    again = draw.stack.sample(3, np.random.default_rng(5))
    assert again.shape == (2000, 3)


def test_impossible_and_trivial_prompts_are_as_many_as_declared():
    draw = RatePopulation(2.0, 2.0, impossible=0.3, trivial=0.1).draw(20_000, 2, np.random.default_rng(6))
    rate = np.array([law.mean for law in draw.laws])
    for value, share in ((0.0, 0.3), (1.0, 0.1)):
        n = np.count_nonzero(rate == value)
        assert abs(n - 20_000 * share) <= 4.89 * math.sqrt(20_000 * share * (1 - share))
        assert np.all(draw.reward[rate == value] == value)


def test_success_counts_are_beta_binomial():
    draw = RatePopulation(0.5, 1.5).draw(50_000, 8, np.random.default_rng(7))
    found = np.bincount(draw.reward.sum(axis=1).astype(int), minlength=9) / 50_000
    wanted = stats.betabinom(8, 0.5, 1.5).pmf(np.arange(9))
    assert np.all(np.abs(found - wanted) <= 4.89 * np.sqrt(wanted * (1 - wanted) / 50_000))


def test_the_mean_of_log_mean_exps_is_too_low_however_many_prompts_there_are():
    population, beta = RatePopulation(0.5, 1.5), 0.1
    k = np.arange(9)
    expected = stats.betabinom(8, 0.5, 1.5).pmf(k) @ (beta * np.log1p(k / 8 * np.expm1(1 / beta)))
    draw = population.draw(2000, 8, np.random.default_rng(8))
    est = tiltz.estimate(draw.outcomes(), beta, interval=None)
    spread = est.soft_value.std() / math.sqrt(2000)
    assert abs(est.soft_value.mean() - expected) <= 4.89 * spread
    assert population.mean_soft_value(beta) - expected > 20 * spread
    assert population.mean_soft_value(beta) == pytest.approx(0.764, abs=5e-4)


def test_declared_rates_are_covered_prompt_by_prompt():
    draw = RatePopulation(0.5, 1.5, impossible=0.1).draw(2000, 16, np.random.default_rng(9))
    est = tiltz.estimate(draw.outcomes(reward_values=(0, 1)), BETAS)
    covered = np.sum((est.lo <= draw.log_z(BETAS)) & (draw.log_z(BETAS) <= est.hi), axis=0)
    assert np.all(covered >= covered_between(0.95, 2000)[0])
    assert set(est.kind.ravel()) == {"certified"}
    shifted = draw.log_z(BETAS)[::-1]
    assert np.sum((est.lo <= shifted) & (shifted <= est.hi), axis=0).max() < covered_between(0.95, 2000)[0]


def test_outcomes_take_declarations():
    draw = POPULATIONS[0].draw(3, 4, np.random.default_rng(10))
    table = draw.outcomes(prompt=["a", "b", "c"], reward_range=(0, 1), stopping="adaptive")
    assert table.evidence == "sampled"
    assert table.prompt.tolist() == ["a", "b", "c"]
    assert table.reward_range == (0.0, 1.0)
    assert table.stopping == "adaptive"
    assert np.array_equal(table.reward, draw.reward.ravel())
    assert draw.reward.flags.writeable


# Named problems


def test_cells_are_named_apart_and_have_an_answer():
    table = cells()
    assert all(isinstance(cell, Cell) for cell in table)
    assert len({cell.name for cell in table}) == len(table)
    assert all(np.isfinite(cell.law.log_z(cell.beta)) for cell in table)
    assert {(cell.law.p, cell.beta) for cell in table if isinstance(cell.law, TwoPoint)} == {
        (p, beta) for p in (0.01, 0.1, 0.5) for beta in (1.0, 0.2, 0.1)
    }
    assert {cell.beta for cell in table if cell.law == Beta(2, 5)} == {1.0, 0.3, 0.1}
    assert [cell.law.sd / cell.beta for cell in table if isinstance(cell.law, Normal)] == [0.5, 1, 2, 3]
    for kind in (Exponential, Gamma):
        found = [cell.law.beta_min / cell.beta for cell in table if isinstance(cell.law, kind)]
        assert found == pytest.approx([0.25, 0.5, 0.8])


@pytest.mark.parametrize("law", sorted({cell.law for cell in cells()}, key=repr), ids=repr)
def test_laws_of_cells_keep_their_promises(law):
    check_law(law)


def test_the_rare_mode_is_missed_by_most_samples():
    cell = next(cell for cell in cells() if cell.name == "rare mode")
    rng = np.random.default_rng(11)
    seen = np.count_nonzero(cell.law.sample((1000, 1000), rng).max(axis=1) > 8.0)
    chance = -math.expm1(1000 * math.log1p(-1e-4))
    assert abs(seen - 1000 * chance) <= 4.89 * math.sqrt(1000 * chance * (1 - chance))


def test_mixed_problems_come_in_the_documented_proportions():
    rng = np.random.default_rng(12)
    problems = [mixed_problem(rng) for _ in range(20_000)]
    assert all(isinstance(problem, Problem) for problem in problems)

    def as_often(found, share):
        return abs(found - 20_000 * share) <= 4.89 * math.sqrt(20_000 * share * (1 - share))

    shares = {Normal: 0.3, Exponential: 0.2, Gamma: 0.15, Beta: 0.2, TwoPoint: 0.15}
    by_kind = {kind: [p for p in problems if isinstance(p.law, kind)] for kind in shares}
    assert sum(map(len, by_kind.values())) == 20_000
    assert all(as_often(len(by_kind[kind]), share) for kind, share in shares.items())
    assert all(as_often(sum(p.n == n for p in problems), 1 / 3) for n in (64, 256, 1024))
    uniform = {
        "s": ([p.law.sd / p.beta for p in by_kind[Normal]], 0.2, 3.0),
        "exponential k": ([p.law.beta_min / p.beta for p in by_kind[Exponential]], 0.05, 0.95),
        "gamma k": ([p.law.beta_min / p.beta for p in by_kind[Gamma]], 0.05, 0.95),
        "gamma shape": ([p.law.shape for p in by_kind[Gamma]], 0.5, 5.0),
        "a": ([p.law.a for p in by_kind[Beta]], 0.5, 5.0),
        "b": ([p.law.b for p in by_kind[Beta]], 0.5, 5.0),
        "log p": ([math.log(p.law.p) for p in by_kind[TwoPoint]], math.log(0.01), math.log(0.5)),
        "log beta": ([math.log(p.beta) for p in by_kind[TwoPoint] + by_kind[Beta]], math.log(0.1), 0.0),
    }
    for what, (found, low, high) in uniform.items():
        assert stats.kstest(found, stats.uniform(low, high - low).cdf).pvalue > 1e-6, what
    assert all(np.isfinite(p.law.log_z(p.beta)) for p in problems[:300])


def test_mixed_problems_follow_from_the_generator_alone():
    first, again = ([mixed_problem(rng) for _ in range(5)] for rng in map(np.random.default_rng, (13, 13)))
    assert first == again
    law, beta, n = first[0]
    assert law.sample(n, np.random.default_rng(0)).shape == (n,)
    assert beta > law.beta_min


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RatePopulation(0, 1), "a must be above 0"),
        (lambda: RatePopulation(1, 1, impossible=1.5), r"impossible must lie in \[0, 1\]"),
        (lambda: RatePopulation(1, 1, impossible=0.6, trivial=0.6), "at most 1; found 1.2"),
        (lambda: RatePopulation(1, 1, low=1, high=0), "low must be below high"),
        (lambda: NormalPopulation(sd=(2, 1)), r"sd must be \(smallest, largest\)"),
        (lambda: NormalPopulation(between=-1), "between must not be negative"),
        (lambda: LawPopulation([]), "at least one law"),
        (lambda: LawPopulation([Normal()], [0.5, 0.5]), "equal lengths; found 2 weights and 1 laws"),
        (lambda: LawPopulation([0.5]), "each of laws must be a law"),
        (lambda: RatePopulation(1, 1).draw(0, 3, np.random.default_rng(0)), "n_prompts must be at least 1"),
        (lambda: RatePopulation(1, 1).draw(3, 0, np.random.default_rng(0)), "n must be at least 1; found 0"),
    ],
)
def test_messages(make, message):
    with pytest.raises(InputError, match=message):
        make()
