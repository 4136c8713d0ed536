"""From evaluated points to the nodes that are returned: those that carry something, and the rounding of each sum."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.known.integrals.volume.landscape import tilted

Floats = npt.NDArray[np.float64]

_CARRIED = 55.0  # nats: points with less than e^-55 of every integral are left out
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some evaluated points.

    Attributes
    ----------
    log_mass, reward : array, shape (m,)
        Log-masses and rewards.
    rounding : array, shape (m,)
        Relative error of the density that the rounding of coordinates makes.
    places : callable
        From a mask of shape (m,) to the coordinates of those points.
    """

    log_mass: Floats
    reward: Floats
    rounding: Floats
    places: Callable[[npt.NDArray[np.bool_]], Floats]


def gathered(
    parts: Iterable[Part], tilts: Floats, level: float, log_total: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return log-masses, rewards and coordinates of the points that carry anything, and the rounding per tilt.

    Parameters
    ----------
    parts : iterable of Part
        All points.
    tilts : array, shape (n_tilts,)
        0 for the reference among them.
    level : float
        Reward relative to which the integrals are.
    log_total : array, shape (n_tilts,)
        Log of every integral, relative to ``level``.

    Returns
    -------
    tuple of arrays
        Shapes (n_nodes,), (n_nodes,), (n_nodes, d), and (n_tilts,), the last relative to the integrals.
    """
    noise = np.zeros(len(tilts))
    kept: list[tuple[Floats, Floats, Floats]] = []
    for part in parts:
        heights = np.array([tilted(part.log_mass, part.reward, t, level) for t in tilts])
        with np.errstate(invalid="ignore"):
            log_share = np.where(heights > -np.inf, heights - log_total[:, None], -np.inf)
        carried = np.any(log_share > -_CARRIED, axis=0)
        log_mass, reward, log_share = part.log_mass[carried], part.reward[carried], log_share[:, carried]
        size = part.rounding[carried] + 2 * _EPS * (4.0 + np.abs(log_mass))
        with np.errstate(over="ignore", invalid="ignore"):
            for k, t in enumerate(tilts):
                gain = 2 * _EPS * np.where(reward > -np.inf, np.abs(t * reward), 0.0) if t > 0 else 0.0
                relative = np.exp(log_share[k]) * (size + gain)
                noise[k] += np.sum(np.where(log_share[k] > -np.inf, relative, 0.0))
        kept.append((log_mass, reward, part.places(carried)))
    log_mass, reward, at = (np.concatenate(column) for column in zip(*kept, strict=True))
    return log_mass, reward, at, noise


def error_of_log(relative: Floats) -> Floats:
    """Return the bound on the error of a log from that of its argument; ``inf`` where that is all of it."""
    with np.errstate(divide="ignore"):
        return -np.log1p(-np.minimum(relative, 1.0))
