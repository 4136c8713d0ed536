"""Refined panels and what lies beyond them, put together as nodes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.known.integrals.integrand import Integrand, Nodes, tilted
from tiltz.known.integrals.line.rays import Ray
from tiltz.known.integrals.line.refine import Refined
from tiltz.known.integrals.line.rest import Rest, rest_beyond
from tiltz.known.integrals.line.underflow import CONTINUED
from tiltz.known.log_sum import log_sum
from tiltz.text import number

Floats = npt.NDArray[np.float64]

_NEGLIGIBLE = 1e-20  # share of a panel in every integral
_HIDDEN = 1e-12  # share beyond a density that underflowed
_EPS = float(np.finfo(float).eps)


def nodes_from(integrand: Integrand, refined: Refined, rays: list[Ray]) -> Nodes:
    """Return the nodes of panels that matter and of the rest, with the errors of both.

    Parameters
    ----------
    integrand : Integrand
        What was integrated.
    refined : Refined
        The panels.
    rays : list of Ray
        From the outermost panels on nothing was integrated.

    Raises
    ------
    InputError
        If a density that underflowed hides part of Z.
    """
    tilt = integrand.tilts
    rests = [rest_beyond(ray, tilt, refined.log_z, mass=_known_mass(integrand, ray)) for ray in rays]
    for ray, rest in zip(rays, rests, strict=True):
        if ray.underflow and np.any(rest.error > _HIDDEN):
            raise InputError(_hidden(ray, tilt[int(np.argmax(rest.error))]))
    log_z = np.array([_total(part, rests, t) for part, t in zip(refined.log_z, tilt, strict=True)])
    error = _errors(integrand, refined, rays, rests, log_z)
    values = refined.values.take(refined.share >= _NEGLIGIBLE)
    used = (values.weight > 0) & (values.log_density > -np.inf)
    log_mass = values.log_density[used] + np.log(values.weight[used])
    outermost = [np.full(len(rest.reward), ray.at[-1]) for ray, rest in zip(rays, rests, strict=True)]
    return Nodes(
        log_mass=np.concatenate([log_mass, *(rest.log_mass for rest in rests)]),
        reward=np.concatenate([values.reward[used], *(rest.reward for rest in rests)]),
        error=error[1:],
        mass_error=float(error[0] * np.exp(log_z[0])),
        at=np.concatenate([values.at[used], *outermost])[:, None],
        n_evaluations=refined.n_evaluations,
    )


def _total(log_z: float, rests: list[Rest], t: float) -> float:
    """Return log Z with what lies beyond the panels."""
    scores = [tilted(rest.log_mass, rest.reward, t) for rest in rests]
    return float(log_sum(np.concatenate([[log_z], *scores])))


def _errors(
    integrand: Integrand, refined: Refined, rays: list[Ray], rests: list[Rest], log_z: Floats
) -> Floats:
    """Return the error of the mass and of Z at each t, relative to them."""
    tilt = integrand.tilts
    error = refined.error + refined.share[refined.share < _NEGLIGIBLE].sum()
    error = error + sum(_doubt(ray, refined, tilt) for ray in rays) + sum(rest.error for rest in rests)
    error = error * np.exp(refined.log_z - log_z) + _EPS * np.abs(log_z)
    if integrand.space.tails is not None:
        # The reference is normalised: what its mass lacks is an error of the log-density, or was not found.
        error = error + abs(np.expm1(log_z[0]))
    return np.where(np.isnan(error), np.inf, error)


def _known_mass(integrand: Integrand, ray: Ray) -> float:
    """Return the mass of the reference beyond a ray towards a finite end, NaN where it is not known."""
    if integrand.space.tails is None or np.isinf(ray.end):
        return np.nan
    low, high = integrand.space.tails
    beyond = low if ray.sign > 0 else high
    return float(np.asarray(beyond(ray.at[-1:]))[0])


def _doubt(ray: Ray, refined: Refined, tilt: Floats) -> Floats:
    """Return the error of each tilt that comes from a density that was continued along a ray."""
    values = refined.values
    if ray.continued is None:
        return np.zeros(len(tilt))
    beyond = (
        (ray.sign * values.at > ray.continued.start) & (values.weight > 0) & (values.log_density > -np.inf)
    )
    log_density, reward = values.log_density[beyond], values.reward[beyond]
    log_mass = log_density + np.log(values.weight[beyond])
    shares = [
        np.exp(tilted(log_mass, reward, t) - log_z) for t, log_z in zip(tilt, refined.log_z, strict=True)
    ]
    return CONTINUED * np.array([share @ np.abs(log_density) for share in shares])


def _hidden(ray: Ray, t: float) -> str:
    at = "the mass of the reference" if t == 0 else f"Z at beta {number(1 / t)}"
    return (
        f"the log-density must be finite wherever it matters; it becomes -inf beyond y = {number(ray.at[-1])}, where "
        f"the density is below the smallest float, and {at} has more beyond. Give a log-density computed in logs."
    )
