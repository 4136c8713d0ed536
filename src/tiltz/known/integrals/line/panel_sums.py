"""Integrals over panels at every tilt: Z, the first two moments of the reward, their errors and their rounding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.known.integrals.integrand import tilted
from tiltz.known.integrals.line.panels import Panels, Rule, Values

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_EPS = float(np.finfo(float).eps)
_NEGLIGIBLE = 100.0  # nats below the largest panel
_STEEPEST = 16.0  # nats over a panel: steeper, and rounding is not what limits it
_SAME = 8  # units in the last place: ends of neighbours
_FAR = 1e150  # a reward this many spreads from the mean has no square


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What makes integrals comparable; arrays of shape (n_tilts,).

    Attributes
    ----------
    tilt : array
        t, 0 for the reference.
    top : array
        Subtracted from exponents, in nats.
    centre, spread : array
        Mean of the reward at each tilt, and the mean distance from it.
    """

    tilt: Floats
    top: Floats
    centre: Floats
    spread: Floats

    def offset(self, reward: Floats, i: int) -> Floats:
        """Return rewards as distances from the mean at the i-th tilt; 0 for what is forbidden."""
        finite = np.where(reward > -np.inf, reward, self.centre[i])
        return np.clip((finite - self.centre[i]) / self.spread[i], -_FAR, _FAR)

    @classmethod
    def of(cls, values: Values, tilt: Floats) -> Scale:
        """Return the scale that nodes give, at each tilt."""
        log_mass = values.log_density + np.log(values.weight)
        top, centre, spread = np.array([_moments(log_mass, values.reward, t) for t in tilt]).T
        return cls(tilt=tilt, top=top, centre=centre, spread=spread)


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelSums:
    """Integrals of the first three powers of the reward less its mean.

    Attributes
    ----------
    size : array, shape (3, n_tilts, n_panels)
        Of absolute values.
    error : array, shape (3, n_tilts, n_panels)
        Differences of two rules.
    noise : array, shape (n_tilts, n_panels)
        Rounding of the integral at power 0.
    left, right : array, shape (3, n_tilts, n_panels)
        The integrand at the low and high end of each panel, extrapolated from its nodes.
    """

    size: Floats
    error: Floats
    noise: Floats
    left: Floats
    right: Floats

    def take(self, some: Flags) -> PanelSums:
        """Return those of some panels."""
        return PanelSums(**{name: getattr(self, name)[..., some] for name in _FIELDS})

    def and_of(self, more: PanelSums) -> PanelSums:
        """Return those of these panels and further ones."""
        both = {name: [getattr(self, name), getattr(more, name)] for name in _FIELDS}
        return PanelSums(**{name: np.concatenate(parts, axis=-1) for name, parts in both.items()})


_FIELDS = ("size", "error", "noise", "left", "right")


def relevant(values: Values, tilt: Floats) -> Flags:
    """Whether a panel has more than a negligible share of the integral at some tilt."""
    log_mass = values.log_density + np.log(values.weight)
    found = np.zeros(len(log_mass), dtype=bool)
    for t in tilt:
        highest = tilted(log_mass, values.reward, t).max(axis=1)
        found |= highest >= highest.max() - _NEGLIGIBLE
    return found


def sums_over(rule: Rule, panels: Panels, values: Values, scale: Scale) -> PanelSums:
    """Return the integrals over panels from the values at their nodes."""
    n = len(scale.tilt), len(panels)
    size, error, left, right = np.zeros((4, 3, *n))
    noise = np.zeros(n)
    width, log_weight = panels.high - panels.low, np.log(values.weight)
    for i, t in enumerate(scale.tilt):
        score = tilted(values.log_density, values.reward, t) - scale.top[i]
        near = (score + log_weight).max(axis=1) > -_NEGLIGIBLE
        some, density = values.take(near), np.exp(score[near])
        rounding = density * _rounding(some, density, width[near], t)
        noise[i, near] = _EPS * (some.weight * np.where(density > 0, rounding, 0.0)).sum(axis=-1)
        offset = scale.offset(some.reward, i)
        for power in range(3):
            size[power, i, near] = (some.weight * np.abs(density)).sum(axis=-1)
            error[power, i, near] = (some.contrast * density).sum(axis=-1)
            if rule.at_ends is not None:
                left[power, i, near], right[power, i, near] = _at_ends(
                    rule.at_ends, density, panels.sign[near]
                )
            density = density * offset
    return PanelSums(size=size, error=error, noise=noise, left=left, right=right)


def jumps_between(rule: Rule, panels: Panels, sums: PanelSums) -> Floats:
    """Return what a jump between the outermost nodes of neighbours may amount to, shape (3, n_tilts, n_panels).

    There neither of two rules would see it.
    """
    found = np.zeros_like(sums.size)
    if rule.at_ends is None or len(panels) < 2:
        return found
    low, high = panels.ends()
    order = np.argsort(low)
    before, after = order[:-1], order[1:]
    apart = np.abs(low[after] - high[before]) > _SAME * np.spacing(np.abs(low[after]))
    gap = rule.gap * np.maximum((high - low)[before], (high - low)[after])
    jump = np.abs(sums.right[..., before] - sums.left[..., after]) * np.where(apart, 0.0, gap)
    found[..., before] += jump / 2
    found[..., after] += jump / 2
    return found


def _at_ends(weights: Floats, density: Floats, sign: Floats) -> tuple[Floats, Floats]:
    """Return the integrand at the lower and upper coordinate that ends each panel."""
    low, high = density @ weights[0], density @ weights[1]
    return np.where(sign > 0, low, high), np.where(sign > 0, high, low)


def _rounding(values: Values, density: Floats, width: Floats, t: float) -> Floats:
    """Return how many roundings the integrand at each node carries, that of its coordinate among them."""
    fall = np.log(density.max(axis=-1) / density.min(axis=-1))
    slope = np.where(np.isnan(fall), 0.0, np.minimum(fall, _STEEPEST)) / width
    gain = np.where(values.reward > -np.inf, np.abs(t * values.reward), 0.0)
    return 2.0 + np.abs(values.log_density) + gain + slope[:, None] * values.rounded


def _moments(log_mass: Floats, reward: Floats, t: float) -> tuple[float, float, float]:
    """Return the largest score, the mean reward and the mean distance from it."""
    score = tilted(log_mass, reward, t)
    top = float(score.max())
    if not np.isfinite(top):
        return 0.0, 0.0, 1.0
    near = (score >= top - _NEGLIGIBLE) & (reward > -np.inf)
    weight, reward = np.exp(score[near] - top), reward[near]
    if not len(reward):
        return top, 0.0, 1.0
    first = float(reward[np.argmax(weight)])
    centre = first + float(weight @ (reward - first) / weight.sum())
    spread = float(weight @ np.abs(reward - centre) / weight.sum())
    return top, centre, spread if 0 < spread < np.inf else 1.0
