"""Boxes with what a tensor rule finds in them: the mass of every tilt and its spread in reward, with errors."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tiltz.known.integrals.integrand import Integrand
from tiltz.known.integrals.volume.boxes import Boxes
from tiltz.known.integrals.volume.charts import Chart
from tiltz.known.integrals.volume.landscape import tilted
from tiltz.known.integrals.volume.tensor import TensorRule
from tiltz.known.log_sum import log_sum

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_EPS = float(np.finfo(np.float64).eps)
_AT_ONCE = 1 << 16  # points per call of the user's functions
_SCALE = 60.0  # relative differences of the two rules below 1 / 60^3 count for less, larger ones for up to 3 times more
_MOST = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Boxes and what was found in them, per functional: the mass of every tilt, then its mean squared deviation.

    Attributes
    ----------
    boxes : Boxes
        Disjoint.
    chunk, row : int array, shape (n_boxes,)
        Where the values at their nodes are kept.
    log_value, log_error : array, shape (n_boxes, n_functionals)
        In nats, up to a constant per functional.
    axis : int array, shape (n_boxes, n_functionals)
        Along which the two rules differ most.
    """

    boxes: Boxes
    chunk: Ints
    row: Ints
    log_value: Floats
    log_error: Floats
    axis: Ints

    def select(self, which: npt.NDArray[np.bool_] | Ints) -> Measured:
        """Return some of the boxes."""
        return Measured(
            boxes=Boxes(low=self.boxes.low[which], high=self.boxes.high[which]),
            chunk=self.chunk[which],
            row=self.row[which],
            log_value=self.log_value[which],
            log_error=self.log_error[which],
            axis=self.axis[which],
        )

    @staticmethod
    def joined(parts: list[Measured]) -> Measured:
        """Return the boxes of several."""
        names = ("chunk", "row", "log_value", "log_error", "axis")
        return Measured(
            boxes=Boxes(
                low=np.concatenate([part.boxes.low for part in parts]),
                high=np.concatenate([part.boxes.high for part in parts]),
            ),
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names},
        )

    def log_total(self) -> Floats:
        """Return the log of the sum over boxes, shape (n_functionals,)."""
        return log_sum(self.log_value)

    def shares(self, log_total: Floats) -> Floats:
        """Return errors over totals, shape (n_boxes, n_functionals); 0 where the total is 0."""
        with np.errstate(invalid="ignore", over="ignore"):
            return np.where(log_total > -np.inf, np.exp(self.log_error - log_total), 0.0)


@dataclass(slots=True, kw_only=True)
class Measure:
    """Evaluates boxes, and keeps the values at their nodes.

    Attributes
    ----------
    integrand : Integrand
        Density and reward.
    chart : Chart
        In which the boxes are.
    rule : TensorRule
        For every box.
    level : float
        Reward about as high as any, relative to which tilts are taken.
    centre : array, shape (n_betas + 1,)
        About the mean reward of the reference and of every tilt.
    log_mass, reward : list of array, shape (n_boxes, n_nodes)
        Per chunk of boxes.
    rounding : list of array, shape (n_boxes, n_nodes)
        Relative error that the rounding of coordinates makes at a node.
    n_evaluations : int
        So far.
    """

    integrand: Integrand
    chart: Chart
    rule: TensorRule
    level: float
    centre: Floats
    log_mass: list[Floats] = field(default_factory=list)
    reward: list[Floats] = field(default_factory=list)
    rounding: list[Floats] = field(default_factory=list)
    n_evaluations: int = 0

    @property
    def tilts(self) -> Floats:
        """Return 0 and the tilts that are wanted."""
        return self.integrand.tilts

    def boxes(self, boxes: Boxes) -> Measured:
        """Return what the rule finds."""
        at_once = max(1, _AT_ONCE // len(self.rule.node))
        parts = []
        for first in range(0, len(boxes.low), at_once):
            some = slice(first, first + at_once)
            block = Boxes(low=boxes.low[some], high=boxes.high[some])
            self._evaluate(block)
            parts.append(self._measured(block, len(self.log_mass) - 1))
        return Measured.joined(parts)

    def centred(self, state: Measured) -> Measured:
        """Return the same boxes, deviations now taken from the mean rewards found."""
        log_mass = np.concatenate([part.ravel() for part in self.log_mass])
        reward = np.concatenate([part.ravel() for part in self.reward])
        self.centre = np.array([_mean(log_mass, reward, t, self.level) for t in self.tilts])
        n_boxes = np.cumsum([0, *(len(part) for part in self.log_mass)])
        parts = []
        for chunk in range(len(self.log_mass)):
            some = slice(n_boxes[chunk], n_boxes[chunk + 1])
            block = Boxes(low=state.boxes.low[some], high=state.boxes.high[some])
            parts.append(self._measured(block, chunk))
        return Measured.joined(parts)

    def nodes(self, boxes: Boxes) -> tuple[Floats, Floats]:
        """Return the nodes of boxes in working coordinates, shape (n_boxes, n_nodes, d), and logs of their volumes."""
        half = (boxes.high - boxes.low) / 2
        middle = boxes.low + half
        w = middle[:, None, :] + half[:, None, :] * self.rule.node
        return w, np.log(half).sum(axis=1)[:, None] + self.rule.log_weight

    def _evaluate(self, boxes: Boxes) -> None:
        w, log_weight = self.nodes(boxes)
        y, log_volume = self.chart.points(w.reshape(-1, w.shape[2]))
        log_density = self.integrand.log_density_at(y)
        self.n_evaluations += len(y)
        log_mass = (np.where(log_density < np.inf, log_density, -np.inf) + log_volume).reshape(
            log_weight.shape
        )
        self.log_mass.append(log_mass + log_weight)
        half = np.repeat((boxes.high - boxes.low) / 2, log_weight.shape[1], axis=0)
        # A box is about as wide as the density in it.
        self.rounding.append(self.chart.rounding(w.reshape(half.shape), y, half).reshape(log_weight.shape))
        self.reward.append(self.integrand.reward_at(y).reshape(log_weight.shape))

    def _measured(self, boxes: Boxes, chunk: int) -> Measured:
        found = [self._tilted(chunk, t, c) for t, c in zip(self.tilts, self.centre, strict=True)]
        found = [functional for pair in zip(*found, strict=True) for functional in pair]
        value, error, axis = (np.stack(part, axis=1) for part in zip(*found, strict=True))
        n_boxes = len(boxes.low)
        return Measured(
            boxes=boxes,
            chunk=np.full(n_boxes, chunk),
            row=np.arange(n_boxes),
            log_value=value,
            log_error=error,
            axis=axis,
        )

    def _tilted(self, chunk: int, t: float, centre: float) -> list[tuple[Floats, Floats, Ints]]:
        """Return log values, log errors and axes of two functionals of one tilt."""
        log_mass, reward, rounding = self.log_mass[chunk], self.reward[chunk], self.rounding[chunk]
        height = tilted(log_mass, reward, t, self.level)
        best = np.argmax(height, axis=1)[:, None]
        top = np.take_along_axis(height, best, axis=1)
        shift = np.where(np.isfinite(top), top, 0.0)
        with np.errstate(invalid="ignore"):
            at_best = np.abs(np.take_along_axis(log_mass, best, axis=1)) + t * np.abs(
                np.take_along_axis(reward, best, axis=1)
            )
        mass = np.exp(height - shift)
        with np.errstate(invalid="ignore"):
            uncertain = np.nan_to_num(np.sum(mass * rounding, axis=1) / np.sum(mass, axis=1))[:, None]
        noise = uncertain + 16 * _EPS * np.where(np.isfinite(at_best), at_best, 0.0)
        deviation = np.where(reward > -np.inf, reward, centre) - centre
        scale = max(float(np.max(np.abs(deviation))), np.finfo(np.float64).tiny)
        squared = mass * (deviation / scale) ** 2
        return [
            _rules(mass, self.rule.contrast, shift, noise),
            _rules(squared, self.rule.contrast, shift + 2 * np.log(scale), noise),
        ]


def _rules(values: Floats, contrast: Floats, shift: Floats, noise: Floats) -> tuple[Floats, Floats, Ints]:
    """Return the log of a rule's sums, of their errors, and the axis of the largest difference."""
    sums = values @ contrast
    total, difference = sums[:, 0], np.abs(sums[:, 1:])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(total[:, None] > 0, difference / total[:, None], 0.0)
        ratio = np.where(ratio > noise, ratio, 0.0)
        share = np.minimum(_MOST * ratio, (_SCALE * ratio) ** 1.5).sum(axis=1)
        return shift[:, 0] + np.log(total), shift[:, 0] + np.log(share * total), np.argmax(ratio, axis=1)


def _mean(log_mass: Floats, reward: Floats, t: float, level: float) -> float:
    """Return the mean reward of one tilt."""
    height = tilted(log_mass, reward, t, level)
    top = np.max(height)
    if not np.isfinite(top):
        return 0.0
    weight = np.exp(height - top)
    weight[reward == -np.inf] = 0.0
    offset = np.where(reward > -np.inf, reward, level) - level
    total = np.sum(weight)
    return level + float(np.sum(weight * offset) / total) if total > 0 else level
