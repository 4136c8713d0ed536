"""Where the mass of every tilt lies in one dimension: a scan of the domain, its modes, and panels that show them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.known.integrals.integrand import Integrand, tilted
from tiltz.known.integrals.line.panels import Panels
from tiltz.known.integrals.line.rays import Ray

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_EVEN, _PER_OCTAVE, _OCTAVES = 1 << 15, 256, 24
_MOST_MODES = 24  # per tilt
_SECTIONS, _GOLDEN = 60, (5**0.5 - 1) / 2
_FALL = 0.5  # nats below a mode, at the distance that is its width
_WIDTH_STEPS = 40
_NEGLIGIBLE = 60.0  # nats
_WITHIN = ((0.0, 2.0), (1.0, 2.0), (2.0, 2.0), (4.0, 4.0), (7.0, 4.0))  # widths away: widths of a panel


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """The integrand on a grid, ascending, that covers the domain at every scale.

    ``middle`` and ``scale`` are where the bulk of the reference lies.
    """

    at: Floats
    log_density: Floats
    reward: Floats
    middle: float
    scale: float


def scan_domain(integrand: Integrand, rays: list[Ray], sides: tuple[float, float]) -> Scan:
    """Evaluate the integrand evenly and at every scale around the bulk, in addition to the rays.

    Parameters
    ----------
    integrand : Integrand
        In one dimension.
    rays : list of Ray
        What is known towards the ends.
    sides : (float, float)
        Lowest and highest coordinate at which the functions may be evaluated.
    """
    at = np.concatenate([ray.at for ray in rays] or [np.array([])])
    if np.all(np.isfinite(integrand.space.sides[0])):
        at = np.concatenate([at, np.linspace(*sides, _EVEN)])
    at, log_density = _evaluated(integrand, at, sides)
    middle, scale = _bulk(integrand.space.near.ravel(), at, log_density)
    # At 0 floats are finest, and functions like to have their kinks.
    known = np.concatenate(
        [integrand.space.near.ravel(), *integrand.breaks, [0.0, middle - 8 * scale, middle + 8 * scale]]
    )
    known = np.clip(known[np.isfinite(known)], *sides)
    steps = scale * np.exp2(np.arange(-_OCTAVES, _OCTAVES, 1 / _PER_OCTAVE))
    further = np.concatenate(
        [known, np.linspace(known.min(), known.max(), _EVEN), middle + steps, middle - steps]
    )
    at, log_density = _evaluated(integrand, np.concatenate([at, further]), sides)
    reward = np.full(len(at), -np.inf)
    dense = log_density > -np.inf
    reward[dense] = integrand.reward_at(at[dense][:, None], poles=True)
    keep = reward < np.inf
    return Scan(at=at[keep], log_density=log_density[keep], reward=reward[keep], middle=middle, scale=scale)


def modes_of(integrand: Integrand, scan: Scan) -> tuple[Floats, Floats]:
    """Return the modes of every tilt that matter, and the distances at which the integrand has fallen by half a nat."""
    tilt = integrand.tilts
    peaks = [_peaks(scan, t) for t in tilt]
    at = np.concatenate(peaks)
    t = np.repeat(tilt, [len(p) for p in peaks])
    if not len(at):
        return np.array([]), np.array([])
    low, high = scan.at[np.maximum(at - 1, 0)], scan.at[np.minimum(at + 1, len(scan.at) - 1)]

    def score(y: Floats) -> Floats:
        y = np.rint(y) if integrand.space.discrete else y
        log_density = integrand.log_density_at(y[:, None])
        reward = np.full(len(y), -np.inf)
        dense = log_density > -np.inf
        reward[dense] = integrand.reward_at(y[dense][:, None], poles=True)
        reward[reward == np.inf] = -np.inf  # next to a pole there is as much to find
        return np.where(t > 0, log_density + np.where(t > 0, t, 1.0) * reward, log_density)

    mode, top = _climbed(score, scan.at[at], low, high)
    width = _widths(score, mode, top, low, high)
    return _worth_it(mode, width, top, t)


def show_modes(panels: Panels, mode: Floats, width: Floats, may_halve: Callable[[Panels], Flags]) -> Panels:
    """Halve panels until those around every mode are about as narrow as it is."""
    while len(mode):
        low, high = panels.ends()
        order = np.argsort(low)
        wide = np.zeros(len(panels), dtype=bool)
        for away, at_most in _WITHIN:
            for sign in (-1.0, 1.0):
                inside = np.clip(
                    np.searchsorted(low[order], mode + sign * away * width, side="right") - 1, 0, None
                )
                panel = order[inside]
                too_wide = (high - low)[panel] > at_most * width
                wide[panel[too_wide & (mode + sign * away * width <= high[panel])]] = True
        wide &= may_halve(panels)
        if not np.any(wide):
            break
        panels = Panels.join([panels.take(~wide), panels.take(wide).halves()])
    return panels


def _evaluated(integrand: Integrand, at: Floats, sides: tuple[float, float]) -> tuple[Floats, Floats]:
    at = np.rint(at) if integrand.space.discrete else at
    at = np.unique(at[(at >= sides[0]) & (at <= sides[1])])
    log_density = integrand.log_density_at(at[:, None])
    keep = log_density < np.inf
    return at[keep], log_density[keep]


def _bulk(near: Floats, at: Floats, log_density: Floats) -> tuple[float, float]:
    """Return a middle and a scale of the reference: from coordinates known to be near, or the scanned mass."""
    near = np.sort(near[np.isfinite(near)])
    if len(near) < 3 or near[0] == near[-1]:
        gap = np.gradient(at) if len(at) > 1 else np.ones(len(at))
        score = log_density + np.log(np.maximum(gap, np.finfo(float).tiny))
        share = np.cumsum(np.exp(score - score.max()))
        found = np.searchsorted(share, share[-1] * np.array([0.1, 0.5, 0.9]))
        near = (
            np.concatenate([at[found], near])
            if not len(near)
            else np.array([near[0] - 1, near[0], near[0] + 1])
        )
        near = np.sort(near)
    middle = float(near[len(near) // 2])
    scale = float(near[3 * len(near) // 4] - near[len(near) // 4]) or float(near[-1] - near[0])
    return middle, max(scale, 16 * float(np.spacing(abs(middle))))


def _peaks(scan: Scan, t: float) -> npt.NDArray[np.int64]:
    """Return where the scanned integrand is higher than its neighbours, the highest ones."""
    score = np.concatenate([[-np.inf], tilted(scan.log_density, scan.reward, t), [-np.inf]])
    inner = score[1:-1]
    peak = np.flatnonzero((inner > score[:-2]) & (inner >= score[2:]) & (inner > -np.inf))
    return peak[np.argsort(-inner[peak], kind="stable")[:_MOST_MODES]]


def _climbed(
    score: Callable[[Floats], Floats], at: Floats, low: Floats, high: Floats
) -> tuple[Floats, Floats]:
    """Return the highest points between ``low`` and ``high``, by golden sections."""
    best, top = at, score(at)
    for _ in range(_SECTIONS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        at_left, at_right = score(left), score(right)
        for y, value in ((left, at_left), (right, at_right)):
            best, top = np.where(value > top, y, best), np.maximum(value, top)
        rightwards = np.where(at_left == at_right, best > (low + high) / 2, at_right > at_left)
        low, high = np.where(rightwards, left, low), np.where(rightwards, high, right)
    return best, top


def _widths(
    score: Callable[[Floats], Floats], mode: Floats, top: Floats, low: Floats, high: Floats
) -> Floats:
    """Return how near to each mode, on its steeper side, the integrand has fallen; the bracket at most."""
    widths = []
    for sign, end in ((-1.0, low), (1.0, high)):
        most = np.abs(end - mode)
        least = np.minimum(4 * np.spacing(np.abs(mode)) + np.finfo(float).tiny, np.maximum(most, 1e-300))
        inner, outer = np.log(least), np.log(np.maximum(most, least))
        fallen = score(end) < top - _FALL
        for _ in range(_WIDTH_STEPS):
            middle = (inner + outer) / 2
            below = score(np.clip(mode + sign * np.exp(middle), low, high)) < top - _FALL
            inner, outer = np.where(below, inner, middle), np.where(below, middle, outer)
        widths.append(np.where(fallen, np.exp(outer), np.where(most > 0, most, np.inf)))
    width = np.minimum(*widths)
    return np.where(np.isfinite(width), width, np.spacing(np.abs(mode)))


def _worth_it(mode: Floats, width: Floats, top: Floats, t: Floats) -> tuple[Floats, Floats]:
    """Drop modes of negligible mass, and all but one of those that are alike."""
    size = top + np.log(width)
    tilt, index = np.unique(t, return_inverse=True)
    best = np.full(len(tilt), -np.inf)
    np.maximum.at(best, index, size)
    keep = size >= best[index] - _NEGLIGIBLE
    mode, width = mode[keep], width[keep]
    octave = np.rint(np.log2(width))
    alike = np.stack([octave, np.rint(mode / np.exp2(octave))])
    _, first = np.unique(alike, axis=1, return_index=True)
    return mode[first], width[first]
