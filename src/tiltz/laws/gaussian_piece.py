"""A piece of the standard normal law and its tilts, by integrals taken from the peaks of the densities."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.laws.finite_tilt import FiniteTilt, finite_tilt, log_sum_exp

Floats = npt.NDArray[np.float64]

_NATS = 200.0  # depth to which a density is followed: a tilt that is near moves no more than e^-45 beyond
_PANELS = 20
_GAUSS = tuple(np.polynomial.legendre.leggauss(16))
_REJECTING = 3.0  # slope at the peak from which on draws are those of an exponential, some of them rejected


@dataclass(frozen=True, slots=True)
class GaussianPiece:
    """The standard normal law within [a, b]; every tilt ``s`` is in units of one over the standard deviation.

    Attributes
    ----------
    a, b : float
        The limits, infinite where open.
    """

    a: float
    b: float

    @property
    def peak(self) -> float:
        """Where the density is highest."""
        return min(max(0.0, self.a), self.b)

    @property
    def mean_from_peak(self) -> float:
        """The mean less the peak."""
        return self._moments(0.0)[1]

    def is_near(self, s: Floats) -> npt.NDArray[np.bool_]:
        """Return where the tilt is small, so that curves are measured from the mean."""
        return np.array([bool(self._tilt(float(each)).near) for each in s])

    def kl(self, s: Floats) -> Floats:
        """Return KL(tilted || reference), in nats."""
        return np.array([self._kl(float(each)) for each in s])

    def kl_reverse(self, s: Floats) -> Floats:
        """Return KL(reference || tilted), in nats."""
        return np.array([self._kl_reverse(float(each)) for each in s])

    def log_z_from_peak(self, s: Floats) -> Floats:
        """Return log Z of the distance from the peak of the reference, in nats."""
        return np.array([self._log_z_from_peak(float(each)) for each in s])

    def tilted_mean(self, s: Floats) -> tuple[Floats, Floats]:
        """Return the peak of each tilted density, and its mean less that peak."""
        offset = np.array([self._moments(float(each))[1] for each in s])
        return np.clip(s, self.a, self.b), offset

    def _kl(self, s: float) -> float:
        tilt = self._tilt(s)
        if tilt.near:
            return float(tilt.kl())
        peak = min(max(s, self.a), self.b)
        (log_mass, mean), (log_mass_0, _) = self._moments(s), self._moments(0.0)
        return s * mean + 0.5 * (peak - self.peak) * (peak + self.peak) - (log_mass - log_mass_0)

    def _kl_reverse(self, s: float) -> float:
        tilt = self._tilt(s)
        if tilt.near:
            return float(tilt.log_from_mean)
        return self._log_z_from_peak(s) - s * self.mean_from_peak

    def _log_z_from_peak(self, s: float) -> float:
        peak = min(max(s, self.a), self.b)
        move = peak - self.peak
        log_mass, log_mass_0 = self._moments(s)[0], self._moments(0.0)[0]
        # With the slope s - (peak + own peak) / 2 in two halves, of which the first is 0 for a peak between the limits.
        return move * ((s - peak) + 0.5 * move) + log_mass - log_mass_0

    def _moments(self, s: float) -> tuple[float, float]:
        """Return the log of the integral of the tilted density over its peak, and its mean less the peak."""
        offset, log_mass = self._nodes(s)
        total = float(log_sum_exp(log_mass))
        return total, float(np.dot(np.exp(log_mass - total), offset))

    def _tilt(self, s: float) -> FiniteTilt:
        offset, log_mass = self._nodes(0.0)
        log_mass = log_mass - log_sum_exp(log_mass)
        gain = s * (offset - np.dot(np.exp(log_mass), offset))
        return finite_tilt(log_mass, gain=gain, drop=gain)

    def _nodes(self, s: float) -> tuple[Floats, Floats]:
        """Return distances from the peak of the tilted density, and the log of their masses relative to it."""
        peak = min(max(s, self.a), self.b)
        slope = s - peak
        left, right = max(self.a - peak, -_reach(slope)), min(self.b - peak, _reach(-slope))
        points, weights = _GAUSS
        edges = np.linspace(left, right, _PANELS + 1)
        half = 0.5 * np.diff(edges)[:, None]
        offset = (edges[:-1, None] + half * (1.0 + points)).ravel()
        return offset, np.log((half * weights).ravel()) + offset * (slope - 0.5 * offset)


def draw_piece(piece: GaussianPiece, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Return independent draws, less the peak, of shape ``n``.

    Parameters
    ----------
    piece : GaussianPiece
        The law.
    n : int or tuple of int
        How many, or of which shape.
    rng : numpy.random.Generator
        Source of the draws.
    """
    size = np.broadcast_shapes(n)
    steepness, sign = (piece.a, 1.0) if piece.a > 0 else (-piece.b, -1.0)
    total = math.prod(size)
    if steepness < _REJECTING:
        return _by_quantile(piece, rng.random(total)).reshape(size) - piece.peak
    drawn = np.empty(total)
    open_ = np.arange(total)
    width = piece.b - piece.a
    while len(open_):
        step = -np.log1p(rng.random(len(open_)) * np.expm1(-steepness * width)) / steepness
        kept = rng.random(len(open_)) < np.exp(-0.5 * step * step)
        drawn[open_[kept]] = sign * step[kept]
        open_ = open_[~kept]
    return drawn.reshape(size)


def _by_quantile(piece: GaussianPiece, share: Floats) -> Floats:
    from scipy.special import ndtr, ndtri

    # In the lower tail, where the distribution function has the more digits.
    sign = 1.0 if abs(piece.a) > abs(piece.b) else -1.0
    low, high = (piece.a, piece.b) if sign > 0 else (-piece.b, -piece.a)
    return sign * np.clip(ndtri(ndtr(low) + share * (ndtr(high) - ndtr(low))), low, high)


def _reach(slope: float) -> float:
    """Return how far to the left of a peak with this slope the density falls by so many nats."""
    slope = max(slope, 0.0)
    return 2.0 * _NATS / (slope + math.hypot(slope, math.sqrt(2.0 * _NATS)))
