"""Maps between coordinates and those in which a rule works: axis by axis, then a shear of the unbounded ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.known.integrals.volume.axes import Axis, Geometric, Logistic, Straight

Floats = npt.NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Working coordinates w to coordinates y = matrix x + offset, with x_i = axis_i(w_i).

    Attributes
    ----------
    axes : tuple of Axis
        One per coordinate.
    sides : tuple of (float, float)
        Of the domain; coordinates stay strictly inside.
    matrix : array, shape (d, d)
        Mixes unbounded coordinates only.
    offset : array, shape (d,)
        Added after.
    """

    axes: tuple[Axis, ...]
    sides: tuple[tuple[float, float], ...]
    matrix: Floats
    offset: Floats

    @classmethod
    def of(cls, axes: tuple[Axis, ...], sides: tuple[tuple[float, float], ...]) -> Chart:
        """Return a chart that mixes nothing."""
        return cls(axes=axes, sides=sides, matrix=np.eye(len(axes)), offset=np.zeros(len(axes)))

    def points(self, w: Floats) -> tuple[Floats, Floats]:
        """Return coordinates, shape (m, d), and the log of the volume element, shape (m,)."""
        with np.errstate(over="ignore", under="ignore"):
            x = np.stack([axis.place(w[:, i]) for i, axis in enumerate(self.axes)], axis=1)
            log_volume = sum(axis.log_slope(w[:, i]) for i, axis in enumerate(self.axes))
            y = x if np.array_equal(self.matrix, np.eye(len(self.axes))) else x @ self.matrix.T
        low, high = np.array(self.sides).T
        y = np.clip(y + self.offset, np.nextafter(low, np.inf), np.nextafter(high, -np.inf))
        return y, log_volume + np.linalg.slogdet(self.matrix)[1]

    def find(self, y: Floats) -> Floats:
        """Return working coordinates of shape (m, d)."""
        x = np.asarray(np.linalg.solve(self.matrix, (y - self.offset).T).T, dtype=np.float64)
        return np.stack([axis.find(x[:, i]) for i, axis in enumerate(self.axes)], axis=1)

    def slopes(self, w: Floats) -> Floats:
        """Return |dx / dw|, shape (m, d)."""
        with np.errstate(over="ignore", under="ignore"):
            return np.exp(np.stack([axis.log_slope(w[:, i]) for i, axis in enumerate(self.axes)], axis=1))

    def shifted(self, w: Floats, by: Floats) -> Floats:
        """Return working coordinates, shape (m, d), after a step in x = axis(w); it stops at an end."""
        with np.errstate(over="ignore", under="ignore"):
            moved = [axis.find(axis.place(w[:, i]) + by[:, i]) for i, axis in enumerate(self.axes)]
        low, high = np.array([axis.limits for axis in self.axes]).T
        return np.clip(np.stack(moved, axis=1), low, high)

    def rounding(self, w: Floats, y: Floats, half: Floats) -> Floats:
        """Return the relative error of a density made by the rounding of coordinates, shape (m,), at most 1.

        ``half`` is about how wide the density is in working coordinates, shape (m, d).
        """
        width = (half * self.slopes(w)) @ np.abs(self.matrix).T
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            relative = np.where(width > 0, np.abs(y) / width, 1.0 / _EPS)
            return np.minimum(4 * (self._coarseness(y) + _EPS * np.sum(relative, axis=1)), 1.0)

    def _coarseness(self, y: Floats) -> Floats:
        """Return the relative rounding of the distance to a singular end, summed over coordinates."""
        total = np.zeros(len(y))
        for i, axis in enumerate(self.axes):
            if isinstance(axis, Geometric | Logistic):
                ends = [end for end in self.sides[i] if np.isfinite(end) and end != 0.0]
                for end in ends:
                    total += _EPS * np.abs(end) / np.maximum(np.abs(y[:, i] - end), _EPS * np.abs(end))
        return total


def unbounded_chart(sides: tuple[tuple[float, float], ...]) -> Chart:
    """Return a chart from all of R^d onto the domain."""
    return Chart.of(tuple(_unbounded_axis(low, high) for low, high in sides), sides)


def _unbounded_axis(low: float, high: float) -> Axis:
    if np.isfinite(low) and np.isfinite(high):
        return Logistic(low=low, high=high)
    if np.isfinite(low):
        return Geometric(end=low)
    if np.isfinite(high):
        return Geometric(end=high, sign=-1.0)
    return Straight(bounded=False)
