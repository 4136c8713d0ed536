"""From what a user calls a reference to coordinates that can be integrated over."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.known.integrals.integrand import Points, Space
from tiltz.known.integrals.scipy_spaces import frozen_space
from tiltz.known.integrals.sphere import sphere_space

Floats = npt.NDArray[np.float64]

_WANTED = (
    "a reference must be a frozen scipy.stats distribution such as scipy.stats.norm(0, 1), a log-density with "
    "domain=, or a list of those (a product), each log-density as a pair (log_density, domain)"
)
_DOMAINS = (
    "a domain must be (low, high), a list of such pairs for a box, 'circle' (angles from -pi to pi) or 'sphere' "
    "(unit vectors in three dimensions); infinite ends are allowed"
)


def space_of(reference: Any, domain: Any = None) -> Space:
    """Return the coordinates of a reference.

    Parameters
    ----------
    reference : object
        A frozen ``scipy.stats`` distribution, a log-density, or a list of those (pairs with their domain).
    domain : object, optional
        For a log-density alone.
    """
    if isinstance(reference, list | tuple):
        return _product([_factor(part) for part in _parts(reference, domain)])
    frozen = frozen_space(reference)
    if frozen is not None:
        if domain is not None:
            raise InputError(
                "domain= goes with a log-density; a frozen scipy.stats distribution brings its own support. For a part "
                "of it, use a reward that is -inf elsewhere (which keeps the reference) or give a log-density."
            )
        return frozen
    if not callable(reference):
        raise InputError(f"{_WANTED}; found {reference!r:.100}.")
    if domain is None:
        raise InputError(f"a log-density needs its domain; {_DOMAINS}.")
    return _density_space(reference, domain)


def _parts(reference: Sequence[Any], domain: Any) -> Sequence[Any]:
    if domain is not None or not reference:
        raise InputError(
            f"{_WANTED}; found a list of {len(reference)}{' and domain=' * (domain is not None)}."
        )
    # One pair (log_density, domain) that was not put into a list.
    alone = len(reference) == 2 and callable(reference[0]) and not callable(reference[1])
    return [reference] if alone and frozen_space(reference[1]) is None else reference


def _factor(part: Any) -> Space:
    if isinstance(part, list | tuple):
        if len(part) != 2 or not callable(part[0]):
            raise InputError(f"{_WANTED}; found {part!r:.100} in the list.")
        return space_of(part[0], part[1])
    return space_of(part)


def _density_space(log_density: Any, domain: Any) -> Space:
    if isinstance(domain, str):
        if domain == "circle":
            return _box(log_density, [(-math.pi, math.pi)])
        if domain == "sphere":
            return sphere_space(3, log_density)
        raise InputError(f"{_DOMAINS}; found {domain!r}.")
    try:
        sides = np.array(domain, dtype=np.float64)
    except (TypeError, ValueError) as reason:
        raise InputError(f"{_DOMAINS}; found {domain!r:.100}.") from reason
    if sides.shape != (2,) and (sides.ndim != 2 or sides.shape[1] != 2 or not len(sides)):
        raise InputError(f"{_DOMAINS}; found {domain!r:.100}.")
    if np.any(np.isnan(sides)):
        raise InputError(f"the ends of a domain must be numbers or infinite; found {domain!r:.100}.")
    if not np.all(sides[..., 0] < sides[..., 1]):
        raise InputError(f"the low end of a domain must be below its high end; found {domain!r:.100}.")
    return _box(log_density, [(float(low), float(high)) for low, high in np.atleast_2d(sides)])


def _box(log_density: Points, sides: list[tuple[float, float]]) -> Space:
    flat = len(sides) == 1
    return Space(
        log_density=(lambda at: log_density(at[:, 0])) if flat else log_density,
        sides=tuple(sides),
        embed=(lambda at: at[:, 0]) if flat else (lambda at: at),
        near=np.array([[_inside(low, high) for low, high in sides]]),
    )


def _inside(low: float, high: float) -> float:
    """Return a point to start from: the middle, or one from the finite end, or 0."""
    if math.isfinite(low) and math.isfinite(high):
        return 0.5 * low + 0.5 * high
    if math.isfinite(low):
        return low + 1.0
    return high - 1.0 if math.isfinite(high) else 0.0


def _product(factors: list[Space]) -> Space:
    """Return the product of independent references; its points are the factors' points side by side."""
    if len(factors) == 1:
        return factors[0]
    if any(factor.discrete for factor in factors):
        raise InputError(
            "a product must be one of densities; a discrete distribution is summed alone. Sum over its values: "
            "each value k gives an integral with reward(k, .), and log Z is the log-sum-exp of log p(k) + log Z_k."
        )
    ends = np.cumsum([0, *(len(factor.sides) for factor in factors)])
    slices = [slice(int(first), int(last)) for first, last in itertools.pairwise(ends)]
    n_near = max(len(factor.near) for factor in factors)
    return Space(
        log_density=lambda at: _total(
            [f.log_density(at[:, s]) for f, s in zip(factors, slices, strict=True)]
        ),
        sides=tuple(side for factor in factors for side in factor.sides),
        embed=lambda at: np.column_stack([f.embed(at[:, s]) for f, s in zip(factors, slices, strict=True)]),
        near=np.column_stack([np.resize(f.near, (n_near, len(f.sides))) for f in factors]),
        sample=_product_sample(factors, slices),
        reach=_reach(factors),
    )


def _reach(factors: list[Space]) -> tuple[float, ...]:
    if not any(factor.reach for factor in factors):
        return ()
    return tuple(itertools.chain(*(factor.reach or (math.inf,) * len(factor.sides) for factor in factors)))


def _total(parts: list[Floats]) -> Floats:
    """Return the sum of log-densities; where one is ``-inf`` a singularity of another counts for nothing."""
    stacked = np.stack([np.asarray(part, dtype=np.float64) for part in parts])
    nowhere = np.any(stacked == -np.inf, axis=0)
    return np.where(nowhere, -np.inf, np.sum(np.where(nowhere, 0.0, stacked), axis=0))


def _product_sample(factors: list[Space], slices: list[slice]) -> Callable[[Floats], Floats] | None:
    samplers = [factor.sample for factor in factors]
    if any(sampler is None for sampler in samplers):
        return None
    return lambda u: np.column_stack(
        [sampler(u[:, s]) for sampler, s in zip(samplers, slices, strict=True) if sampler is not None]
    )
