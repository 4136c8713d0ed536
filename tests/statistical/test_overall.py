"""The mean soft value over prompts: its interval covers the population's mean with eight samples per prompt."""

import numpy as np
import pytest
from scipy import integrate, stats

import tiltz
from tests.oracles import covered_between

N, PROMPTS, BETA, REPLICATIONS = 8, 200, 0.1, 1000


def population_mean(a, b, beta):
    """E of beta log(1 - p + p exp(1 / beta)) for p ~ Beta(a, b), by quadrature over the quantiles."""

    def value(u):
        return beta * np.log1p(stats.beta.ppf(u, a, b) * np.expm1(1 / beta))

    return integrate.quad(value, 0, 1, limit=400)[0]


def replicate(a, b, replications, seed):
    """Intervals for the population, and those of the plug-ins alone, of so many independent tables."""
    rng = np.random.default_rng(seed)
    limits, plug_in = np.empty((replications, 2)), np.empty((replications, 2))
    for i in range(replications):
        rate = rng.beta(a, b, size=(PROMPTS, 1))
        rewards = (rng.random((PROMPTS, N)) < rate).astype(float)
        est = tiltz.estimate(tiltz.Outcomes.sampled(rewards, reward_values=(0, 1)), BETA)
        limits[i] = est.overall.lo[0], est.overall.hi[0]
        values = est.soft_value[:, 0]
        error = 1.96 * values.std(ddof=1) / np.sqrt(PROMPTS)
        plug_in[i] = values.mean() - error, values.mean() + error
    return limits, plug_in


def covered(limits, truth):
    return int(np.sum((limits[:, 0] <= truth) & (truth <= limits[:, 1])))


@pytest.mark.parametrize(("a", "b"), [(0.5, 1.5), (0.2, 0.2), (2.0, 2.0), (30.0, 90.0)])
def test_the_population_mean_is_covered(a, b):
    truth = population_mean(a, b, BETA)
    limits, plug_in = replicate(a, b, REPLICATIONS, seed=11)
    least, _ = covered_between(0.95, REPLICATIONS)
    assert covered(limits, truth) >= least
    # The twin: an interval from the spread of the plug-ins closes in on the wrong number.
    assert covered(plug_in, truth) < least


def test_one_prompt_without_an_upper_bound_leaves_the_mean_without_one():
    rewards = np.random.default_rng(0).normal(size=(20, 400))
    rewards[7] = 0.0
    overall = tiltz.estimate(tiltz.Outcomes.sampled(rewards), 1.0).overall
    assert overall.hi[0] == np.inf
    assert overall.n_unbounded[0] == 1
    assert np.isfinite(overall.lo[0])
