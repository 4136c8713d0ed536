"""Mass that a reference is known to have and panels do not: where it lies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tiltz.known.integrals.integrand import Points
from tiltz.known.integrals.line.panels import Panels
from tiltz.known.integrals.line.refine import Refined

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_WRONG = 1e-10  # mass of a panel
_MOST_SWEEPS = 80


def find_mass(
    tails: tuple[Points, Points], panels: Panels, refined: Refined, may_halve: Callable[[Panels], Flags]
) -> Panels:
    """Halve the panels in which mass was missed until it shows.

    Parameters
    ----------
    tails : tuple of callables
        The reference's ``cdf`` and ``sf``.
    panels : Panels
        All panels of the domain, disjoint.
    refined : Refined
        What was integrated so far, within those panels.
    may_halve : callable
        Panels to whether each can be halved.

    Returns
    -------
    Panels
        Each with mass that was found, or as narrow as most of its mass.
    """
    wrong = np.abs(_known(tails, panels) - _found(panels, refined)) > _WRONG
    settled, open_panels = [panels.take(~wrong)], panels.take(wrong)
    for _ in range(_MOST_SWEEPS):
        splittable = may_halve(open_panels)
        settled.append(open_panels.take(~splittable))
        open_panels = open_panels.take(splittable).halves()
        mass = _known(tails, open_panels)
        keep = mass > _WRONG
        settled.append(open_panels.take(~keep))
        open_panels = open_panels.take(keep)
        if not len(open_panels) or _resolved(mass[keep], open_panels):
            break
    return Panels.join([*settled, open_panels])


def _known(tails: tuple[Points, Points], panels: Panels) -> Floats:
    """Return the mass of each panel, from the tail in which the difference keeps its digits."""
    low, high = panels.ends()
    below, above = tails
    lower = np.asarray(below(high)) - np.asarray(below(low))
    upper = np.asarray(above(low)) - np.asarray(above(high))
    return np.where(np.asarray(below(low)) < 0.5, lower, upper)


def _found(panels: Panels, refined: Refined) -> Floats:
    """Return the mass that the nodes have in each panel."""
    low, _ = panels.ends()
    order = np.argsort(low)
    values = refined.values
    with np.errstate(all="ignore"):
        mass = (values.weight * np.exp(values.log_density)).sum(axis=1)
    inside = np.searchsorted(low[order], np.median(values.at, axis=1), side="right") - 1
    found = np.zeros(len(panels))
    np.add.at(found, order[np.clip(inside, 0, None)], mass)
    return found


def _resolved(mass: Floats, panels: Panels) -> bool:
    """Whether no panel has much more mass than its neighbours: the density is nearly even."""
    density = mass / (panels.high - panels.low)
    order = np.argsort(panels.ends()[0])
    near = np.diff(np.log(density[order]))
    return bool(len(mass) >= 16 and np.median(np.abs(near)) < 1.0)
