"""Tilted laws: log Z of the tilt of a tilt, and the divergences of each from the other."""

import numpy as np
import pytest

from tests.oracles import close, precisely
from tests.unit.laws.definitions import LAWS, name, unconstrained
from tiltz.errors import InputError
from tiltz.laws import (
    Affine,
    Beta,
    Binomial,
    Categorical,
    Constrained,
    DirichletLog,
    Exponential,
    Laplace,
    LogQuantile,
    Mixture,
    Normal,
    TruncatedNormal,
    TwoPoint,
    Uniform,
    beta_log,
)


def tilts(law):
    """Whether the tilt of a law is a law of tiltz, parts and all."""
    inner = [*getattr(law, "laws", ()), *([law.law] if hasattr(law, "law") else [])]
    if isinstance(law, Mixture):
        inner = [part for weight, part in zip(law.weights, law.laws, strict=True) if weight > 0]
    return hasattr(law, "tilted") and all(map(tilts, inner))


TILTED = [law for law in LAWS if tilts(law)]


def test_most_laws_can_be_tilted():
    kinds = {type(law).__name__ for law in LAWS} - {type(law).__name__ for law in TILTED}
    assert kinds == {"Beta", "Gumbel", "Laplace", "Logistic", "Uniform"}


@pytest.mark.parametrize("law", TILTED, ids=name)
@pytest.mark.parametrize("first", [0.2, 1.0, 30.0])
def test_a_tilt_of_a_tilt_is_a_tilt(law, first):
    first = max(first, 2.5 * law.beta_min)
    tilted = law.tilted(first)
    for second in (max(0.3, 2.5 * law.beta_min), 4.0 + 2.5 * law.beta_min, 1e4):
        both = 1.0 / (1.0 / first + 1.0 / second)
        wanted = law.log_z(both) - law.log_z(first)
        size = abs(law.log_z(both)) + abs(law.log_z(first))
        # A rate that is nearly 1 is a float whose distance from 1 is rounded.
        assert abs(tilted.log_z(second) - wanted) <= 2e-12 * (1.0 + size) + 1e-11 * abs(wanted)
    assert close(tilted.mean, law.mean_reward(first), 2e-12)


@pytest.mark.parametrize(
    "law", [law for law in TILTED if unconstrained(law) and hasattr(law, "negated")], ids=name
)
def test_tilting_back_swaps_the_divergences(law):
    try:
        law.negated()
    except InputError:
        return
    beta = max(0.7, 3.0 * law.beta_min)
    back = law.tilted(beta).negated()
    assert back.kl_reverse(beta) == precisely(law.kl(beta), rel=1e-9)
    assert back.kl(beta) == precisely(law.kl_reverse(beta), rel=1e-9)


@pytest.mark.parametrize("n", [2, 4, 16, 1000])
def test_best_of_n_is_a_tilt_of_the_log_quantile(n):
    beta = 1.0 / (n - 1)
    assert LogQuantile().log_z(beta) == precisely(-np.log(n), rel=1e-14)
    assert LogQuantile().kl(beta) == precisely(np.log(n) - (n - 1) / n, rel=1e-13)
    assert LogQuantile().tilted(beta).best_of == precisely(n, rel=1e-14)
    best = np.random.default_rng(n).random((4000, n)).max(axis=1)
    law = LogQuantile(n)
    assert abs(np.log(best).mean() - law.mean) <= 4.89 / n / np.sqrt(4000)
    assert abs(np.log(best[:2000]).mean() - LogQuantile(1.2 * n).mean) > 4.89 / n / np.sqrt(2000)
    assert beta_log(n, 1).log_z(0.3) == precisely(law.log_z(0.3), rel=1e-13)


def test_tilted_laws_are_the_textbooks():
    assert Normal(1, 2).tilted(0.5) == Normal(9, 2)
    assert Exponential(3).tilted(0.5).rate == precisely(1.0, rel=1e-15)
    assert Binomial(3, 0.5).tilted(1 / np.log(3)).p == precisely(0.75, rel=1e-15)
    assert Categorical([0.5, 0.0, 0.5], [0, 9, 1]).tilted(1e-3).prob == (0.0, 0.0, 1.0)
    assert TwoPoint(0.0).tilted(1e-300) == TwoPoint(0.0)
    assert TwoPoint(1.0).tilted(1.0) == TwoPoint(1.0)
    assert TruncatedNormal(0, 2, low=0).tilted(1.0) == TruncatedNormal(4, 2, low=0)
    assert DirichletLog([1, 2], [1, 0]).tilted(0.25) == DirichletLog([5, 2], [1, 0])
    assert Constrained(Normal(), prob=0.1).tilted(1.0) == Normal(1, 1)
    assert Affine(Normal(), shift=1, scale=2).tilted(1.0) == Affine(Normal(2, 1), shift=1, scale=2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Exponential(2).tilted(0.5), "beta must be above beta_min, 0.5, .* found 0.5 for Exponential"),
        (lambda: beta_log(1, 1, -1).tilted(0.1), "beta must be above beta_min, 1, .* found 0.1 for DirichletLog"),
        (lambda: Normal().tilted([1.0, 2.0]), r"one beta, a number; found an array of shape \(2,\)"),
        (lambda: Normal().tilted(-1.0), "beta must be positive and finite; found -1"),
        (lambda: Mixture([0.5, 0.5], [Normal(), Laplace()]).tilted(2.0), r"tilt is a law of tiltz; found Laplace\("),
        (lambda: Affine(Beta(1, 2)).tilted(2.0), r"tilt is a law of tiltz; found Beta\("),
        (lambda: Constrained(Uniform(), 0.5).tilted(2.0), r"tilt is a law of tiltz; found Uniform\("),
    ],
)  # fmt: skip
def test_what_cannot_be_tilted_says_so(make, message):
    with pytest.raises(InputError, match=message):
        make()
