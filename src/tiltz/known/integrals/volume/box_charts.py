"""The chart in which boxes are cut: maps chosen by how the tilted density ends, unbounded coordinates whitened."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tiltz.known.integrals.volume.axes import Axis, Geometric, Growing, Logistic, Sinh, Straight
from tiltz.known.integrals.volume.charts import Chart
from tiltz.known.integrals.volume.landscape import Landscape, tilted
from tiltz.known.integrals.volume.modes import Mode

Floats = npt.NDArray[np.float64]

_CORRELATED = 0.3  # below, whitening gains little, and kinks along the axes would be turned
_NARROWER = 0.25  # of the variance: then the tilt decides how the axes are turned


def box_chart(landscape: Landscape, modes: tuple[Mode, ...]) -> Chart:
    """Return the chart for boxes around these modes, the reference's highest first."""
    sides, breaks = landscape.integrand.space.sides, landscape.integrand.breaks
    first = modes[0]
    at = landscape.chart.points(first.at[None, :])[0][0]
    sd = np.sqrt(np.diag(first.covariance)) * landscape.chart.slopes(first.at[None, :])[0]
    regular = _regular_ends(landscape, modes)
    axes = tuple(
        _axis(side, regular[i], float(at[i]), float(sd[i]), named=_is_named(breaks, i))
        for i, side in enumerate(sides)
    )
    free = [i for i, axis in enumerate(axes) if isinstance(axis, Sinh) and axis.scale == 1.0]
    return _whitened(axes, free, landscape, modes)


def line_chart(landscape: Landscape, modes: tuple[Mode, ...]) -> Chart:
    """Return a chart from all of R^d without any bend of unbounded coordinates, which are whitened."""
    axes = landscape.chart.axes
    free = [i for i, axis in enumerate(axes) if isinstance(axis, Straight)]
    return _whitened(axes, free, landscape, modes)


def _whitened(
    axes: tuple[Axis, ...], free: list[int], landscape: Landscape, modes: tuple[Mode, ...]
) -> Chart:
    """Return the chart in which some unbounded coordinates are whitened around the first mode."""
    matrix, offset = np.eye(len(axes)), np.zeros(len(axes))
    if free:
        smooth = all(_is_smooth(landscape, modes[0], i) for i in free)
        at = np.array([mode.at[free] for mode in modes])
        covariances = np.array([mode.covariance[np.ix_(free, free)] for mode in modes])
        matrix[np.ix_(free, free)] = _whitening(at, covariances, turn=smooth)
        offset[free] = at[0]
    return Chart(axes=axes, sides=landscape.integrand.space.sides, matrix=matrix, offset=offset)


def _is_smooth(landscape: Landscape, mode: Mode, i: int) -> bool:
    """Return whether the reference has no kink along an axis at its mode: an eighth of the way costs a 64th."""
    step = np.zeros((5, len(mode.at)))
    step[1:, i] = np.array([-1, 1, -0.125, 0.125]) / np.sqrt(np.linalg.inv(mode.covariance)[i, i])
    base = landscape.values(mode.at + step)[0]
    drop = base[0] - base[1:]
    return bool(drop[2] + drop[3] < 0.05 * (drop[0] + drop[1]))


def _is_named(breaks: tuple[Floats, ...], i: int) -> bool:
    return i < len(breaks) and len(breaks[i]) > 0


def _axis(
    side: tuple[float, float], regular: tuple[bool, bool], at: float, sd: float, *, named: bool
) -> Axis:
    """Return the map for one coordinate; an unbounded one without breaks is left to the whitening."""
    low, high = side
    if np.isinf(low) and np.isinf(high):
        # A scale of exactly 1 about 0 marks the free ones.
        return Sinh(centre=at, scale=sd * (1 + 1e-9)) if named else Sinh()
    if np.isinf(high):
        return Growing(end=low, scale=max(at - low, sd)) if regular[0] else Geometric(end=low)
    if np.isinf(low):
        scale = max(high - at, sd)
        return Growing(end=high, sign=-1.0, scale=scale) if regular[1] else Geometric(end=high, sign=-1.0)
    if all(regular):
        return Straight(low=low, width=high - low)
    if regular[1]:
        return Geometric(end=low, scale=high - low, reach=high - low)
    if regular[0]:
        return Geometric(end=high, sign=-1.0, scale=high - low, reach=high - low)
    return Logistic(low=low, high=high)


def _whitening(at: Floats, covariances: Floats, *, turn: bool) -> Floats:
    """Return a root of the first covariance, turned towards the narrowest mode or else to where the modes lie."""
    sd = np.sqrt(np.diag(covariances[0]))
    correlation = covariances[0] / np.outer(sd, sd)
    related = np.max(np.abs(correlation - np.eye(len(sd)))) > _CORRELATED
    root = np.diag(sd) @ (np.linalg.cholesky(correlation) if related else np.eye(len(sd)))
    inverse = np.linalg.inv(root)
    spectra = [np.linalg.eigh(inverse @ covariance @ inverse.T) for covariance in covariances[1:]]
    ratios = [values[0] / values[-1] for values, _ in spectra]
    if ratios and min(ratios) < _NARROWER:
        return root @ spectra[int(np.argmin(ratios))][1]
    offsets = (at[1:] - at[0]) @ inverse.T
    size = np.linalg.norm(offsets, axis=1, keepdims=True)
    if turn and np.any(size > 1.0):
        # Far modes count as much as near ones: each direction once.
        return root @ np.linalg.svd((offsets / np.maximum(size, 1.0)).T)[0]
    return root


def _regular_ends(landscape: Landscape, modes: tuple[Mode, ...]) -> list[tuple[bool, bool]]:
    """Return, per coordinate, whether the tilted density behaves at each finite end like distance^(0, 1, 2, ...)."""
    space = landscape.integrand.space
    start = landscape.chart.points(np.array([mode.at for mode in modes[:8]]))[0]
    tilts = landscape.integrand.tilts
    return [
        (
            _is_regular(landscape, start, i, low, min(high - low, 1.0), tilts),
            _is_regular(landscape, start, i, high, -min(high - low, 1.0), tilts),
        )
        for i, (low, high) in enumerate(space.sides)
    ]


def _is_regular(landscape: Landscape, start: Floats, i: int, end: float, reach: float, tilts: Floats) -> bool:
    if not np.isfinite(end):
        return False
    distance = np.array([1e-3, 1e-6, 1e-9]) * reach
    points = np.repeat(start, len(distance), axis=0)
    points[:, i] = end + np.tile(distance, len(start))
    v = landscape.chart.find(points)
    base, reward = landscape.values(v)
    base = base - landscape.chart.points(v)[1]
    level = float(np.max(reward))
    log_distance = np.log(np.abs(distance))
    for t in tilts:
        height = tilted(base, reward, t, level if np.isfinite(level) else 0.0).reshape(len(start), -1)
        with np.errstate(invalid="ignore"):
            slope = np.diff(height[:, 1:], axis=1)[:, 0] / np.diff(log_distance[1:])
        slope = slope[np.isfinite(slope) & (height[:, -1] > -1e3)]
        wrong = (np.abs(slope - np.round(slope)) > 1e-3) | (slope < -0.5)
        if np.any(wrong):
            return False
    return True
