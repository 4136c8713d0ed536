"""What lies beyond the coordinates that floating point tells apart: a power law, continued to the end of the domain."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tiltz.known.integrals.kronrod import kronrod
from tiltz.known.integrals.line.rays import Ray

Floats = npt.NDArray[np.float64]

_LAST = 0.25  # of a ray: where its power law is read
_NEGLIGIBLE = -45.0  # log share of an integral
_FINEST, _REACH = 0.5, 60.0  # lengths over which the fastest and the slowest integrand falls by a nat
_STRAIGHT = 1e-6
_SAFETY = 4.0
_SETTLES = 0.75  # changes by so much less over each further unit of log distance
_AGREES = 1e-3  # nats: known mass that differs by more is another thing
_EPS = float(np.finfo(float).eps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """Nodes beyond the outermost panel, and the error of each tilt, relative to its integral."""

    log_mass: Floats
    reward: Floats
    error: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """Values along the outer part of a ray as a straight line in ``out``: at the end, per unit, largest deviation."""

    end: float
    slope: float
    off: float


def rest_beyond(ray: Ray, tilt: Floats, log_z: Floats, *, mass: float = np.nan) -> Rest:
    """Return nodes for what lies beyond the end of a ray.

    Parameters
    ----------
    ray : Ray
        Up to the outermost panel.
    tilt, log_z : array, shape (n_tilts,)
        The tilts and the logs of their integrals so far.
    mass : float
        Mass of the reference beyond the end, NaN where it is not known.

    Returns
    -------
    Rest
        No nodes where every integral leaves nothing; an infinite error where it does not fall.

    Notes
    -----
    With v the log distance beyond the end, density times distance and the exponential of the reward are continued as
    exponentials of v with the slopes of the outer quarter of the ray. The error is what the rest would grow by if it
    bent as that quarter does, four times over.
    """
    none = Rest(log_mass=np.array([]), reward=np.array([]), error=np.zeros(len(tilt)))
    if not np.isfinite(ray.log_density[-1]):
        return none
    with np.errstate(all="ignore"):
        density, reward = _straight(ray.out, ray.log_density + ray.volume), _straight(ray.out, ray.reward)
        shift = np.log(mass * -density.slope) - density.end
        if abs(shift) < _AGREES:
            density = replace(density, end=density.end + shift)
        if not np.isfinite(reward.end):
            reward = _Line(end=-np.inf, slope=0.0, off=0.0)
        steepest = density.slope + np.where(tilt > 0, tilt * max(reward.slope, 0.0), 0.0)
        if reward.off > _STRAIGHT * abs(reward.slope) + 64 * _EPS * abs(reward.end):
            change = _to_come(ray.out, ray.reward)
            steepest = density.slope if change < reward.off else steepest
            reward = _Line(end=reward.end, slope=0.0, off=min(reward.off, change))
        height = density.end + np.where(tilt > 0, tilt * reward.end, 0.0) - log_z
        slope = density.slope + np.where(tilt > 0, tilt * reward.slope, 0.0)
        left = height - np.log(np.maximum(-slope, _EPS)) > _NEGLIGIBLE
        if not np.any(left):
            return none
        share = np.exp(height) / -slope
        off = density.off + float(ray.doubt[-1]) * abs(density.end)
        off = off + np.where(tilt > 0, tilt * reward.off, 0.0)
        # A parabola that is off by this much over the length that was read, continued over the length that was not;
        # a reward that is not straight may go on growing as it did on the whole.
        read = _LAST * (ray.out[-1] - ray.out[0])
        bend = _SAFETY * off * (1.0 + 2.0 / (read * np.abs(steepest))) ** 2
        most = np.exp(height) / -steepest
        error = np.where(steepest < 0, most * np.expm1(bend) + (most - share), np.inf)
    falling = left & (slope < 0)
    if not np.any(falling):
        return Rest(log_mass=none.log_mass, reward=none.reward, error=np.where(left, error, 0.0))
    out, log_weight = _nodes(-slope[falling])
    return Rest(
        log_mass=density.end + density.slope * out + log_weight,
        reward=reward.end + reward.slope * out if reward.slope else np.full(len(out), reward.end),
        error=np.where(left, error, 0.0),
    )


def _straight(out: Floats, values: Floats) -> _Line:
    outer = out >= out[-1] - _LAST * (out[-1] - out[0])
    out, values = out[outer], values[outer]
    slope = (values[-1] - values[0]) / (out[-1] - out[0])
    off = np.max(np.abs(values - (values[-1] + slope * (out - out[-1]))))
    return _Line(end=float(values[-1]), slope=float(slope), off=float(off))


def _to_come(out: Floats, values: Floats) -> float:
    """Return how much values that settle down may still change beyond the end, ``inf`` if they do not settle."""
    back = out[-1] - out
    before, last = (values[(back >= low) & (back <= low + 1.0)] for low in (1.0, 0.0))
    if min(len(before), len(last)) < 2 or not np.ptp(last) <= _SETTLES * np.ptp(before):
        return np.inf
    return float(np.ptp(last) / (1 - _SETTLES))


def _nodes(rate: Floats) -> tuple[Floats, Floats]:
    """Return nodes and log weights on the half-line for exponentials with rates in a range."""
    edges = [0.0, _FINEST / rate.max()]
    while edges[-1] < _REACH / rate.min():
        edges.append(2 * edges[-1])
    node, weight, _ = kronrod(10)
    low, half = np.array(edges[:-1])[:, None], np.diff(edges)[:, None] / 2
    return (low + half * (1.0 + node)).ravel(), np.log(half * weight).ravel()
