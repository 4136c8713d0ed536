"""Directions in which a line or lattice ends, and the integrand along them as far as floating point reaches."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tiltz.known.integrals.integrand import Integrand
from tiltz.known.integrals.line.underflow import CONTINUED, Continuation, continuation, underflowed

Floats = npt.NDArray[np.float64]

_PER_OCTAVE = 16
_LAST_OCTAVE = 1020  # 2^1020 = 1e307
_SMALLEST = 1e-300
_UNITS = 256  # in the last place of the end: nearer than this, coordinates cannot tell the distance from it
_SURELY_WITHIN = 1e3  # times the largest known coordinate: here the integrand must be defined
_GARBAGE = 1e100  # beyond this a density that is suddenly 0 is taken for an overflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Ray:
    """The integrand along one direction, outwards.

    Attributes
    ----------
    end : float
        What the coordinates approach.
    sign : float
        1 if coordinates are ``anchor + distance``, -1 if they are ``anchor - distance``.
    anchor : float
        The end, or 0 where it is infinite.
    out : array, shape (n_points,)
        Ascending: log of the distance from 0 towards an infinite end, minus that log towards a finite one.
    at : array, shape (n_points,)
        Coordinates.
    log_density, reward : array, shape (n_points,)
        What was found, where it makes sense.
    underflow : bool
        Whether the density ends where the smallest float is reached, as log(pdf) does, and was not continued.
    continued : Continuation or None
        The tail law with which it was continued from there.
    """

    end: float
    sign: float
    anchor: float
    out: Floats
    at: Floats
    log_density: Floats
    reward: Floats
    underflow: bool = False
    continued: Continuation | None = None

    @property
    def volume(self) -> Floats:
        """Log of the length per unit of ``out``."""
        return self.out if np.isinf(self.end) else -self.out

    @property
    def doubt(self) -> Floats:
        """Relative error of log-densities that were continued beyond the smallest float."""
        if self.continued is None:
            return np.zeros(len(self.at))
        return np.where(np.abs(self.at) > self.continued.start, CONTINUED, 0.0)

    def up_to(self, share: float) -> Ray:
        """Return the first part of the ray, as a share of its range of ``out``."""
        last = self.out[0] + share * (self.out[-1] - self.out[0])
        return self.first(max(int(np.searchsorted(self.out, last, side="right")), 2))

    def first(self, n: int, *, underflow: bool = False) -> Ray:
        """Return the ray up to its n-th point."""
        columns = {name: getattr(self, name)[:n] for name in ("out", "at", "log_density", "reward")}
        return replace(self, underflow=self.underflow or underflow, **columns)


def rays_of(integrand: Integrand) -> list[Ray]:
    """Return the rays of a domain in one dimension: both ends of a line, infinite ends of a lattice.

    Raises
    ------
    InputError
        If a function is not defined where the domain surely lies.
    """
    space = integrand.space
    low, high = space.sides[0]
    known = np.abs(space.near[np.isfinite(space.near)])
    start = float(max(known.max(), _SMALLEST)) if known.size and known.max() > 0 else 1.0
    rays = []
    for end, sign in ((low, 1.0), (high, -1.0)):
        if np.isinf(end):
            first = min(np.floor(np.log2(start)), _LAST_OCTAVE // 2)
            octaves = np.arange(first, _LAST_OCTAVE + 1 / _PER_OCTAVE, 1 / _PER_OCTAVE)
            rays.append(_sampled(integrand, end, -sign, 0.0, octaves))
        elif not space.discrete:
            width = high - low if np.isfinite(high - low) else max(1.0, abs(end))
            nearest = max(_UNITS * float(np.spacing(abs(end))), _SMALLEST)
            octaves = np.arange(np.log2(width / 4), np.log2(nearest), -1 / _PER_OCTAVE)
            rays.append(_sampled(integrand, end, sign, end, octaves))
    return rays


def continued(integrand: Integrand, rays: list[Ray]) -> Integrand:
    """Return an integrand whose density goes on where that of some ray underflowed."""
    laws = [(ray.sign, ray.continued) for ray in rays if ray.continued is not None]
    if not laws:
        return integrand
    raw = integrand.space.log_density

    def log_density(at: Floats) -> Floats:
        values = np.array(raw(at), dtype=np.float64)
        for sign, law in laws:
            beyond = sign * at[:, 0] > law.start
            values[beyond] = law(sign * at[beyond, 0])
        return values

    return replace(integrand, space=replace(integrand.space, log_density=log_density))


def _sampled(integrand: Integrand, end: float, sign: float, anchor: float, octaves: Floats) -> Ray:
    at = anchor + sign * np.exp2(octaves)
    if integrand.space.discrete:
        at = np.unique(np.rint(at))[:: int(sign)]
    distance = np.abs(at - anchor)
    log_density = integrand.raw_log_density_at(at[:, None])
    reward = integrand.raw_reward_at(at[:, None])
    log_distance = np.log(distance)
    ray = Ray(
        end=end,
        sign=sign,
        anchor=anchor,
        out=log_distance if np.isinf(end) else -log_distance,
        at=at,
        log_density=log_density,
        reward=reward,
    )
    return _sane(integrand, ray)


def _sane(integrand: Integrand, ray: Ray) -> Ray:
    """Cut a ray where its values are no numbers, or where the density was lost to overflow or underflow."""
    wrong = np.isnan(ray.log_density) | (ray.log_density == np.inf)
    wrong |= (np.isnan(ray.reward) | (ray.reward == np.inf)) & (ray.log_density > -np.inf)
    n = int(np.argmax(wrong)) if np.any(wrong) else len(wrong)
    if n < len(wrong):
        _require(integrand, ray, n)
    ray = ray.first(max(n, 2))
    last = int(np.max(np.flatnonzero(ray.log_density > -np.inf), initial=-1))
    if last < 0 or last + 1 == len(ray.at) or np.isfinite(ray.end):
        return _masked(ray)
    if abs(ray.at[last]) > _GARBAGE and not underflowed(ray.out[: last + 2], ray.log_density[: last + 1]):
        return _masked(ray.first(last + 1))
    if underflowed(ray.out[: last + 2], ray.log_density[: last + 1]):
        return _masked(_continued(ray, last))
    return _masked(ray)


def _masked(ray: Ray) -> Ray:
    """Return a ray whose reward is ``-inf`` where there is no density."""
    return replace(ray, reward=np.where(ray.log_density > -np.inf, ray.reward, -np.inf))


def _continued(ray: Ray, last: int) -> Ray:
    """Continue the density beyond where it underflowed, where a tail law is found."""
    distance = np.abs(ray.at)
    law = continuation(distance[: last + 1], ray.log_density[: last + 1])
    if law is None:
        return ray.first(last + 1, underflow=True)
    log_density = ray.log_density.copy()
    beyond = distance > law.start
    log_density[beyond] = law(distance[beyond])
    wrong = ~np.isfinite(log_density) | np.isnan(ray.reward) | (ray.reward == np.inf)
    wrong &= beyond
    n = int(np.argmax(wrong)) if np.any(wrong) else len(wrong)
    return replace(ray, log_density=log_density, continued=law).first(n)


def _require(integrand: Integrand, ray: Ray, n: int) -> None:
    """Refuse a function that is not a number, or infinite, where the domain surely lies."""
    known = np.abs(integrand.space.near[np.isfinite(integrand.space.near)])
    reach = _SURELY_WITHIN * max(float(known.max()) if known.size else 0.0, 1.0)
    overflow = ray.reward[n] == np.inf or ray.log_density[n] == np.inf
    if (np.isinf(ray.end) and abs(ray.at[n]) <= reach and not overflow) or n < 2:
        integrand.log_density_at(ray.at[n : n + 1, None])
        integrand.reward_at(ray.at[n : n + 1, None])
