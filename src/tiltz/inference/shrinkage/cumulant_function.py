"""log E exp(s X) of a standardised law of rewards, from its skewness and kurtosis, as far as those say it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LARGEST_TILT = 1.5
"""Tilts (standard deviation over beta) beyond this were not measured."""

_TOLERANCE = 0.1  # nats between two functions with the same four cumulants
_NEAREST_POLE = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class CumulantFunction:
    """A rational function with the right first four cumulants.

    Attributes
    ----------
    skewness, kurtosis : float
        Of the standardised law; the kurtosis is 0 for a normal law.
    skewness_error, kurtosis_error : float
        Their standard errors.

    Notes
    -----
    s^2/2 / (1 - g s/3 + (g^2/9 - k/12) s^2), a Padé approximant: exact for normal laws. For exponential, Laplace, gamma
    and uniform laws it errs by less than its distance from the series of four terms, and so by less than .1 nats as
    far as ``reach``, where the two are that far apart. It may err by more where higher cumulants are large.

    References
    ----------
    .. [1] G. A. Baker, P. Graves-Morris, *Padé approximants*, 2nd ed., ch. 1.
    """

    skewness: float
    kurtosis: float
    skewness_error: float
    kurtosis_error: float

    def at(self, tilt: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the approximant, its standard error, and its distance from the series of four terms, in nats."""
        value, inverse, apart = _approximant(self.skewness, self.kurtosis, tilt)
        square = tilt * tilt
        by_skewness = (tilt / 3 - (2 * self.skewness / 9) * square) * self.skewness_error
        by_kurtosis = square * (self.kurtosis_error / 12)
        return value, value * inverse * np.sqrt(by_skewness**2 + by_kurtosis**2), apart

    @property
    def reach(self) -> float:
        """The tilt up to which approximant and series stay together, also a standard error away."""
        tilt = np.linspace(0.0, LARGEST_TILT, 301)
        beyond = np.zeros(len(tilt), dtype=bool)
        for skewness in self.skewness + self.skewness_error * np.array([-1.0, 0.0, 1.0]):
            for kurtosis in self.kurtosis + self.kurtosis_error * np.array([0.0, 1.0]):
                _, inverse, apart = _approximant(float(skewness), float(kurtosis), tilt)
                beyond |= (apart > _TOLERANCE) | (inverse >= 1 / _NEAREST_POLE)
        return float(tilt[np.argmax(beyond) - 1]) if np.any(beyond) else LARGEST_TILT


def _approximant(skewness: float, kurtosis: float, tilt: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the approximant, one over its denominator, and its distance from the series with the same cumulants."""
    square = tilt * tilt
    half = 0.5 * square
    denominator = 1 - (skewness / 3) * tilt + (skewness**2 / 9 - kurtosis / 12) * square
    inverse = 1 / np.maximum(denominator, _NEAREST_POLE)
    value = half * inverse
    series = half * (1 + (skewness / 3) * tilt + (kurtosis / 12) * square)
    return value, inverse, np.abs(value - series)
