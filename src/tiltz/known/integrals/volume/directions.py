"""Whether Z is finite in several dimensions: rays on which the reward is compared with the fall of the density."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import optimize

from tiltz.known.integrals.integrand import Integrand, Tails
from tiltz.known.integrals.volume.landscape import Landscape
from tiltz.known.integrals.volume.outward import Rays

Floats = npt.NDArray[np.float64]

_STARTS, _ROUNDS = 4, 4
_NOWHERE = 700.0  # log of a tilt that no reward needs
_MEETS = 1e-9  # relative difference at which a tilt counts as critical


def directional_tails(integrand: Integrand) -> Tails:
    """Return at which tilts Z is infinite, as far as straight lines tell.

    Parameters
    ----------
    integrand : Integrand
        Density and reward in two or more dimensions.

    Returns
    -------
    Tails
        ``beta_min`` is NaN where no direction makes Z infinite at the tilts asked for, but one could not be judged.

    Raises
    ------
    InputError
        If a function of the user returns what is no number, or the wrong shape, where the reference is.

    Notes
    -----
    Along a ray Z is finite at t if log-density + t reward + log of the volume falls, in the log of the distance. The
    least t at which it does not is minus the change of log-density and log-volume over that of the reward, far out. It
    is found for the axes, diagonals and random directions, towards the ends of bounded coordinates, and made smaller by
    turning the best. That infinity is reached along a curve alone is not seen.
    """
    rays = Rays.of(Landscape.of(integrand))
    critical = rays.critical(rays.directions)
    known = np.any(~np.isnan(critical))
    direction, least = _turned(rays, critical) if known else (np.zeros(len(rays.centre)), np.inf)
    end, at_end = rays.towards_ends()
    if at_end < least:
        infinite = integrand.t >= at_end * (1 - _MEETS)
        return _tails(integrand.t, infinite, at_end, f"towards the end of coordinate {end}")
    tied = [direction, rays.admissible(-direction), *rays.directions[critical <= least * (1 + _MEETS)]]
    infinite = np.array([_is_infinite(rays, tied, least, t) for t in integrand.t])
    undecided = bool(np.any(np.isnan(critical))) and not np.isfinite(least)
    if not np.any(infinite):
        return _finite(integrand.t, np.nan if undecided else 1.0 / least)
    where = f"along the direction ({', '.join(f'{x:.3g}' for x in rays.in_space(direction) + 0.0)})"
    return _tails(integrand.t, infinite, np.nan if undecided else least, where)


def mean_is_infinite(integrand: Integrand) -> bool:
    """Return whether the mean reward under the reference is minus infinity: KL(reference || tilted) is then infinite.

    Parameters
    ----------
    integrand : Integrand
        In two or more dimensions; its tilts do not matter.
    """

    def log_loss(points: Floats) -> Floats:
        loss = -np.asarray(integrand.reward(points), dtype=np.float64)
        return np.log(np.where(np.isinf(loss), 0.0, np.maximum(loss, 0.0)))

    return bool(directional_tails(replace(integrand, reward=log_loss, t=np.ones(1))).infinite[0])


def _turned(rays: Rays, critical: Floats) -> tuple[Floats, float]:
    """Return the direction with the least critical tilt found by turning the best of several."""
    order = np.argsort(np.where(np.isnan(critical), np.inf, critical), kind="stable")
    best, least = rays.directions[order[0]], float(critical[order[0]])
    if not 0 < least < np.inf or rays.is_power(best) or rays.landscape.integrand.space.reach:
        return best, least
    for start in rays.directions[order[:_STARTS]]:
        turned, value = _turned_from(rays, start)
        if value < least * (1 - 1e-12):
            best, least = turned, value
    return best, least


def _turned_from(rays: Rays, start: Floats) -> tuple[Floats, float]:
    """Turn one direction, among the coordinates that have no end, until its critical tilt is least."""
    free = rays.spread > 0
    across = np.zeros((int(np.sum(free)) - 1, len(start)))
    across[:, free] = np.linalg.svd(start[None, free])[2][1:]
    if not len(across):
        return start, np.inf

    def height(turn: Floats) -> float:
        value = rays.critical(rays.admissible(start + turn @ across)[None, :])[0]
        return float(np.log(value)) if 0 < value < np.inf else _NOWHERE

    turn = np.zeros(len(across))
    for _ in range(_ROUNDS):  # a simplex that has collapsed is built anew
        found = optimize.minimize(height, turn, method="Nelder-Mead", tol=1e-12)
        if not found.fun < height(turn) - 1e-12:
            break
        turn = found.x
    turned = rays.admissible(start + turn @ across)
    return turned, float(rays.critical(turned[None, :])[0])


def _is_infinite(rays: Rays, tied: list[Floats], least: float, t: float) -> bool:
    """Return whether Z is infinite at t; at the critical tilt itself one of the rays must not fall."""
    if np.isfinite(least) and least > 0 and abs(t / least - 1) < _MEETS:
        return any(rays.stays_up(direction, t) for direction in tied if np.any(direction != 0))
    return t >= least


def _finite(t: Floats, beta_min: float) -> Tails:
    return Tails(infinite=np.zeros(len(t), dtype=bool), reason=("",) * len(t), beta_min=beta_min)


def _tails(t: Floats, infinite: npt.NDArray[np.bool_], least: float, where: str) -> Tails:
    """Return the answer with its reasons."""
    with np.errstate(divide="ignore"):
        beta_min = float(np.divide(1.0, least))
    rest = "at every beta." if beta_min == np.inf else f"up to beta = {beta_min:.6g}."
    reasons = tuple(
        f"Z is infinite at beta {1 / x:.6g}: {where} reward / beta grows at least as fast as the log-density falls. "
        f"So it is {rest}"
        if bad
        else ""
        for x, bad in zip(t, infinite, strict=True)
    )
    return Tails(infinite=infinite, reason=reasons, beta_min=beta_min)
