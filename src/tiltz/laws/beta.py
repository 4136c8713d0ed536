"""Beta rewards: bounded, with a top that a small beta reaches only slowly."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tiltz.laws.closed_form import ClosedForm
from tiltz.laws.finite_tilt import FiniteTilt, finite_tilt, log_sum_exp
from tiltz.laws.parameters import interval, positive, store

Floats = npt.NDArray[np.float64]

_NEGLIGIBLE = 45.0  # nats: exp(-45) is far below one unit in the last place


@dataclass(frozen=True, slots=True)
class Beta(ClosedForm):
    """A beta reward on [0, 1], or on another interval.

    Attributes
    ----------
    a, b : float
        The two shapes, above 0; ``b`` says how little mass is near the top.
    low, high : float
        Ends of the interval.

    Notes
    -----
    Z = exp(low / beta) 1F1(a, a + b, (high - low) / beta), Kummer's function, at every beta [1]_. It is summed with
    the trapezoidal rule in the logit of the reward, which converges geometrically, and whose terms are all
    positive, so that the divergences keep their digits: right to 1e-12 for shapes up to 1,000. At a small beta,
    log Z is about high / beta - b log((high - low) / beta).

    References
    ----------
    .. [1] NIST Digital Library of Mathematical Functions, 13.4.1 and 13.7.1.

    Examples
    --------
    >>> from tiltz.laws import Beta
    >>> Beta(2, 5).soft_value([0.001, 0.1, 10.0]).round(4)
    array([0.972 , 0.4382, 0.287 ])
    """

    a: float
    b: float
    low: float = field(default=0.0, kw_only=True)
    high: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        low, high = interval(self.low, self.high)
        store(self, a=positive("a", self.a), b=positive("b", self.b), low=low, high=high)

    @property
    def mean(self) -> float:
        """Mean reward under the reference."""
        return self.low + (self.high - self.low) * self.a / (self.a + self.b)

    @property
    def reward_range(self) -> tuple[float, float]:
        """The interval."""
        return self.low, self.high

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        return self.low + (self.high - self.low) * rng.beta(self.a, self.b, n)

    def negated(self) -> Beta:
        """Return the law of minus the reward."""
        return Beta(self.b, self.a, low=0.0 - self.high, high=0.0 - self.low)

    def _kl(self, beta: Floats) -> Floats:
        return self._each(beta, lambda tilt, _: tilt.kl())

    def _kl_reverse(self, beta: Floats) -> Floats:
        from_mean = (self.high - self.low) * self.b / (self.a + self.b)
        return self._each(
            beta,
            lambda tilt, b: np.where(tilt.near, tilt.log_from_mean, from_mean / b + tilt.log_from_top),
        )

    def _log_z(self, beta: Floats) -> Floats:
        return self._each(
            beta,
            lambda tilt, b: np.where(
                tilt.near, self.mean / b + tilt.log_from_mean, self.high / b + tilt.log_from_top
            ),
        )

    def _each(self, beta: Floats, curve: Callable[[FiniteTilt, float], Floats]) -> Floats:
        """Return a curve, beta by beta: each has nodes of its own, so that no answer depends on the others."""
        return np.array([curve(self._tilt(float(b)), float(b)) for b in beta])

    def _tilt(self, beta: float) -> FiniteTilt:
        return BetaNodes(self.a, self.b).tilt((self.high - self.low) / beta)


@dataclass(frozen=True, slots=True)
class BetaNodes:
    """A share in [0, 1] on nodes: of density proportional to share^(a-1) (1-share)^(b-1) exp(pull share).

    Attributes
    ----------
    a, b : float
        The two shapes, above 0.
    pull : float
        How far the law is tilted already, in nats; negative towards 0.
    """

    a: float
    b: float
    pull: float = 0.0

    @property
    def mean_rest(self) -> float:
        """One less the mean share, of relative precision also near the top."""
        logit, log_mass = self._masses(0.0)
        return float(np.exp(log_mass) @ np.exp(-np.logaddexp(0.0, logit)))

    def tilt(self, gain: float) -> FiniteTilt:
        """Return the tilt by ``gain`` times the share, a positive number."""
        logit, log_mass = self._masses(gain)
        share, rest = np.exp(-np.logaddexp(0.0, -logit)), np.exp(-np.logaddexp(0.0, logit))
        mean_share, mean_rest = self.a / (self.a + self.b), self.b / (self.a + self.b)
        if self.pull:
            mean_share, mean_rest = float(np.exp(log_mass) @ share), float(np.exp(log_mass) @ rest)
        offset = np.where(logit < 0, share - mean_share, mean_rest - rest)
        return finite_tilt(log_mass, gain=gain * offset, drop=-gain * rest)

    def _masses(self, gain: float) -> tuple[Floats, Floats]:
        """Return nodes that serve both the law and its tilt, and the log of their masses under the law."""
        logit, log_mass = logit_nodes(
            self.a,
            self.b,
            left=-_NEGLIGIBLE - math.log1p(self.b) - math.log1p(max(-self.pull, 0.0)),
            right=_NEGLIGIBLE + math.log1p(self.a) + math.log1p(gain + abs(self.pull)),
        )
        if self.pull:
            from_end = logit if self.pull > 0 else -logit
            log_mass = log_mass - abs(self.pull) * np.exp(-np.logaddexp(0.0, from_end))
            log_mass -= log_sum_exp(log_mass)
        return logit, log_mass


def logit_nodes(a: float, b: float, *, left: float, right: float) -> tuple[Floats, Floats]:
    """Return nodes for means over a Beta(a, b) variable, and the log-mass of each.

    Parameters
    ----------
    a, b : float
        The shapes.
    left, right : float
        Logits beyond which the integrand no longer changes; the mass beyond lies on the outermost nodes.

    Returns
    -------
    logit, log_mass : array, shape (n_nodes,)
        Nodes ascending, and masses that sum to 1, in nats.

    Notes
    -----
    The trapezoidal rule in the logit. The integrand is analytic up to a distance of pi (pi / 2 for a tilted one)
    from the real line and its peaks are no narrower than 1 / sqrt(max(a, b)), to which the step is fitted.
    """
    step = min(1 / 6, 0.5 / math.sqrt(max(a, b)))
    logit: Floats = step * np.arange(math.floor(left / step), math.ceil(right / step) + 1.0)
    log_mass: Floats = -a * np.logaddexp(0.0, -logit) - b * np.logaddexp(0.0, logit)
    # Beyond the ends the masses are geometric series.
    log_mass[0] -= math.log(-math.expm1(-a * step))
    log_mass[-1] -= math.log(-math.expm1(-b * step))
    log_mass -= log_sum_exp(log_mass)
    return logit, log_mass
