"""What pooling achieves over prompts: errors against log-mean-exp, and coverage, in replicated tables.

``python -m tests.statistical.test_shrinkage 20`` prints the tables.
"""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import special

from tiltz.inference.shrinkage import fit_rates, fit_rewards

LEVEL = 0.95

# Two-valued rewards


def impossible(share, a, b):
    def draw(rng, n_prompts):
        return np.where(rng.random(n_prompts) < share, 0.0, rng.beta(a, b, size=n_prompts))

    return draw


RATES = {
    "Beta(.5, 1.5)": lambda rng, m: rng.beta(0.5, 1.5, size=m),
    "Beta(.2, .2)": lambda rng, m: rng.beta(0.2, 0.2, size=m),
    "all .25": lambda rng, m: np.full(m, 0.25),
    "Beta(30, 90)": lambda rng, m: rng.beta(30.0, 90.0, size=m),
    "a fifth impossible": impossible(0.2, 0.5, 1.5),
}


def soft_value_of_rate(rate, beta):
    with np.errstate(divide="ignore"):
        return beta * np.logaddexp(np.log1p(-rate), np.log(rate) + 1 / beta)


def pooled(n, k, prior, beta):
    return fit_rates(n, k, np.ones(len(k)), prior=prior).posterior(n, k, [beta], level=LEVEL)


def rates_row(rates, beta, replications, *, prior="atoms", n=8, n_prompts=2000, method=pooled):
    """Median ratio of root-mean-square errors, and mean coverage, of pooling over replicated tables."""
    ratio, covered = [], []
    for seed in range(replications):
        rng = np.random.default_rng(seed)
        rate = RATES[rates](rng, n_prompts)
        k = rng.binomial(n, rate)
        found = method(np.full(n_prompts, n), k, prior, beta)
        truth, plain = soft_value_of_rate(rate, beta), soft_value_of_rate(k / n, beta)
        ratio.append(np.sqrt(np.mean((found.soft_value[:, 0] - truth) ** 2) / np.mean((plain - truth) ** 2)))
        slack = 1e-9
        covered.append(np.mean((found.lo[:, 0] - slack <= truth) & (truth <= found.hi[:, 0] + slack)))
    return SimpleNamespace(ratio=float(np.median(ratio)), coverage=float(np.mean(covered)))


# (rates, prior, beta), then the largest ratio, the least and the most coverage.
PROMISES = [
    ("Beta(.5, 1.5)", "atoms", 0.1, 0.40, 0.93, 0.98),
    ("Beta(.5, 1.5)", "atoms", 0.01, 0.12, 0.93, 0.98),
    ("Beta(.2, .2)", "atoms", 0.1, 0.65, 0.93, 0.98),
    ("Beta(.2, .2)", "atoms", 0.01, 0.30, 0.93, 0.98),
    ("all .25", "atoms", 0.1, 0.99, 0.93, 1.0),
    ("all .25", "atoms", 0.01, 0.99, 0.93, 1.0),
    ("Beta(30, 90)", "atoms", 0.1, 0.99, 0.93, 1.0),
    ("a fifth impossible", "atoms", 0.1, 0.85, 0.93, 1.0),
    ("a fifth impossible", "atoms", 0.01, 0.85, 0.93, 1.0),
    ("Beta(.5, 1.5)", "beta", 0.01, 0.05, 0.93, 0.98),
    ("Beta(.2, .2)", "beta", 0.01, 0.08, 0.93, 0.98),
]


def keeps(row, promise):
    _, _, _, most_ratio, least, most = promise
    return row.ratio <= most_ratio and least <= row.coverage <= most


# The coverage of one table of 2,000 varies by .008 (binomial noise and the fit), its mean over 3 by .005: .93 lies five
# of these below what is measured, except for Beta(30, 90), which has 6 tables.
@pytest.mark.parametrize("promise", PROMISES, ids=str)
def test_pooling_keeps_its_promises_in_a_few_tables(promise):
    rates, prior, beta = promise[:3]
    assert keeps(rates_row(rates, beta, 6 if rates == "Beta(30, 90)" else 3, prior=prior), promise)


@pytest.mark.slow
@pytest.mark.parametrize("promise", PROMISES, ids=str)
def test_pooling_keeps_its_promises_in_twenty_tables(promise):
    rates, prior, beta = promise[:3]
    assert keeps(rates_row(rates, beta, 20, prior=prior), promise)


def largest_likelihood(n, k, prior, beta):
    """The wrong method: the one Beta law that is most likely, taken for known, without atoms."""
    fitted = fit_rates(n, k, np.ones(len(k)), prior="beta")
    cells, counts = np.unique(k, return_counts=True)
    likely = (
        np.log(fitted.parameters.probability(np.full(len(cells), float(n[0])), cells.astype(float))) @ counts
    )
    best = np.argmax(likely)
    parameters = type(fitted.parameters)(
        **{name: getattr(fitted.parameters, name)[[best]] for name in ("a", "b", "mass_zero", "mass_one")}
    )
    certain = type(fitted)(
        parameters=parameters,
        weight=np.ones(1),
        atoms=False,
        n_prompts=fitted.n_prompts,
        typical_n=fitted.typical_n,
    )
    return certain.posterior(n, k, [beta], level=LEVEL)


@pytest.mark.parametrize("beta", [0.1, 0.01])
def test_the_most_likely_beta_law_without_atoms_fails_on_impossible_prompts(beta):
    row = rates_row("a fifth impossible", beta, 3, method=largest_likelihood)
    assert row.coverage == pytest.approx(0.76, abs=0.03)
    assert not keeps(row, ("a fifth impossible", "atoms", beta, 0.85, 0.93, 1.0))


def test_limits_of_the_nonparametric_law_cover_less_than_they_say():
    assert rates_row("Beta(.5, 1.5)", 0.1, 3, prior="npmle").coverage < 0.85


@pytest.mark.slow
@pytest.mark.parametrize("n_prompts", [20, 100, 500])
@pytest.mark.parametrize("n", [4, 8, 16])
@pytest.mark.parametrize("rates", ["Beta(.5, 1.5)", "a fifth impossible"])
def test_pooling_covers_in_small_tables(rates, n, n_prompts):
    # 3,000 intervals, correlated within tables: the mean coverage is known to about .01.
    row = rates_row(rates, 0.1, 3000 // n_prompts, n=n, n_prompts=n_prompts)
    assert row.coverage >= 0.93


# Continuous rewards


def log_mgf_of_arcsine(tilt):
    return np.log(special.i0(np.sqrt(2) * tilt))


SHAPES = {
    "normal": (lambda rng, size: rng.normal(size=size), lambda s: s**2 / 2),
    "exponential": (
        lambda rng, size: rng.exponential(size=size) - 1,
        lambda s: np.where(s < 1, -np.log1p(-np.minimum(s, 1 - 1e-12)) - s, np.inf),
    ),
    "minus exponential": (lambda rng, size: 1 - rng.exponential(size=size), lambda s: s - np.log1p(s)),
    "gamma 4": (
        lambda rng, size: (rng.gamma(4.0, size=size) - 4) / 2,
        lambda s: np.where(s < 2, -4 * np.log1p(-np.minimum(s / 2, 1 - 1e-12)) - 2 * s, np.inf),
    ),
    "Laplace": (
        lambda rng, size: rng.laplace(size=size) / np.sqrt(2),
        lambda s: np.where(s**2 < 2, -np.log1p(-np.minimum(s**2 / 2, 1 - 1e-12)), np.inf),
    ),
    "Beta(.5, .5)": (
        lambda rng, size: (rng.beta(0.5, 0.5, size=size) - 0.5) * np.sqrt(8),
        log_mgf_of_arcsine,
    ),
}


def location_scale(shape, between=1.0, spread=0.4, tied=0.0):
    """Prompts that differ in mean and spread alone."""
    draw, cumulants = SHAPES[shape]

    def table(rng, n_prompts, n):
        score = rng.normal(size=(2, n_prompts))
        mean, sd = between * score[0], np.exp(spread * (tied * score[0] + np.sqrt(1 - tied**2) * score[1]))
        reward = mean[:, None] + sd[:, None] * draw(rng, (n_prompts, n))
        return reward, lambda beta: mean + beta * cumulants(sd / beta)

    return table


def beta_laws(rng, n_prompts, n):
    """Rewards in [0, 1] whose mean, spread and shape all differ between prompts, in units of a typical spread."""
    mean, precision = rng.beta(2.0, 3.0, size=n_prompts), np.exp(1.5 + 0.5 * rng.normal(size=n_prompts))
    a, b, unit = mean * precision, (1 - mean) * precision, 0.2
    reward = rng.beta(a[:, None], b[:, None], size=(n_prompts, n)) / unit
    return reward, lambda beta: beta * np.log(special.hyp1f1(a, a + b, 1 / (unit * beta)))


REWARDS = {
    **{shape: location_scale(shape) for shape in SHAPES},
    "Beta laws": beta_laws,
    "normal, means alike": location_scale("normal", between=0.1, spread=0.3),
    "exponential, means alike": location_scale("exponential", between=0.1, spread=0.3),
    "normal, spreads alike": location_scale("normal", spread=0.1),
    "exponential, spreads alike": location_scale("exponential", spread=0.1),
    "normal, spread rises with the mean": location_scale("normal", tied=0.8),
}


def pooled_rewards(reward, beta):
    n_prompts, n = reward.shape
    start = np.arange(n_prompts + 1) * n
    return fit_rewards(reward.reshape(-1), start).posterior(reward.reshape(-1), start, [beta], level=LEVEL)


def plain_soft_value(reward, beta):
    top = reward.max(axis=1, keepdims=True)
    weight = np.exp((reward - top) / beta)
    mean = weight.mean(axis=1)
    error = weight.std(axis=1, ddof=1) / mean / np.sqrt(reward.shape[1])
    return top[:, 0] + beta * np.log(mean), beta * error


def delta(reward, beta):
    """The wrong method: each prompt apart, two standard errors."""
    value, error = plain_soft_value(reward, beta)
    return SimpleNamespace(
        soft_value=value[:, None], lo=(value - 1.96 * error)[:, None], hi=(value + 1.96 * error)[:, None],
        answered=np.ones((len(value), 1), dtype=bool),
    )  # fmt: skip


def rewards_row(population, n, tilt, replications, *, n_prompts=2000, method=pooled_rewards):
    """Of the cells answered: coverage and median ratio of errors; and the share of cells that are answered.

    ``tilt`` is a typical standard deviation over beta.
    """
    ratio, covered, answered, below = [], 0, 0, 0
    for seed in range(replications):
        reward, truth_at = REWARDS[population](np.random.default_rng(seed), n_prompts, n)
        found, truth = method(reward, 1 / tilt), truth_at(1 / tilt)
        ok = found.answered[:, 0]
        inside = (found.lo[:, 0] <= truth) & (truth <= found.hi[:, 0])
        covered, answered = covered + np.sum(inside & ok), answered + np.sum(ok)
        below += np.sum(found.lo[:, 0] <= truth)
        known = ok & np.isfinite(truth)
        if np.any(known):
            errors = [
                np.mean((value - truth)[known] ** 2)
                for value in (found.soft_value[:, 0], plain_soft_value(reward, 1 / tilt)[0])
            ]
            ratio.append(np.sqrt(errors[0] / errors[1]))
    n_cells = replications * n_prompts
    return SimpleNamespace(
        coverage=covered / answered if answered else np.nan,
        answered=answered / n_cells,
        lower=below / n_cells,
        ratio=float(np.median(ratio)) if ratio else np.nan,
    )


LEAST = 0.93


@pytest.mark.parametrize(
    ("population", "n", "tilt"),
    [
        ("normal", 8, 0.5), ("exponential", 8, 0.25), ("Beta(.5, .5)", 8, 0.5), ("Beta laws", 4, 0.5),
        ("exponential, means alike", 4, 0.25), ("normal, spreads alike", 4, 1.0),
    ],
)  # fmt: skip
def test_pooled_continuous_rewards_cover(population, n, tilt):
    row = rewards_row(population, n, tilt, 2)
    assert row.coverage >= LEAST
    assert row.lower >= 0.965 - 4.89 * np.sqrt(0.965 * 0.035 / 4000)
    assert row.answered > 0.9
    assert row.ratio < 1.02


@pytest.mark.slow
@pytest.mark.parametrize("tilt", [0.25, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("n", [4, 8, 16])
@pytest.mark.parametrize("population", REWARDS)
def test_pooled_continuous_rewards_cover_or_are_not_answered(population, n, tilt):
    row = rewards_row(population, n, tilt, 4)
    assert row.answered == 0 or row.coverage >= LEAST
    assert row.lower >= LEAST
    assert (row.answered == 0) == (tilt == 2.0) or tilt in (0.5, 1.0)


@pytest.mark.parametrize(("n", "tilt"), [(4, 0.5), (8, 1.0)])
def test_two_standard_errors_of_each_prompt_would_not_pass(n, tilt):
    assert rewards_row("normal", n, tilt, 2, method=delta).coverage < LEAST - 0.02


def test_exponential_rewards_near_the_pole_are_not_answered():
    # At one standard deviation per beta Z is infinite for half of the prompts.
    row = rewards_row("exponential", 8, 1.0, 2)
    assert row.answered == 0
    assert row.lower >= LEAST


def tables(replications):
    """The measured tables, for docs."""
    lines = ["rates, prior, beta: ratio of errors, coverage"]
    for rates in RATES:
        for prior in ("atoms", "beta", "npmle"):
            for beta in (1.0, 0.1, 0.01):
                row = rates_row(rates, beta, replications, prior=prior)
                lines.append(f"{rates}, {prior}, {beta}: {row.ratio:.3f}, {row.coverage:.3f}")
    lines.append(
        "rewards, n, tilt: coverage of the answered, share answered, lower limit covers, ratio of errors"
    )
    for population in REWARDS:
        for n in (4, 8, 16):
            for tilt in (0.25, 0.5, 1.0, 2.0):
                row = rewards_row(population, n, tilt, replications)
                numbers = f"{row.coverage:.3f}, {row.answered:.3f}, {row.lower:.3f}, {row.ratio:.2f}"
                lines.append(f"{population}, {n}, {tilt}: {numbers}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(tables(int(sys.argv[1])))
