"""Coverage of the large-sample intervals against a published simulation of Gaussian rewards, and of wrong ones.

The table holds coverages of nominal 95% intervals of log Z by delta / bootstrap-t / Hall from 2,000 replications each;
s = sd(reward) / beta, and log Z = s^2 / 2.
"""

import math

import numpy as np
import pytest

import tiltz
from tiltz.inference.bootstrap import bootstrap_t
from tiltz.inference.hall import Moments, hall
from tiltz.inference.intervals import normal_quantile

LEVEL, REPLICATIONS = 0.95, 2000
METHODS = ("delta", "bootstrap-t", "hall")
COVERAGE = {
    (0.5, 16): (0.914, 0.936, 0.913),
    (0.5, 64): (0.929, 0.937, 0.931),
    (0.5, 256): (0.954, 0.950, 0.954),
    (1.0, 16): (0.863, 0.912, 0.883),
    (1.0, 64): (0.902, 0.924, 0.917),
    (1.0, 256): (0.924, 0.929, 0.931),
    (2.0, 16): (0.679, 0.816, 0.787),
    (2.0, 64): (0.772, 0.867, 0.883),
    (2.0, 256): (0.826, 0.880, 0.890),
}
FAST = (2.0, 16)
CELLS = [pytest.param(*cell, marks=[] if cell == FAST else [pytest.mark.slow]) for cell in COVERAGE]


def gaussian(s, n):
    """Rewards of as many prompts as replications, and the betas that give this s."""
    rng = np.random.default_rng([int(100 * s), n])
    return rng.normal(size=(REPLICATIONS, n)), np.array([[1 / s]])


def delta(rewards, beta):
    """The delta interval by its definition (divisor n - 1)."""
    weights = np.exp(rewards / beta)
    log_z = np.log(weights.mean(axis=1))
    half = normal_quantile(LEVEL) * weights.std(axis=1, ddof=1) / weights.mean(axis=1)
    half /= math.sqrt(rewards.shape[1])
    return log_z - half, log_z + half


def bootstrap(rewards, beta, offset=0):
    seed = np.arange(len(rewards), dtype=np.uint64) + np.uint64(offset)
    columns = tiltz.Outcomes.sampled(rewards).columns()
    lo, hi = bootstrap_t(columns, beta, level=LEVEL, seed=seed)
    return lo[:, 0], hi[:, 0]


def halls(rewards, beta):
    lo, hi = hall(Moments.of(tiltz.Outcomes.sampled(rewards).columns(), beta), level=LEVEL)
    return lo[:, 0], hi[:, 0]


def flipped(rewards, beta):
    """Bootstrap-t with the sign error that leaves symmetric weights alone."""
    log_z = np.log(np.exp(rewards / beta).mean(axis=1))
    lo, hi = bootstrap(rewards, beta)
    return 2 * log_z - hi, 2 * log_z - lo


INTERVALS = {"delta": delta, "bootstrap-t": bootstrap, "hall": halls}


def covers_as_published(interval, method, s, n):
    rewards, beta = gaussian(s, n)
    lo, hi = interval(rewards, beta)
    truth = s * s / 2
    published = COVERAGE[s, n][METHODS.index(method)]
    # Both numbers are means of 2,000 zeros and ones; the printed one is rounded to half of 0.001.
    error = math.sqrt(2 * published * (1 - published) / REPLICATIONS)
    return abs(np.mean((lo <= truth) & (truth <= hi)) - published) <= 4.89 * error + 0.0005


@pytest.mark.parametrize(("s", "n"), CELLS)
@pytest.mark.parametrize("method", METHODS)
def test_coverage_is_as_published(method, s, n):
    assert covers_as_published(INTERVALS[method], method, s, n)


@pytest.mark.parametrize("n", [16, 64])
def test_the_delta_interval_does_not_pass_for_bootstrap_t(n):
    assert not covers_as_published(delta, "bootstrap-t", 2.0, n)


@pytest.mark.parametrize(("s", "n"), [(2.0, 16), (2.0, 64)])
def test_a_sign_error_does_not_pass_for_bootstrap_t(s, n):
    assert not covers_as_published(flipped, "bootstrap-t", s, n)


def reference_bootstrap(rewards, beta):
    """Bootstrap-t with the draws of NumPy, written down anew."""
    rng = np.random.default_rng(4)
    lo, hi = np.empty(len(rewards)), np.empty(len(rewards))
    n = rewards.shape[1]
    for i, weights in enumerate(np.exp(rewards / beta)):
        resampled = weights[rng.integers(0, n, size=(999, n))]
        error = resampled.std(axis=1, ddof=1) / resampled.mean(axis=1) / math.sqrt(n)
        t = np.sort(np.log(resampled.mean(axis=1) / weights.mean()) / error)
        error = weights.std(ddof=1) / weights.mean() / math.sqrt(n)
        lo[i], hi[i] = math.log(weights.mean()) - t[[-25, 24]] * error
    return lo, hi


def limits_agree(one, two):
    """Whether two sets of limits of the same samples, each with draws of its own, are the same on average."""
    z = [
        difference.mean() / (difference.std() / math.sqrt(len(difference)))
        for difference in (a - b for a, b in zip(one, two, strict=True))
    ]
    return max(map(abs, z)) <= 4.89


@pytest.mark.parametrize("sign", [1, -1], ids=["long tail above", "long tail below"])
def test_limits_for_asymmetric_rewards(sign):
    rewards = sign * np.random.default_rng(5).exponential(size=(200, 40))
    beta = np.array([[2.5]])
    reference = reference_bootstrap(rewards, beta)
    assert limits_agree(bootstrap(rewards, beta), reference)
    assert not limits_agree(flipped(rewards, beta), reference)
    assert not limits_agree(delta(rewards, beta), reference)


def seeds_matter(interval):
    rewards, beta = gaussian(1.0, 16)
    one, two = interval(rewards[:50], beta, 0), interval(rewards[:50], beta, 1000)
    return bool(np.all(one[0] != two[0]) and np.all(one[1] != two[1]))


def test_a_seed_that_does_nothing_is_noticed():
    assert seeds_matter(bootstrap)
    assert not seeds_matter(lambda rewards, beta, _: bootstrap(rewards, beta))


def test_limits_scatter_over_seeds_as_the_reference_does():
    """One sample, many seeds: an order statistic of 999 draws has a known spread, and a stuck stream none."""
    one = np.random.default_rng(6).normal(size=24)
    rewards, beta = np.tile(one, (400, 1)), np.array([[1.0]])
    found, reference = bootstrap(rewards, beta), reference_bootstrap(rewards, beta)
    for a, b in zip(found, reference, strict=True):
        # The log of a sample variance of R values has variance (kurtosis - 1) / R; the kurtosis is taken to be below 7.
        assert abs(math.log(a.var() / b.var())) <= 4.89 * math.sqrt(2 * 6 / 400)
        assert abs(a.mean() - b.mean()) <= 4.89 * math.sqrt((a.var() + b.var()) / 400)
