"""Local maxima of the tilted density at every tilt, with their shapes: where boxes and proposals must be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.known.integrals.volume.landscape import Landscape, Pool, named_places, tilted

Floats = npt.NDArray[np.float64]

_MOST_TILTS = 12
_MOST_STARTS = 8
_MOST_MODES = 48
_NEGLIGIBLE = 32.0  # nats below the best: a share of 1e-14
_ROUNDS = 60
_GAIN = 1e-12  # nats
_NARROWEST = 4 * float(np.finfo(np.float64).eps)  # width over coordinate that floats resolve
_HIGHEST = 1e200
_NOISE = 256 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """A local maximum.

    Attributes
    ----------
    at : array, shape (d,)
        Unbounded coordinates.
    covariance : array, shape (d, d)
        Of the Gaussian of the same curvature, measured where the log-density has fallen by about half a nat.
    t : float
        The tilt of which it is a maximum.
    height : float
        Log-density there relative to the highest mode of the same tilt, plus that of the volume, in nats.
    """

    at: Floats
    covariance: Floats
    t: float
    height: float

    def distance(self, at: Floats) -> float:
        """Return how many standard deviations away a point is."""
        sd = np.sqrt(np.diag(self.covariance))
        with np.errstate(over="ignore", invalid="ignore"):
            offset = (at - self.at) / sd
            square = offset @ np.linalg.solve(self.covariance / np.outer(sd, sd), offset)
        return float(np.sqrt(max(square, 0.0))) if np.isfinite(square) else np.inf


def find_modes(landscape: Landscape) -> tuple[Mode, ...]:
    """Return the modes that matter at the reference and at every tilt, most of them once, the reference's first.

    Raises
    ------
    InputError
        If no point of positive density was found.

    Notes
    -----
    Not certain: a maximum without a slope that leads to it from any of the several thousand points that are tried is
    missed.
    """
    pool = Pool.of(landscape)
    named = list(landscape.chart.find(named_places(landscape.integrand)))
    kept: list[Mode] = []
    paths: list[Mode] = []
    for t in np.concatenate([[0.0], ranked(landscape.integrand.t)]):
        starts = [*pool.summits(t, _MOST_STARTS), *named, *(mode.at for mode in paths[-_MOST_STARTS:])]
        climbed = [_climb(landscape, t, start) for start in _apart(starts, landscape)]
        found = _important([mode for mode in climbed if mode is not None])
        paths += found
        for mode in found:
            if len(kept) < _MOST_MODES and not any(_same(mode, other) for other in kept):
                kept.append(mode)
    if not kept:
        raise InputError(
            "the reference must have a density above 0 somewhere; none was found at "
            f"{landscape.n_evaluations:,} points. Check the log-density, or say near which points its mass lies."
        )
    return tuple(kept)


def ranked(t: Floats) -> Floats:
    """Return at most twelve of the tilts, spread over their ranks."""
    every = np.unique(t)
    return every[np.unique(np.linspace(0, len(every) - 1, min(len(every), _MOST_TILTS)).round().astype(int))]


def _apart(starts: list[Floats], landscape: Landscape) -> list[Floats]:
    apart: list[Floats] = []
    for start in starts:
        if all(np.max(np.abs(start - other) / landscape.spread) > 1e-9 for other in apart):
            apart.append(start)
    return apart


def _important(modes: list[Mode]) -> list[Mode]:
    """Return distinct modes, highest first, without those that carry nothing; heights become relative."""
    ordered = sorted(modes, key=lambda mode: -mode.height)
    kept: list[Mode] = []
    for mode in ordered:
        low = mode.height < ordered[0].height - _NEGLIGIBLE
        if not low and all(other.distance(mode.at) > 1.0 for other in kept):
            kept.append(mode)
    top = ordered[0].height if ordered else 0.0
    return [Mode(at=m.at, covariance=m.covariance, t=m.t, height=m.height - top) for m in kept]


def _same(mode: Mode, other: Mode) -> bool:
    """Return whether two modes, perhaps of two tilts, need one set of boxes: near each other, and as wide."""
    near = mode.distance(other.at) < 0.7 and other.distance(mode.at) < 0.7
    if not near:
        return False
    sd = np.sqrt(np.diag(other.covariance))
    scale = np.outer(sd, sd)
    ratio = np.linalg.eigvals(np.linalg.solve(other.covariance / scale, mode.covariance / scale)).real
    return bool(np.all((ratio > 0.3) & (ratio < 3.0)))


class _Slope:
    """One tilt of a landscape, relative to a reward nearby so that no digits are lost."""

    def __init__(self, landscape: Landscape, t: float, start: Floats) -> None:
        self.landscape, self.t = landscape, t
        base, reward = (float(part[0]) for part in landscape.values(start[None, :]))
        self.level = reward if np.isfinite(reward) else 0.0
        with np.errstate(over="ignore"):
            size = float(np.minimum(np.abs(base) + np.float64(t) * abs(self.level), _HIGHEST))
        self.rounding = _NOISE * size if np.isfinite(base) else 0.0
        self.fall = 0.5 + self.rounding  # nats that stand out from rounding

    def heights(self, v: Floats) -> Floats:
        base, reward = self.landscape.values(v)
        return tilted(base, reward, self.t, self.level)


def _climb(landscape: Landscape, t: float, start: Floats) -> Mode | None:
    """Climb by Newton steps and by steps of every size along the axes, until neither gains; not from nowhere."""
    slope, at = _Slope(landscape, t, start), start
    width = landscape.spread
    exponents = np.arange(-48, 12)
    if not np.isfinite(slope.heights(at[None, :])[0]):
        return None
    here, curvature = -np.inf, np.eye(len(at))
    for _ in range(_ROUNDS):
        here = float(slope.heights(at[None, :])[0])
        width, best, height = _along_axes(slope, at, here, width, exponents)
        width = np.maximum(width, _NARROWEST * np.maximum(np.abs(at), landscape.spread * 1e-140))
        curvature, gradient = _curvature(slope, at, here, width)
        towards = _newton(slope, at, width * np.linalg.solve(curvature, gradient))
        if towards[1] > height:
            best, height = towards
        # A kink is wanted to the last digit, so that it comes to lie on a face of boxes.
        if not height > here + _GAIN + slope.rounding:
            break
        at, exponents = best, np.arange(-10, 9)
    covariance = np.linalg.inv(curvature) * np.outer(width, width)
    volume = 0.5 * np.linalg.slogdet(covariance)[1]
    # Not from where the climb began, which may be so far that its reward swallows every digit.
    base, reward = landscape.values(at[None, :])
    return Mode(at=at, covariance=covariance, t=t, height=float(tilted(base, reward, t, 0.0)[0] + volume))


def _along_axes(
    slope: _Slope, at: Floats, here: float, width: Floats, exponents: npt.NDArray[np.int64]
) -> tuple[Floats, Floats, float]:
    """Return by how much each axis loses what stands out from rounding, and the highest point with its height."""
    d = len(at)
    steps = width[:, None] * 2.0**exponents
    offsets = np.concatenate([steps, -steps], axis=1)
    points = np.repeat(at[None, :], offsets.size, axis=0)
    points[np.arange(offsets.size), np.repeat(np.arange(d), offsets.shape[1])] += offsets.ravel()
    heights = slope.heights(points)
    best = int(np.argmax(heights))
    # The mean over both sides, so that a steep slope is not taken for a narrow width.
    fall = np.mean((here - heights).reshape(d, 2, len(exponents)), axis=1)
    enough = fall >= slope.fall
    first = np.where(np.any(enough, axis=1), np.argmax(enough, axis=1), len(exponents) - 1)
    lost = np.take_along_axis(fall, first[:, None], axis=1)[:, 0]
    side = width * 2.0 ** exponents[first] * np.sqrt(slope.fall / np.clip(lost, slope.fall, 4 * slope.fall))
    return side, points[best], float(heights[best])


def _curvature(slope: _Slope, at: Floats, here: float, width: Floats) -> tuple[Floats, Floats]:
    """Return minus the second differences, made positive definite, and the first, in units of ``width``."""
    d = len(at)
    unit = np.diag(width)
    i, j = np.triu_indices(d, 1)
    both = unit[i] + unit[j]
    points = at + np.concatenate([unit, -unit, both, -both])
    drop = np.minimum(here - slope.heights(points), _HIGHEST)
    drop = np.where(drop < _HIGHEST, drop, 100 * slope.fall)
    up, down = drop[:d], drop[d : 2 * d]
    matrix = np.diag(up + down)
    pairs = drop[2 * d :].reshape(2, -1)
    matrix[i, j] = (pairs[0] + pairs[1] - (up + down)[i] - (up + down)[j]) / 2
    matrix[j, i] = matrix[i, j]
    values, vectors = np.linalg.eigh(np.where(np.isfinite(matrix), matrix, 0.0))
    values = np.maximum(np.abs(values), 1e-9 * max(float(np.max(np.abs(values))), 1e-3))
    return (vectors * values) @ vectors.T, np.nan_to_num(down - up) / 2


def _newton(slope: _Slope, at: Floats, step: npt.NDArray[np.floating]) -> tuple[Floats, float]:
    """Return the best of several multiples of a step, and its height."""
    points = at + 2.0 ** np.arange(-6, 7)[:, None] * step
    heights = slope.heights(points)
    best = int(np.argmax(heights))
    return points[best], float(heights[best])
