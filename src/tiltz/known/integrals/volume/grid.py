"""Shifted grids: for a density that is smooth on all of R^d sums over a grid converge exponentially in its spacing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.known.integrals.integrand import Integrand, Nodes
from tiltz.known.integrals.volume.box_charts import line_chart
from tiltz.known.integrals.volume.boxes import in_chart
from tiltz.known.integrals.volume.charts import Chart
from tiltz.known.integrals.volume.gathering import Part, error_of_log, gathered
from tiltz.known.integrals.volume.landscape import Landscape, tilted
from tiltz.known.integrals.volume.modes import Mode

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_SPACINGS = (1.0, 0.8, 0.62, 0.48, 0.36)  # in standard deviations of the narrowest mode
_SHIFTS = (
    np.outer(np.arange(1, 5), np.sqrt([2.0, 3.0, 5.0, 7.0])) % 1.0
)  # in spacings; no wave is alike at all four
_MARGIN = 6.0  # nats below the tolerance at which a grid ends
_AT_ONCE = 1 << 16
_MOST = 2_000_000  # points of one set of grids


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Boxes around the modes, in the coordinates of a chart, and the narrowest standard deviation per axis.

    Attributes
    ----------
    chart : Chart
        Of the coordinates.
    low, high : array, shape (n_modes, d)
        Corners; the boxes overlap.
    width : array, shape (d,)
        Standard deviation of the narrowest mode.
    """

    chart: Chart
    low: Floats
    high: Floats
    width: Floats

    def cells(self, spacing: float) -> tuple[Ints, npt.NDArray[np.bool_]] | None:
        """Return the cells of one grid that meet any box, shape (n_cells, d), and which are at the outside."""
        step = spacing * self.width
        first = np.floor((self.low - self.low[0]) / step)
        count = np.ceil((self.high - self.low) / step) + 1
        if np.sum(np.prod(count, axis=1)) > _MOST / len(_SHIFTS):
            return None
        boxes = [_box(*corner) for corner in zip(first.astype(np.int64), count.astype(np.int64), strict=True)]
        cells = np.concatenate([box[0] for box in boxes])
        lowest, size = cells.min(axis=0), np.ptp(cells, axis=0) + 1
        if np.prod(size.astype(np.float64)) > 2.0**62:
            return None
        keys = (cells - lowest) @ np.append(np.cumprod(size[::-1])[-2::-1], 1)
        _, one, place = np.unique(keys, return_index=True, return_inverse=True)
        inside = np.zeros(len(one), dtype=bool)
        inside[place.ravel()[np.concatenate([box[1] for box in boxes])]] = True
        return cells[one], ~inside


def _box(first: Ints, count: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Return the cells of a box, and which are not on its faces."""
    index = np.indices(tuple(count)).reshape(len(count), -1)
    inside = np.all((index > 0) & (index < count[:, None] - 1), axis=0)
    return first + index.T, inside


def grid_nodes(landscape: Landscape, modes: tuple[Mode, ...], tolerance: float) -> tuple[Nodes | None, bool]:
    """Return the nodes of four shifted grids, None where they would be too large, and whether all four agree.

    Parameters
    ----------
    landscape : Landscape
        Density and reward, unbounded coordinates.
    modes : tuple of Mode
        Of the reference and of every tilt.
    tolerance : float
        In nats.

    Returns
    -------
    tuple of (Nodes or None, bool)
        The error is the range of the four sums, twice, with what lies on the faces: an error that the shifts leave
        alike in all four is of higher order.

    References
    ----------
    .. [1] L. N. Trefethen, J. A. C. Weideman, "The exponentially convergent trapezoidal rule", SIAM Review 56
       (2014), 385-458.
    """
    integrand = landscape.integrand
    if any(len(breaks) for breaks in integrand.breaks):
        return None, False
    extent = _extent(landscape, modes, _MARGIN - np.log(tolerance))
    if extent is None:
        return None, False
    level = landscape.level([mode.at for mode in modes])
    best: Nodes | None = None
    least = np.inf
    for spacing in _SPACINGS:
        cells = extent.cells(spacing)
        left = integrand.max_evaluations - landscape.n_evaluations
        if cells is None or len(_SHIFTS) * len(cells[0]) > left:
            break
        sums = _Sums.of(integrand, extent, spacing, cells, level)
        landscape.n_evaluations += sums.reward.size
        nodes, excess = sums.nodes(tolerance, landscape.n_evaluations)
        if excess < 1.0:
            return nodes, True
        if excess > 0.3 * least:
            break
        best, least = nodes, excess
    return best, False


def _extent(landscape: Landscape, modes: tuple[Mode, ...], fall: float) -> Extent | None:
    """Return where grids reach: along every axis to where every tilt has fallen off."""
    chart = line_chart(landscape, modes)
    at, sd = in_chart(landscape, modes, chart)
    low, high = at - 4 * sd, at + 4 * sd
    steps = 2.0 ** np.arange(2, 6.5, 0.125)
    for k, mode in enumerate(modes):
        for axis in range(at.shape[1]):
            for sign, side in ((-1, low), (1, high)):
                reach = _reach(landscape, chart, mode, at[k], axis, sign * sd[k, axis] * steps, fall)
                if reach is None:
                    return None
                side[k, axis] = sign * max(sign * side[k, axis], sign * (at[k, axis] + reach))
    inverse = np.asarray(np.linalg.inv(chart.matrix), dtype=np.float64)
    precision = np.array([np.diag(np.linalg.inv(_moved(inverse, mode))) for mode in modes])
    return Extent(chart=chart, low=low, high=high, width=np.min(precision**-0.5, axis=0))


def _moved(inverse: Floats, mode: Mode) -> Floats:
    """Return a mode's covariance in the coordinates of a chart whose axes are those of the landscape."""
    return inverse @ mode.covariance @ inverse.T


def _reach(
    landscape: Landscape, chart: Chart, mode: Mode, at: Floats, axis: int, steps: Floats, fall: float
) -> float | None:
    """Return the first of several steps along an axis at which a tilt has fallen off, None if at none."""
    points = np.repeat(at[None, :], len(steps) + 1, axis=0)
    points[1:, axis] += steps
    base, reward = landscape.values(landscape.chart.find(chart.points(points)[0]))
    level = reward[0] if np.isfinite(reward[0]) else 0.0
    height = tilted(base, reward, mode.t, level)
    fallen = height[1:] < height[0] - fall
    return float(steps[np.argmax(fallen)]) if np.any(fallen) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """Four shifted grids with their values, shapes (4, n_points), and the sums over each."""

    integrand: Integrand
    extent: Extent
    spacing: float
    cells: Ints
    on_face: npt.NDArray[np.bool_]
    level: float
    log_mass: Floats
    reward: Floats

    @classmethod
    def of(
        cls,
        integrand: Integrand,
        extent: Extent,
        spacing: float,
        cells: tuple[Ints, npt.NDArray[np.bool_]],
        level: float,
    ) -> _Sums:
        shape = (len(_SHIFTS), len(cells[0]))
        sums = cls(
            integrand=integrand,
            extent=extent,
            spacing=spacing,
            cells=cells[0],
            on_face=cells[1],
            level=level,
            log_mass=np.empty(shape),
            reward=np.empty(shape),
        )
        log_weight = float(np.sum(np.log(spacing * extent.width))) - np.log(len(_SHIFTS))
        for shift in range(shape[0]):
            for first in range(0, shape[1], _AT_ONCE):
                some = slice(first, min(first + _AT_ONCE, shape[1]))
                y, log_volume = extent.chart.points(sums.places(shift, some))
                log_density = integrand.log_density_at(y)
                log_density = np.where(log_density < np.inf, log_density, -np.inf)
                sums.log_mass[shift, some] = log_density + log_volume + log_weight
                sums.reward[shift, some] = integrand.reward_at(y)
        return sums

    def places(self, shift: int, some: slice) -> Floats:
        """Return grid points in the coordinates of the chart."""
        step = self.spacing * self.extent.width
        return self.extent.low[0] + (self.cells[some] + _SHIFTS[shift, : len(step)]) * step

    def nodes(self, tolerance: float, n_evaluations: int) -> tuple[Nodes, float]:
        """Return the nodes, and by how much the sums disagree, over what tolerance and rounding allow."""
        tilts = self.integrand.tilts
        found = [self._tilted(t) for t in tilts]
        log_total, disagreement, spread = (np.array(column) for column in zip(*found, strict=True))
        log_mass, reward, at, noise = gathered(self._parts(), tilts, self.level, log_total)
        error = 2 * disagreement + noise
        excess = np.max(2 * np.maximum(disagreement, spread / 10) / (tolerance + noise))
        nodes = Nodes(
            log_mass=log_mass,
            reward=reward,
            error=error_of_log(error[1:]),
            mass_error=float(error[0] * np.exp(log_total[0])),
            at=at,
            n_evaluations=n_evaluations,
        )
        return nodes, float(excess)

    def _tilted(self, t: float) -> tuple[float, float, float]:
        """Return the log of a tilt's integral, by how much the grids disagree on it, and on its spread in reward."""
        height = tilted(self.log_mass, self.reward, t, self.level)
        top = float(np.max(height))
        if not np.isfinite(top):
            return -np.inf, 0.0, 0.0
        mass = np.exp(height - top)
        total = float(np.sum(mass))
        offset = np.where(self.reward > -np.inf, self.reward - self.level, 0.0)
        squared = mass * (offset - np.sum(mass * offset) / total) ** 2
        on_face = np.sum(mass[:, self.on_face]) / total
        return top + np.log(total), _disagreement(mass) + 5 * float(on_face), _disagreement(squared)

    def _parts(self) -> Iterator[Part]:
        half = self.extent.width
        for shift in range(len(_SHIFTS)):
            w = self.places(shift, slice(None))
            y = self.extent.chart.points(w)[0]
            yield Part(
                log_mass=self.log_mass[shift],
                reward=self.reward[shift],
                rounding=self.extent.chart.rounding(w, y, np.broadcast_to(half, w.shape)),
                places=y.__getitem__,
            )


def _disagreement(values: Floats) -> float:
    """Return the range of the grids' sums over their mean."""
    sums = np.sum(values, axis=1)
    mean = float(np.mean(sums))
    return float(np.ptp(sums)) / mean if mean > 0 else 0.0
