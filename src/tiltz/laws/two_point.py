"""Two possible rewards: success or failure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.laws.categorical import Categorical
from tiltz.laws.closed_form import ClosedForm
from tiltz.laws.finite_tilt import FiniteTilt, finite_tilt
from tiltz.laws.parameters import interval, probability, store
from tiltz.laws.tilting import one_beta

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TwoPoint(ClosedForm):
    """The higher of two rewards with probability ``p``, else the lower: ``TwoPoint(p)`` is Bernoulli.

    Attributes
    ----------
    p : float
        Success rate, in [0, 1]; 0 is an impossible prompt, 1 a trivial one.
    low, high : float
        The two rewards.

    Notes
    -----
    Z = (1 - p) exp(low / beta) + p exp(high / beta), at every beta.

    Examples
    --------
    >>> from tiltz.laws import TwoPoint
    >>> TwoPoint(0.1).log_z(0.2).__round__(6)
    2.756289
    """

    p: float
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        low, high = interval(self.low, self.high)
        store(self, p=probability("p", self.p), low=low, high=high)

    @property
    def mean(self) -> float:
        """Mean reward under the reference."""
        return self.low + self.p * (self.high - self.low)

    @property
    def reward_range(self) -> tuple[float, float]:
        """The two rewards."""
        return self.low, self.high

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        return np.where(rng.random(n) < self.p, self.high, self.low)

    def tilted(self, beta: float) -> TwoPoint:
        """Return the law of the reward under the tilted distribution."""
        one = np.array(one_beta(self, beta))
        with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
            p = float(self._tilt(one).tilted[1])
        return TwoPoint(min(p, 1.0), self.low, self.high)

    def negated(self) -> Categorical:
        """Return the law of minus the reward."""
        # Not a TwoPoint: its rate 1 - p would forget a tiny p.
        return Categorical((1.0 - self.p, self.p), (0.0 - self.low, 0.0 - self.high))

    def _kl(self, beta: Floats) -> Floats:
        return self._tilt(beta).kl()

    def _kl_reverse(self, beta: Floats) -> Floats:
        tilt, gain = self._tilt(beta), (self.high - self.low) / beta
        return np.where(tilt.near, tilt.log_from_mean, (1.0 - self.p) * gain + tilt.log_from_top)

    def _log_z(self, beta: Floats) -> Floats:
        tilt = self._tilt(beta)
        return np.where(
            tilt.near, self.mean / beta + tilt.log_from_mean, self.high / beta + tilt.log_from_top
        )

    def _tilt(self, beta: Floats) -> FiniteTilt:
        p = np.float64(self.p)
        return two_point_tilt(np.log(p), np.log1p(-p), (self.high - self.low) / beta)


def two_point_tilt(log_p: Floats, log_q: Floats, gain: Floats) -> FiniteTilt:
    """Return the tilt of two rewards that differ by ``gain`` betas; the arrays broadcast.

    Parameters
    ----------
    log_p, log_q : array
        Log of the rates of success and failure, in nats: a rate may be too small for a float.
    gain : array
        Difference of the two rewards over beta.
    """
    log_p, log_q, gain = np.broadcast_arrays(log_p, log_q, gain)
    return finite_tilt(
        np.stack([log_q, log_p], axis=-1),
        gain=np.stack([-np.exp(log_p) * gain, np.exp(log_q) * gain], axis=-1),
        drop=np.stack([-gain, np.zeros_like(gain)], axis=-1),
    )
