"""Panels are halved until Z, the mass and the first two moments of the reward are accurate at every tilt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.known.integrals.integrand import Integrand
from tiltz.known.integrals.line.panel_sums import PanelSums, Scale, jumps_between, relevant, sums_over
from tiltz.known.integrals.line.panels import Panels, Rule, Values, evaluate

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_AT_ONCE = 1 << 14  # panels that are halved in one sweep
_MOST_PANELS = 1 << 16
_MOST_CELLS = 1 << 23  # panels x tilts
_MOST_SWEEPS = 120
_ROUNDS = 2
_SHARE = 1e-3  # of the tolerance, for one panel
_SAFETY = 4.0
_LOUD = 4.0  # times its rounding, for the difference of two rules to mean something
_SPREAD = 3.0  # standard deviations of a sum of differences with random signs


@dataclass(frozen=True, slots=True, kw_only=True)
class Refined:
    """Panels that are fine enough, or as fine as the budget allowed.

    Attributes
    ----------
    values : Values
        At their nodes.
    log_z : array, shape (n_tilts,)
        Log of the integral at each tilt, in nats.
    share : array, shape (n_panels,)
        The largest share of any panel in any of the integrals.
    error : array, shape (n_tilts,)
        Of all panels together, relative to the integral at each tilt.
    n_evaluations : int
        Nodes.
    """

    values: Values
    log_z: Floats
    share: Floats
    error: Floats
    n_evaluations: int


def refine(
    integrand: Integrand, rule: Rule, panels: Panels, *, may_halve: Callable[[Panels], Flags]
) -> Refined:
    """Halve panels until they are fine enough.

    Parameters
    ----------
    integrand : Integrand
        What is integrated; the tilts are 0 and ``integrand.t``.
    rule : Rule
        How nodes are placed in panels.
    panels : Panels
        To start from: every feature of the integrand must show at some node.
    may_halve : callable
        Panels to whether each can be halved.

    Returns
    -------
    Refined
        The panels with their values.

    Notes
    -----
    A panel is halved if, at any tilt, the two rules differ by more than a small part of the tolerance and by more than
    the rounding of the integrand. The error is 4 times the sum of these differences, since where an integrand has a
    kink they can be smaller than the error of the better rule; where they are many, with random signs, it is 4 times
    their signed sum and three standard deviations of it. A jump between the outermost nodes of two neighbours is seen
    by neither rule; it shows in what both panels extrapolate to their common end.
    """
    tilt = integrand.tilts
    values = evaluate(integrand, rule, panels)
    n_evaluations = values.at.size
    with np.errstate(all="ignore"):
        found = relevant(values, tilt)
        state = _State.of(rule, panels.take(found), values.take(found), tilt)
        for _ in range(_ROUNDS):
            n_new, state = _halved(integrand, rule, state, may_halve)
            n_evaluations += n_new
            if not n_new:
                break
            # Once more in the scale of what was found: a new peak has another mean, or overflows the old scale.
            state = _State.of(rule, state.panels, state.values, tilt)
        return _refined(rule, state, n_evaluations)


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    panels: Panels
    values: Values
    scale: Scale
    sums: PanelSums

    @classmethod
    def of(cls, rule: Rule, panels: Panels, values: Values, tilt: Floats) -> _State:
        scale = Scale.of(values, tilt)
        return cls(panels=panels, values=values, scale=scale, sums=sums_over(rule, panels, values, scale))

    def halved(self, rule: Rule, split: Flags, finer: Panels, new: Values) -> _State:
        return _State(
            panels=Panels.join([self.panels.take(~split), finer]),
            values=Values.join([self.values.take(~split), new]),
            scale=self.scale,
            sums=self.sums.take(~split).and_of(sums_over(rule, finer, new, self.scale)),
        )


def _halved(
    integrand: Integrand, rule: Rule, state: _State, may_halve: Callable[[Panels], Flags]
) -> tuple[int, _State]:
    """Halve panels until the rules agree or the budget is spent; return the number of nodes and the outcome."""
    n_tilts, n_nodes = len(state.scale.tilt), state.values.at.shape[1]
    most = min(_MOST_PANELS, _MOST_CELLS // n_tilts, integrand.max_evaluations // (2 * n_nodes))
    n_new = 0
    for _ in range(_MOST_SWEEPS):
        split = _to_halve(
            state.sums,
            jumps_between(rule, state.panels, state.sums),
            may_halve(state.panels),
            _SHARE * integrand.tolerance,
            at_most=min(_AT_ONCE, most - len(state.panels)),
        )
        if not np.any(split) or not np.all(np.isfinite(state.sums.size)):
            break
        finer = state.panels.take(split).halves()
        new = evaluate(integrand, rule, finer)
        n_new += new.at.size
        state = state.halved(rule, split, finer, new)
    return n_new, state


def _to_halve(sums: PanelSums, jumps: Floats, possible: Flags, share: float, *, at_most: int) -> Flags:
    """Whether each panel is to be halved: the ones whose rules differ most."""
    total = sums.size.sum(axis=-1, keepdims=True)
    error = (np.abs(sums.error) + jumps) / np.where(total > 0, total, np.inf)
    noise = sums.noise * sums.size / np.where(sums.size[0] > 0, sums.size[0], np.inf) / total
    excess = np.where(error > _LOUD * noise, error, 0.0).max(axis=(0, 1))
    excess[~possible] = 0.0
    if at_most <= 0:
        return np.zeros(len(excess), dtype=bool)
    chosen = excess > share
    if np.count_nonzero(chosen) > at_most:
        chosen &= excess > np.partition(excess, -at_most - 1)[-at_most - 1]
    return chosen


def _refined(rule: Rule, state: _State, n_evaluations: int) -> Refined:
    sums, scale = state.sums, state.scale
    total = sums.size.sum(axis=-1)
    share = sums.size / np.where(total > 0, total, 1.0)[..., None]
    jumps = jumps_between(rule, state.panels, sums)[0].sum(axis=-1)
    error = _SAFETY * _summed(sums.error[0]) + jumps + sums.noise.sum(axis=-1)
    return Refined(
        values=state.values,
        log_z=scale.top + np.log(total[0]),
        share=share.max(axis=(0, 1)),
        error=np.where(total[0] > 0, error / total[0], 0.0),
        n_evaluations=n_evaluations,
    )


def _summed(differences: Floats) -> Floats:
    """Return how large a sum of differences may be: as if all agreed in sign, or as if the signs were random."""
    size = np.abs(differences)
    largest = np.maximum(size.max(axis=-1, keepdims=True), np.finfo(float).tiny)
    spread = largest[:, 0] * np.sqrt(((size / largest) ** 2).sum(axis=-1))
    return np.minimum(size.sum(axis=-1), np.abs(differences.sum(axis=-1)) + _SPREAD * spread)
