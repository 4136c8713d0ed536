"""Pooled estimates on enumerable worlds: coverage beside wrong estimators, and errors beside single samplers."""

import math

import numpy as np
import pytest

import tiltz
from tests.oracles import covered_between

REPLICATIONS = 1000
REWARD = np.array([0.0, 0.2, 0.5, 0.9, 1.4, 2.0, 2.3, 3.0])
REF = np.array([0.3, 0.2, 0.15, 0.13, 0.1, 0.07, 0.04, 0.01])
POLICIES = {
    "half-way": REF * np.exp(REWARD / 2) / np.sum(REF * np.exp(REWARD / 2)),
    "sideways": np.array([0.05, 0.05, 0.3, 0.1, 0.2, 0.1, 0.15, 0.05]),
    "narrow": np.array([0.001, 0.001, 0.003, 0.005, 0.04, 0.25, 0.5, 0.2]),
}
FAST = [("half-way", 1.0), ("narrow", 0.7)]
WORLDS = [
    pytest.param(name, beta, marks=[] if (name, beta) in FAST else [pytest.mark.slow])
    for name in POLICIES
    for beta in (0.7, 1.0, 3.0)
]


def truth(beta):
    return math.log(REF @ np.exp(REWARD / beta))


def draws(name, n, seed=0):
    """Outcomes drawn from the reference and from a policy, a replication a row."""
    rng = np.random.default_rng([seed, *name.encode()])
    size = (REPLICATIONS, n // 2)
    return rng.choice(8, size=size, p=REF), rng.choice(8, size=size, p=POLICIES[name])


def pooled(name, n, **more):
    base, tuned = draws(name, n, **more)
    log_ref, log_policy = np.log(REF), np.log(POLICIES[name])
    return tiltz.pool(
        [
            tiltz.Outcomes.sampled(
                REWARD[base], log_ref=log_ref[base], log_densities={"policy": log_policy[base]}
            ),
            tiltz.Outcomes.sampled(
                REWARD[tuned],
                log_ref=log_ref[tuned],
                log_proposal=log_policy[tuned],
                drawn_from="policy",
            ),
        ]
    )


def limits(name, beta, n):
    est = tiltz.estimate(pooled(name, n), beta)
    return est.lo[:, 0], est.hi[:, 0]


def ignoring_the_mixture(name, beta, n):
    """Rows of the policy taken for draws from the reference."""
    rewards = REWARD[np.hstack(draws(name, n))]
    est = tiltz.estimate(tiltz.Outcomes.sampled(rewards), beta, interval="bootstrap-t")
    return est.lo[:, 0], est.hi[:, 0]


def mean_of_separate_weights(name, beta, n):
    """Each row weighted against its own sampler, all averaged, plus and minus 1.96 standard errors."""
    base, tuned = draws(name, n)
    weights = np.hstack([np.exp(REWARD / beta)[base], (REF / POLICIES[name] * np.exp(REWARD / beta))[tuned]])
    mean = weights.mean(axis=1)
    half = 1.96 * weights.std(axis=1, ddof=1) / mean / math.sqrt(n)
    return np.log(mean) - half, np.log(mean) + half


def covers(method, name, beta, n):
    """Whether 95% intervals cover as often as such intervals do, on 1,000 replications."""
    lo, hi = method(name, beta, n)
    least, most = covered_between(0.95, REPLICATIONS)
    return least <= np.count_nonzero((lo <= truth(beta)) & (truth(beta) <= hi)) <= most


@pytest.mark.parametrize(("name", "beta"), WORLDS)
def test_coverage(name, beta):
    assert covers(limits, name, beta, 200)


@pytest.mark.parametrize(("name", "beta"), FAST)
@pytest.mark.parametrize("twin", [ignoring_the_mixture, mean_of_separate_weights])
def test_wrong_intervals_do_not_cover(twin, name, beta):
    if twin is mean_of_separate_weights and name == "half-way":
        beta = 0.3
    assert not covers(twin, name, beta, 200)


def gaussian(shares, s, n, seed):
    """Draws of N(t s, 1) for each t, n in all; reward s y: log Z = s^2 / 2, and t = 1 is the tilted policy."""
    rng = np.random.default_rng([seed, int(100 * s)])
    names = ["reference" if t == 0 else f"policy {t}" for t in shares]
    tables = []
    for t, name in zip(shares, names, strict=True):
        y = rng.normal(t * s, size=(REPLICATIONS, n // len(shares)))
        log_density = {other: -((y - u * s) ** 2) / 2 for other, u in zip(names, shares, strict=True)}
        own = {} if t == 0 else {"log_proposal": log_density[name], "drawn_from": name}
        others = {other: values for other, values in log_density.items() if other not in ("reference", name)}
        tables.append(tiltz.Outcomes.sampled(s * y, log_ref=-(y**2) / 2, log_densities=others, **own))
    return tiltz.pool(tables)


def error(table, truth):
    return float(np.sqrt(np.mean((tiltz.estimate(table, 1.0, interval=None).log_z - truth) ** 2)))


@pytest.mark.slow
@pytest.mark.parametrize(("s", "t"), [(1.0, 0.25), (1.0, 0.5), (2.0, 0.5), (2.0, 0.75)])
def test_calibrated_and_missed_is_rare(s, t):
    """The joint promise of undeclared tables: at most 7 in 100."""
    est = tiltz.estimate(gaussian((0, t), s, 512, 4), 1.0)
    missed = (est.lo > s**2 / 2) | (est.hi < s**2 / 2)
    assert np.mean(missed & (est.kind == "calibrated")) <= 0.07
    assert np.mean(np.isfinite(est.hi)) > 0.9


@pytest.mark.parametrize("t", [0.25, 0.5, 0.75, 1.0])
def test_reference_and_policy_beat_the_reference_at_equal_budget(t):
    """Policies on the way to the tilt, so that KL(policy || tilted) < KL(reference || tilted); log Z = 5."""
    s = math.sqrt(10.0)
    both, reference, policy = (error(gaussian(part, s, 256, 2), 5.0) for part in ((0, t), (0,), (t,)))
    assert both * (3 if t >= 0.5 else 1) < reference
    assert both <= 1.5 * policy + 0.06


def test_controls_earn_their_place():
    s = math.sqrt(2.0)
    table = gaussian((0, 0.5), s, 256, 3)
    weights = np.exp(table.log_weight + table.reward).reshape(2, REPLICATIONS, -1)
    plain = np.log(np.mean(weights, axis=(0, 2)))
    assert error(table, 1.0) < 0.7 * float(np.sqrt(np.mean((plain - 1.0) ** 2)))
