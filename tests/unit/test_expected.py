"""Means under the tilted policy: by the definitions, covered as promised, and refused where samples cannot say."""

import math

import numpy as np
import pytest
from scipy import stats

import tiltz
from tests.oracles import covered_between, exact
from tests.statistical.test_pooling import POLICIES, REF, REPLICATIONS, REWARD, draws, pooled
from tiltz.errors import InputError

LENGTH = np.array([9.0, 8.0, 7.0, 9.0, 4.0, 3.0, 2.0, 1.0])
PASSES = np.array([0, 0, 1, 0, 1, 0, 1, 1])


def truth(beta, values):
    return float(sum(p * v for p, v in zip(exact(REF, REWARD, beta)["prob"], values, strict=True)))


@pytest.mark.parametrize("beta", [0.05, 1.0, 1e6])
def test_complete_tables_are_exact(beta):
    found = tiltz.expect(tiltz.Outcomes.complete(np.log(REF), REWARD), beta, LENGTH)
    assert float(found) == pytest.approx(truth(beta, LENGTH), rel=1e-12)
    assert (found.lo, found.hi, found.kind[0, 0]) == (found.value, found.value, "exact")
    assert found.ess[0, 0] == pytest.approx(8 * float(exact(REF, REWARD, beta)["rel_ess"]), rel=1e-9)


def test_the_reward_itself_has_the_mean_that_tilt_says():
    rng = np.random.default_rng(0)
    rewards = rng.normal(size=(3, 40))
    table = tiltz.Outcomes.sampled(rewards, log_ref=rng.normal(size=(3, 40)), log_proposal=np.zeros((3, 40)))
    betas = [0.5, 2.0]
    found = tiltz.expect(table, betas, rewards)
    np.testing.assert_allclose(found.value, tiltz.tilt(table, betas).mean_reward, rtol=1e-12)
    np.testing.assert_allclose(found.ess, tiltz.tilt(table, betas).ess, rtol=1e-12)


def test_error_by_the_definition():
    rng = np.random.default_rng(1)
    rewards, values = rng.random(60), rng.random(60)
    found = tiltz.expect(tiltz.Outcomes.sampled(rewards), 1.0, values + 1e6)
    weight = np.exp(rewards) / np.exp(rewards).sum()
    mean = weight @ values
    error = math.sqrt((weight**2 @ (values - mean) ** 2) * 60 / 59)
    assert found.value[0, 0] == pytest.approx(1e6 + mean, rel=1e-14)
    half = stats.t.ppf(0.975, 1 / (weight @ weight) - 1) * error
    assert found.hi[0, 0] - found.value[0, 0] == pytest.approx(half, rel=1e-8)


def coverage(table, outcome, beta, values, wanted=None):
    """How many of 1,000 intervals hold the truth."""
    found = tiltz.expect(table, beta, values[outcome])
    wanted = truth(beta, values) if wanted is None else wanted
    assert set(found.kind[:, 0]) <= {"approximate", "unknown"}
    return int(np.count_nonzero((found.lo[:, 0] <= wanted) & (wanted <= found.hi[:, 0])))


@pytest.mark.parametrize("values", [LENGTH, PASSES], ids=["length", "pass"])
@pytest.mark.parametrize("policy", ["half-way", "sideways"])
def test_coverage_of_pooled_and_of_single_tables(policy, values):
    least, most = covered_between(0.95, REPLICATIONS)
    base, tuned = draws(policy, 200)
    both = np.concatenate([base.reshape(-1), tuned.reshape(-1)])
    assert least <= coverage(pooled(policy, 200), both, 1.0, values) <= most
    weighted = tiltz.Outcomes.sampled(
        REWARD[tuned], log_ref=np.log(REF)[tuned], log_proposal=np.log(POLICIES[policy])[tuned]
    )
    assert least <= coverage(weighted, tuned.reshape(-1), 1.0, values) <= most
    # Twin: the mean over what the policy drew is not that of the tilted policy.
    unweighted = tiltz.Outcomes.sampled(REWARD[tuned])
    assert coverage(unweighted, tuned.reshape(-1), 1.0, values) < least


def test_errors_are_what_the_estimates_scatter_by():
    """And smaller than those of as many draws from the reference alone."""
    base, tuned = draws("half-way", 200)
    pooled_outcome = np.concatenate([base.reshape(-1), tuned.reshape(-1)])
    both = tiltz.expect(pooled("half-way", 200), 1.0, LENGTH[pooled_outcome])
    twice = np.hstack([base, base[::-1]])
    alone = tiltz.expect(tiltz.Outcomes.sampled(REWARD[twice]), 1.0, LENGTH[twice])
    assert np.std(both.value) < 0.8 * np.std(alone.value)
    error = np.median(both.hi - both.lo) / 2 / stats.t.ppf(0.975, np.median(both.ess) - 1)
    # A sample variance of R values has a relative error of sqrt(2 / R); a tenth is left to the bias of order 1 / n.
    assert abs(np.var(both.value) / error**2 - 1) < 4.89 * math.sqrt(2 / REPLICATIONS) + 0.1


def test_samples_that_cannot_say():
    rng = np.random.default_rng(2)
    rewards = rng.normal(size=100)
    table = tiltz.Outcomes.sampled(rewards)
    tight = tiltz.expect(table, 0.1, rewards, value_range=(-10, 10))
    assert tight.kind[0, 0] == "unknown"
    assert (tight.lo[0, 0], tight.hi[0, 0]) == (-10, 10)
    assert "thin" in tight.flags[0, 0]
    never = tiltz.expect(table, 1.0, np.zeros(100))  # which did not pass once
    assert (never.value[0, 0], never.lo[0, 0], never.hi[0, 0]) == (0, -np.inf, np.inf)
    few = tiltz.expect(tiltz.Outcomes.sampled(rewards[:10]), 1.0, rewards[:10])
    assert (few.kind[0, 0], few.flags[0, 0]) == ("unknown", ("too_few",))
    nothing = tiltz.expect(tiltz.Outcomes.sampled([-np.inf] * 30), 1.0, np.arange(30))
    assert np.isnan(nothing.value[0, 0])
    assert nothing.kind[0, 0] == "unknown"


def test_values_that_do_not_fit_are_refused():
    table = tiltz.Outcomes.sampled([[0.0, 1.0], [1.0, 2.0]])
    for values, more, message in [
        ([1.0, 2.0], {}, "one number for each of the 4 rows; found 2"),
        ([1.0, 2.0, np.nan, 0.0], {}, "found nan in row 2, prompt 1"),
        ([1.0, 2.0, 3.0, 0.0], {"value_range": (0, 2)}, "found 3 in row 2"),
        ([1.0, 2.0, 3.0, 0.0], {"value_range": (np.nan, np.nan)}, "value_range must be"),
        ([1.0, 2.0, 3.0, 0.0], {"value_range": (1, 0)}, "value_range must be"),
        (["a"] * 4, {}, "values must hold numbers"),
    ]:
        with pytest.raises(InputError, match=message):
            tiltz.expect(table, 1.0, values, **more)
    partial = tiltz.Outcomes.partial([math.log(0.5)], [1.0], reward_range=(0, 1))
    with pytest.raises(InputError, match="this table is partial"):
        tiltz.expect(partial, 1.0, [1.0])
