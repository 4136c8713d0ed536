"""Panels of a line or a lattice: offsets from an anchor, the rules that place nodes in them, and the values there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

from tiltz.known.integrals.integrand import Integrand
from tiltz.known.integrals.kronrod import kronrod

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_POLES = 0.5  # share of the nodes of a panel: with more, the reward is infinite on a region
_CLOSE = 1e-3  # of the anchor: nearer than this, the rounding of coordinates shows in the distance from it
_NODE, _WEIGHT, _GAUSS = kronrod(10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panels:
    """Disjoint panels: coordinates ``anchor + sign * d`` for offsets d from ``low`` to ``high``.

    Attributes
    ----------
    anchor, sign, low, high : array, shape (n_panels,)
        The distance from an end of the domain keeps its digits as an offset where the coordinate does not.
    """

    anchor: Floats
    sign: Floats
    low: Floats
    high: Floats

    def __len__(self) -> int:
        """Return the number of panels."""
        return len(self.low)

    @classmethod
    def between(cls, anchor: float, sign: float, edges: Floats) -> Self:
        """Return the panels between ascending offsets."""
        n = max(len(edges) - 1, 0)
        return cls(anchor=np.full(n, anchor), sign=np.full(n, sign), low=edges[:-1], high=edges[1:])

    @classmethod
    def join(cls, parts: list[Self]) -> Self:
        """Return the panels of several."""
        return cls(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)})

    def take(self, some: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Self:
        """Return some of the panels."""
        return type(self)(**{f.name: getattr(self, f.name)[some] for f in fields(self)})

    def halves(self) -> Self:
        """Return the two halves of every panel, the lower ones first."""
        middle = self.low + (self.high - self.low) / 2
        lower = type(self)(anchor=self.anchor, sign=self.sign, low=self.low, high=middle)
        upper = type(self)(anchor=self.anchor, sign=self.sign, low=middle, high=self.high)
        return self.join([lower, upper])

    def ends(self) -> tuple[Floats, Floats]:
        """Return the lowest and highest coordinate of every panel."""
        one, other = self.anchor + self.sign * self.low, self.anchor + self.sign * self.high
        return np.minimum(one, other), np.maximum(one, other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Two rules of which one has more nodes than the other.

    Attributes
    ----------
    place : callable
        Panels to offsets, weights, and the difference of both rules' weights, each of shape (n_panels, n_nodes).
    at_ends : array, shape (2, n_nodes), or None
        Weights with which values at nodes give those at the low and high end of a panel; None if both are nodes.
    gap : float
        From an end to the nearest node, as a share of the panel.
    """

    place: Callable[[Panels], tuple[Floats, Floats, Floats]]
    at_ends: Floats | None
    gap: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """What the integrand is at the nodes of panels; arrays of shape (n_panels, n_nodes).

    Attributes
    ----------
    at : array
        Coordinates.
    weight, contrast : array
        Weights of the rule, which are not negative, and what they exceed those of a lower rule by.
    rounded : array
        Size of the number whose rounding moves the node.
    log_density, reward : array
        The integrand; the reward is ``-inf`` where there is no density.
    """

    at: Floats
    weight: Floats
    contrast: Floats
    rounded: Floats
    log_density: Floats
    reward: Floats

    @classmethod
    def join(cls, parts: list[Self]) -> Self:
        """Return the values of several sets of panels."""
        return cls(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)})

    def take(self, some: npt.NDArray[np.bool_] | npt.NDArray[np.int64] | slice) -> Self:
        """Return the values in some of the panels."""
        return type(self)(**{f.name: getattr(self, f.name)[some] for f in fields(self)})


def evaluate(integrand: Integrand, rule: Rule, panels: Panels) -> Values:
    """Evaluate the integrand at the nodes of all panels, in one call of each function."""
    offset, weight, contrast = rule.place(panels)
    anchor, sign = panels.anchor[:, None], panels.sign[:, None]
    at = anchor + sign * offset
    log_density = integrand.log_density_at(at.reshape(-1, 1)).reshape(at.shape)
    log_density = _without_poles(log_density)
    dense = (log_density > -np.inf) & (weight > 0)
    reward = np.full(at.shape, -np.inf)
    if np.any(dense):
        reward[dense] = integrand.reward_at(at[dense][:, None], poles=True)
    if np.any(solid := np.mean(reward == np.inf, axis=1) > _POLES):
        integrand.reward_at(at[solid].reshape(-1, 1))
    reward = _without_poles(reward)
    ends = [end for end in integrand.space.sides[0] if end != 0 and np.isfinite(end)]
    close = np.isin(panels.anchor, ends) & (panels.high < _CLOSE * np.abs(panels.anchor))
    if np.any(close) and not integrand.space.discrete:
        log_density, reward = _unrounded(panels, close, offset, at, log_density, reward)
    return Values(
        at=at,
        weight=weight,
        contrast=contrast,
        rounded=np.where(close[:, None], offset, np.abs(at)),
        log_density=log_density,
        reward=reward,
    )


def _place_on_line(panels: Panels) -> tuple[Floats, Floats, Floats]:
    half = (panels.high - panels.low)[:, None] / 2
    offset = panels.low[:, None] + half * (1.0 + _NODE)
    return offset, half * _WEIGHT, half * (_WEIGHT - _GAUSS)


def _without_poles(values: Floats) -> Floats:
    """Replace an infinite value at a node by the largest one that is finite in its panel."""
    pole = values == np.inf
    if not np.any(pole):
        return values
    largest = np.max(np.where(pole, -np.inf, values), axis=1, keepdims=True)
    return np.where(pole, largest, values)


def _unrounded(
    panels: Panels, close: Flags, offset: Floats, at: Floats, log_density: Floats, reward: Floats
) -> tuple[Floats, Floats]:
    """Take values that belong to rounded coordinates to the offsets, along the power law of each panel."""
    with np.errstate(all="ignore"):
        log_true = np.log((at - panels.anchor[:, None]) * panels.sign[:, None])
        shift = np.log(offset) - log_true
        run = log_true[:, -1] - log_true[:, 0]
        moved = []
        for values in (log_density, reward):
            slope = (values[:, -1] - values[:, 0]) / run
            change = np.where(close[:, None], slope[:, None] * shift, 0.0)
            moved.append(values + np.where(np.isfinite(change), change, 0.0))
    return moved[0], moved[1]


def _lagrange(at: float) -> Floats:
    """Return the weights of the values at Kronrod's nodes in the polynomial through them."""
    differences = _NODE[:, None] - _NODE[None, :]
    np.fill_diagonal(differences, 1.0)
    factors = (at - _NODE)[None, :] / differences
    np.fill_diagonal(factors, 1.0)
    return factors.prod(axis=1)


LINE = Rule(
    place=_place_on_line, at_ends=np.stack([_lagrange(-1.0), _lagrange(1.0)]), gap=float(1.0 + _NODE[0]) / 2
)
"""Kronrod's rule with 21 nodes; the lower rule is Gauss's with 10."""
