"""Maps of one coordinate: from the working coordinate in which a rule is even to that of the domain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FAR = 230.0  # e^230 is 1e100: squares of such coordinates are still floats
_NEAR = 690.0  # e^-690 is about the smallest distance from an end that is a float


class Axis(Protocol):
    """A smooth increasing or decreasing map from one working coordinate to one coordinate."""

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest working coordinate."""
        ...

    @property
    def closed(self) -> tuple[bool, bool]:
        """Whether the domain ends at each limit, rather than the floats."""
        ...

    def place(self, w: Floats) -> Floats:
        """Return coordinates."""
        ...

    def log_slope(self, w: Floats) -> Floats:
        """Return the log of the absolute derivative."""
        ...

    def find(self, y: Floats) -> Floats:
        """Return working coordinates."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Straight:
    """From w in [0, 1] to an interval with two regular ends, or the line itself."""

    low: float = 0.0
    width: float = 1.0
    bounded: bool = True

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest working coordinate."""
        return (0.0, 1.0) if self.bounded else (-np.inf, np.inf)

    @property
    def closed(self) -> tuple[bool, bool]:
        """Whether the domain ends at each limit."""
        return (self.bounded, self.bounded)

    def place(self, w: Floats) -> Floats:
        """Return coordinates."""
        return self.low + self.width * w

    def log_slope(self, w: Floats) -> Floats:
        """Return the log of the derivative."""
        return np.full(w.shape, np.log(self.width))

    def find(self, y: Floats) -> Floats:
        """Return working coordinates."""
        return (y - self.low) / self.width


@dataclass(frozen=True, slots=True, kw_only=True)
class Sinh:
    """A whole line, y = centre + scale sinh w: straight near the centre, logarithmic far away."""

    centre: float = 0.0
    scale: float = 1.0

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest working coordinate."""
        return (-FAR, FAR)

    @property
    def closed(self) -> tuple[bool, bool]:
        """Whether the domain ends at each limit."""
        return (False, False)

    def place(self, w: Floats) -> Floats:
        """Return coordinates."""
        return self.centre + self.scale * np.sinh(w)

    def log_slope(self, w: Floats) -> Floats:
        """Return the log of the derivative."""
        size = np.abs(w)
        return np.log(self.scale) + size + np.log1p(np.exp(-2 * size)) - np.log(2.0)

    def find(self, y: Floats) -> Floats:
        """Return working coordinates."""
        return np.arcsinh((y - self.centre) / self.scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Growing:
    """A half-line with a regular end, y = end + sign scale (e^w - 1)."""

    end: float
    sign: float = 1.0
    scale: float = 1.0

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest working coordinate."""
        return (0.0, FAR)

    @property
    def closed(self) -> tuple[bool, bool]:
        """Whether the domain ends at each limit."""
        return (True, False)

    def place(self, w: Floats) -> Floats:
        """Return coordinates."""
        return self.end + self.sign * self.scale * np.expm1(w)

    def log_slope(self, w: Floats) -> Floats:
        """Return the log of the absolute derivative."""
        return w + np.log(self.scale)

    def find(self, y: Floats) -> Floats:
        """Return working coordinates."""
        return np.log1p(np.maximum(self.sign * (y - self.end), 0.0) / self.scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometric:
    """A half-line or an interval, y = end + sign scale e^w: every scale near a singular end alike."""

    end: float
    sign: float = 1.0
    scale: float = 1.0
    reach: float = np.inf  # length of the interval

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest working coordinate."""
        return (-_NEAR, FAR if self.reach == np.inf else float(np.log(self.reach / self.scale)))

    @property
    def closed(self) -> tuple[bool, bool]:
        """Whether the domain ends at each limit."""
        return (False, self.reach < np.inf)

    def place(self, w: Floats) -> Floats:
        """Return coordinates."""
        return self.end + self.sign * self.scale * np.exp(w)

    def log_slope(self, w: Floats) -> Floats:
        """Return the log of the absolute derivative."""
        return w + np.log(self.scale)

    def find(self, y: Floats) -> Floats:
        """Return working coordinates."""
        distance = np.maximum(self.sign * (y - self.end) / self.scale, np.exp(-_NEAR))
        return np.log(distance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logistic:
    """An interval with two singular ends, y = low + width / (1 + e^-w)."""

    low: float
    high: float

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest working coordinate."""
        return (-_NEAR, _NEAR)

    @property
    def closed(self) -> tuple[bool, bool]:
        """Whether the domain ends at each limit."""
        return (False, False)

    def place(self, w: Floats) -> Floats:
        """Return coordinates, to full relative precision at an end that is 0."""
        small = np.exp(-np.abs(w))
        part = (self.high - self.low) * small / (1.0 + small)
        return np.where(w < 0, self.low + part, self.high - part)

    def log_slope(self, w: Floats) -> Floats:
        """Return the log of the derivative."""
        size = np.abs(w)
        return np.log(self.high - self.low) - size - 2 * np.log1p(np.exp(-size))

    def find(self, y: Floats) -> Floats:
        """Return working coordinates."""
        tiny = np.exp(-_NEAR)
        return np.log(np.maximum(y - self.low, tiny)) - np.log(np.maximum(self.high - y, tiny))
