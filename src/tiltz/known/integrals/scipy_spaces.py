"""Frozen distributions of scipy.stats as coordinates with a log-density."""

from __future__ import annotations

import contextlib
import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.known.integrals.integrand import Space
from tiltz.known.integrals.sphere import sphere_space

Floats = npt.NDArray[np.float64]

_QUANTILES = np.concatenate(
    [10.0 ** -np.arange(12, 1, -2), np.linspace(0.05, 0.95, 19), 1 - 10.0 ** -np.arange(2, 13, 2)]
)
_LOG_FLOAT = 700.0  # minus the log of about the smallest float
_LOG_MASS = 28.0  # minus the log of a mass that does not matter
_DRAWS = 64  # points near the mass of a multivariate distribution


def frozen_space(reference: Any) -> Space | None:
    """Return the space of a frozen distribution, None for something else, or refuse one that cannot be integrated."""
    name = type(reference).__name__
    if hasattr(reference, "freeze") or name.endswith("_gen"):
        raise InputError(
            "a reference must be a frozen distribution, with its parameters, such as scipy.stats.norm(0, 1); found the "
            f"family {getattr(reference, 'name', name)} without parameters."
        )
    if name in _MULTIVARIATE:
        return _MULTIVARIATE[name](reference)
    if hasattr(reference, "support") and (hasattr(reference, "logpdf") or hasattr(reference, "logpmf")):
        return _univariate(reference)
    if type(reference).__module__.startswith("scipy.stats"):
        known = ", ".join(sorted(key.removesuffix("_frozen") for key in _MULTIVARIATE))
        raise InputError(
            f"{name} cannot be integrated over as it stands; univariate frozen distributions can, and {known}. Others "
            "go in as a log-density with a domain, or, if their outcomes can be listed, through tiltz.sum_over."
        )
    return None


def _univariate(frozen: Any) -> Space:
    ends = [np.asarray(end, dtype=np.float64) for end in frozen.support()]
    if any(end.shape != () for end in ends):
        raise InputError(
            "a reference must be one distribution; this frozen one has arrays of parameters, of shape "
            f"{ends[0].shape}. Integrate them one by one."
        )
    low, high = (float(end) for end in ends)
    if math.isnan(low) or math.isnan(high):
        raise InputError("the parameters of the frozen distribution are not legal: its support is NaN.")
    discrete = _is_discrete(frozen)
    inverse = frozen.ppf if hasattr(frozen, "ppf") else frozen.icdf
    survival = frozen.sf if hasattr(frozen, "sf") else frozen.ccdf
    log_density = frozen.logpmf if discrete else frozen.logpdf
    period = _period(frozen)
    if period is not None:
        low, high = -0.5 * period, 0.5 * period
    if discrete and math.isfinite(low) and low != round(low):
        raise InputError(f"a discrete reference must have integer values; this one begins at {low:g}.")
    near = np.array([low, low + 1.0]) if _sums_term_by_term(frozen) else _quantiles(inverse)
    near = near[np.isfinite(near) & (near > low) & (near < high)]
    return Space(
        log_density=lambda at: np.asarray(log_density(at[:, 0])),
        sides=((low, high),),
        embed=lambda at: at[:, 0],
        near=near[:, None],
        discrete=discrete,
        tails=None if period is not None else (frozen.cdf, survival),
        sample=None if period is not None else lambda u: np.asarray(inverse(u)),
    )


def _quantiles(inverse: Any) -> Floats:
    """Return the finite ones of some quantiles; scipy may warn, or give up where a tail is very heavy."""
    found = []
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for share in _QUANTILES:
            with contextlib.suppress(ArithmeticError, RuntimeError, ValueError):
                found.append(float(inverse(share)))
    every = np.unique(np.array(found, dtype=np.float64))
    return every[np.isfinite(every)]


def _sums_term_by_term(frozen: Any) -> bool:
    """Whether scipy would find quantiles by adding up probabilities, which takes for ever in a heavy tail."""
    from scipy.stats import rv_discrete

    family = getattr(frozen, "dist", None)
    kept = ("_cdf", "_ppf")
    return isinstance(family, rv_discrete) and all(
        getattr(type(family), name) is getattr(rv_discrete, name) for name in kept
    )


def _is_discrete(frozen: Any) -> bool:
    kinds = {kind.__name__ for kind in type(frozen).__mro__}
    return "DiscreteDistribution" in kinds or "rv_discrete_frozen" in kinds or not hasattr(frozen, "logpdf")


def _period(frozen: Any) -> float | None:
    """Return the period of a circular distribution that scipy lets run over the whole line."""
    if getattr(getattr(frozen, "dist", None), "name", "") != "vonmises":
        return None
    scale = frozen.kwds.get("scale", frozen.args[2] if len(frozen.args) > 2 else 1.0)
    return 2 * math.pi * float(scale)


def _vectors(frozen: Any, dim: int, sample: Any = None) -> Space:
    """Return a distribution over all vectors of ``dim`` numbers; in one dimension its points are numbers."""
    draws = np.asarray(frozen.rvs(_DRAWS, random_state=np.random.default_rng(0)), dtype=np.float64)
    return Space(
        log_density=lambda at: np.asarray(frozen.logpdf(at)).reshape(len(at)),
        sides=((-math.inf, math.inf),) * dim,
        embed=(lambda at: at[:, 0]) if dim == 1 else (lambda at: at),
        near=draws.reshape(_DRAWS, dim),
        sample=sample,
    )


def _normal(frozen: Any) -> Space:
    cov = np.atleast_2d(np.asarray(frozen.cov, dtype=np.float64))
    try:
        factor = np.linalg.cholesky(cov)
    except np.linalg.LinAlgError as reason:
        raise InputError(
            "the covariance of a multivariate normal reference must have full rank; this one has no Cholesky factor. "
            "Use tiltz.laws.NormalQuadratic or normal_linear, or leave out the coordinates that depend on others."
        ) from reason
    mean = np.asarray(frozen.mean, dtype=np.float64)

    def sample(u: Floats) -> Floats:
        from scipy.special import ndtri

        return mean + ndtri(u) @ factor.T

    return _vectors(frozen, int(frozen.dim), sample)


def _dirichlet(frozen: Any) -> Space:
    """Return a simplex in logits of broken sticks, which are independent beta variables."""
    alpha = np.asarray(frozen.alpha, dtype=np.float64)
    reach = _LOG_FLOAT / (len(alpha) - 1)
    least = _LOG_MASS / reach
    if np.min(alpha) < least:
        raise InputError(
            f"every alpha of a Dirichlet reference with {len(alpha)} shares must be at least {least:.2g}, or shares "
            f"below the smallest float matter; found {np.min(alpha):.6g}. tiltz.laws.DirichletLog has no such limit."
        )
    rest = np.cumsum(alpha[::-1])[::-1][1:]
    log_norm = float(
        sum(
            math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
            for a, b in zip(alpha[:-1], rest, strict=True)
        )
    )

    def log_density(at: Floats) -> Floats:
        return -(np.logaddexp(0.0, -at) @ alpha[:-1]) - np.logaddexp(0.0, at) @ rest - log_norm

    def shares(at: Floats) -> Floats:
        log_left = np.cumsum(-np.logaddexp(0.0, at), axis=1)
        before = np.column_stack([np.zeros(len(at)), log_left[:, :-1]])
        log_shares = np.column_stack([before - np.logaddexp(0.0, -at), log_left[:, -1]])
        return np.exp(np.maximum(log_shares, -_LOG_FLOAT))

    def sample(u: Floats) -> Floats:
        from scipy.special import betaincinv, logit

        return logit(np.clip(betaincinv(alpha[:-1], rest, u), 1e-300, 1 - 1e-16))

    return Space(
        log_density=log_density,
        sides=((-math.inf, math.inf),) * (len(alpha) - 1),
        embed=shares,
        near=(np.log(alpha[:-1]) - np.log(rest))[None, :],
        sample=sample,
        reach=(reach,) * (len(alpha) - 1),
    )


_MULTIVARIATE = {
    "multivariate_normal_frozen": _normal,
    "multivariate_t_frozen": lambda frozen: _vectors(frozen, int(frozen.dim)),
    "dirichlet_frozen": _dirichlet,
    "uniform_direction_frozen": lambda frozen: sphere_space(int(frozen.dim), None),
    "vonmises_fisher_frozen": lambda frozen: sphere_space(int(frozen.dim), frozen.logpdf),
}
