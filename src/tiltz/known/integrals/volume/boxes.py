"""Boxes: how a domain is cut so that near every mode they are as small as it is narrow, and grow with the distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.known.integrals.volume.axes import Growing, Sinh
from tiltz.known.integrals.volume.charts import Chart
from tiltz.known.integrals.volume.landscape import Landscape
from tiltz.known.integrals.volume.modes import Mode

Floats = npt.NDArray[np.float64]

_CORE = 3.0  # half-width of the innermost box, in standard deviations
_GRADE = 4.0  # by which half-widths grow from shell to shell
_WHOLE = 10.0  # standard deviations about every mode that the first boxes contain


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes:
    """Disjoint boxes.

    Attributes
    ----------
    low, high : array, shape (n_boxes, d)
        Corners.
    """

    low: Floats
    high: Floats

    def cut(self, axis: int, at: float, within: tuple[Floats, Floats]) -> Boxes:
        """Return the boxes, those that meet an open region cut at a plane."""
        meets = np.all((self.low < within[1]) & (self.high > within[0]), axis=1)
        through = meets & (self.low[:, axis] < at) & (at < self.high[:, axis])
        low, high = self.low[through].copy(), self.high[through].copy()
        low[:, axis], high[:, axis] = at, at
        return Boxes(
            low=np.concatenate([self.low[~through], self.low[through], low]),
            high=np.concatenate([self.high[~through], high, self.high[through]]),
        )

    def carve(self, low: Floats, high: Floats) -> Boxes:
        """Return the boxes cut along the faces of a region."""
        boxes = self
        for axis in range(len(low)):
            boxes = boxes.cut(axis, float(low[axis]), (low, high))
            boxes = boxes.cut(axis, float(high[axis]), (low, high))
        return boxes

    def halves(self, axis: npt.NDArray[np.int64]) -> Boxes:
        """Return every box cut in the middle of an axis of its own."""
        rows = np.arange(len(axis))
        middle = (self.low[rows, axis] + self.high[rows, axis]) / 2
        low, high = self.low.copy(), self.high.copy()
        low[rows, axis], high[rows, axis] = middle, middle
        return Boxes(low=np.concatenate([self.low, low]), high=np.concatenate([high, self.high]))


def first_boxes(landscape: Landscape, modes: tuple[Mode, ...], chart: Chart) -> Boxes:
    """Return boxes around all modes, cut at breaks and carved in shells around every mode."""
    at, sd = in_chart(landscape, modes, chart)
    limits = np.array([axis.limits for axis in chart.axes])
    closed = np.array([axis.closed for axis in chart.axes])
    # A logarithmic axis is measured in its own coordinate: in the other one everything is near its end.
    reach = _WHOLE * sd
    bent = np.array([isinstance(axis, Sinh | Growing) for axis in chart.axes])
    below = np.where(bent, chart.shifted(at, -reach * chart.slopes(at)), at - reach)
    above = np.where(bent, chart.shifted(at, reach * chart.slopes(at)), at + reach)
    low = np.where(closed[:, 0], limits[:, 0], np.min(np.minimum(below, at - sd), axis=0))
    high = np.where(closed[:, 1], limits[:, 1], np.max(np.maximum(above, at + sd), axis=0))
    low, high = np.maximum(low, limits[:, 0]), np.minimum(high, limits[:, 1])
    boxes = Boxes(low=low[None, :], high=high[None, :])
    for axis, breaks in enumerate(landscape.integrand.breaks):
        points = np.repeat(chart.points(at[:1])[0], len(breaks), axis=0)
        points[:, axis] = breaks
        for place in chart.find(points)[:, axis] if len(breaks) else ():
            boxes = boxes.cut(axis, float(place), (low, high))
    for centre, width in zip(at, sd, strict=True):
        boxes = _carved(boxes, centre, width, (low, high))
    return boxes


def _carved(boxes: Boxes, centre: Floats, width: Floats, whole: tuple[Floats, Floats]) -> Boxes:
    """Return boxes carved in shells around one mode, the widest first."""
    far = np.maximum(whole[1] - centre, centre - whole[0]) / (_CORE * width)
    n_shells = int(np.clip(np.ceil(np.log(np.max(far)) / np.log(_GRADE)), 1, 40))
    for size in _CORE * _GRADE ** np.arange(n_shells - 1, -1, -1):
        low, high = centre - size * width, centre + size * width
        # A cut next to a face would leave a sliver.
        low = np.where(low - whole[0] < 0.3 * size * width, whole[0], low)
        high = np.where(whole[1] - high < 0.3 * size * width, whole[1], high)
        boxes = boxes.carve(low, high)
    return boxes


def in_chart(landscape: Landscape, modes: tuple[Mode, ...], chart: Chart) -> tuple[Floats, Floats]:
    """Return the modes' places and standard deviations in working coordinates, shapes (n_modes, d)."""
    v = np.array([mode.at for mode in modes])
    at = chart.find(landscape.chart.points(v)[0])
    inverse = np.linalg.inv(chart.matrix)
    to_y = landscape.chart.slopes(v)
    covariances = np.array([mode.covariance for mode in modes])
    in_x = inverse @ (covariances * to_y[:, :, None] * to_y[:, None, :]) @ inverse.T
    sd = np.sqrt(np.einsum("kii->ki", in_x)) / chart.slopes(at)
    return at, np.maximum(sd, 1e-13 * np.maximum(np.abs(at), 1e-3))
