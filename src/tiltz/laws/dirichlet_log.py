"""Log-probability rewards: weighted logs of Dirichlet, beta, Student t, Pareto and lognormal variables."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.laws.affine import Affine
from tiltz.laws.closed_form import ClosedForm
from tiltz.laws.gamma import Exponential
from tiltz.laws.log_beta_pair import LogBetaPair
from tiltz.laws.normal import Normal
from tiltz.laws.parameters import numbers, positive, store
from tiltz.laws.tilting import one_beta

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DirichletLog(ClosedForm):
    """The reward sum of ``weights * log(y)`` for a Dirichlet variable y.

    Attributes
    ----------
    alpha : tuple of float
        Concentrations, above 0, at least two; given as any sequence.
    weights : tuple of float
        One for each, of either sign.

    Notes
    -----
    log Z = log B(alpha + weights / beta) - log B(alpha) with the multivariate beta function B [1]_, as long as every
    alpha + weights / beta is above 0; at smaller betas Z is infinite. The tilted distribution is the Dirichlet of
    alpha + weights / beta. The reward is a sum of independent ones, the stick-breaking of y into beta variables, whose
    divergences are integrals of positive terms: right to 1e-12 for alpha from 1e-3 to 1,000.

    References
    ----------
    .. [1] S. Kotz, N. Balakrishnan, N. L. Johnson, *Continuous Multivariate Distributions*, vol. 1, chapter 49.
    .. [2] NIST Digital Library of Mathematical Functions, 5.12.1, 5.14.2.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.special import gammaln
    >>> from tiltz.laws import DirichletLog
    >>> alpha, weights = np.array([1, 2.5, 4]), np.array([1, -0.5, 2])
    >>> log_b = lambda x: gammaln(x).sum() - gammaln(x.sum())
    >>> bool(np.isclose(DirichletLog(alpha, weights).log_z(1.0), log_b(alpha + weights) - log_b(alpha), rtol=1e-14))
    True
    """

    alpha: Sequence[float]
    weights: Sequence[float]

    def __post_init__(self) -> None:
        alpha = tuple(positive("each of alpha", a) for a in numbers("alpha", self.alpha))
        weights = numbers("weights", self.weights)
        if len(alpha) != len(weights) or len(alpha) < 2:
            raise InputError(
                f"alpha and weights must have equal lengths of at least 2; found {len(alpha)} and {len(weights)}."
            )
        store(self, alpha=alpha, weights=weights)

    @property
    def mean(self) -> float:
        """Mean reward under the reference."""
        return math.fsum(pair.mean for pair in self._pairs())

    @property
    def beta_min(self) -> float:
        """Z is infinite at and below this beta."""
        return max(max(-w / a, 0.0) for a, w in zip(self.alpha, self.weights, strict=True))

    @property
    def reward_range(self) -> tuple[float, float]:
        """Lowest and highest reward, from that of the y in proportion to the weights."""
        return -_highest([-w for w in self.weights]), _highest(self.weights)

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        shape, alpha = np.broadcast_shapes(n), np.array(self.alpha)
        # Gamma variables of a small shape underflow; their logs, by a larger shape and a power of a uniform, do not.
        logs = np.log(rng.gamma(alpha + 1.0, size=(*shape, len(alpha)))) - rng.exponential(
            1.0 / alpha, size=(*shape, len(alpha))
        )
        top = np.max(logs, axis=-1, keepdims=True)
        logs -= top + np.log(np.sum(np.exp(logs - top), axis=-1, keepdims=True))
        low, high = self.reward_range
        return np.clip(logs @ np.array(self.weights), low, high)

    def tilted(self, beta: float) -> DirichletLog:
        """Return the law of the reward under the tilted distribution."""
        t = 1.0 / one_beta(self, beta)
        alpha = [a + w * t for a, w in zip(self.alpha, self.weights, strict=True)]
        return DirichletLog(alpha, self.weights)

    def negated(self) -> DirichletLog:
        """Return the law of minus the reward."""
        return DirichletLog(self.alpha, [0.0 - w for w in self.weights])

    def _kl(self, beta: Floats) -> Floats:
        return self._sum(beta, lambda pair, b: pair.divergences(b)[0])

    def _kl_reverse(self, beta: Floats) -> Floats:
        return self._sum(beta, lambda pair, b: pair.divergences(b)[1])

    def _log_z(self, beta: Floats) -> Floats:
        return self._sum(beta, LogBetaPair.log_z)

    def _mean_reward(self, beta: Floats) -> Floats:
        return self._sum(beta, LogBetaPair.mean_reward)

    def _sum(self, beta: Floats, curve: Callable[[LogBetaPair, float], float]) -> Floats:
        """Return the sum of a curve over the independent parts, beta by beta."""
        pairs = self._pairs()
        return np.array([math.fsum(curve(pair, float(b)) for pair in pairs) for b in beta])

    def _pairs(self) -> list[LogBetaPair]:
        """Return the sticks: each share of what is left, and the rest, which carries all later weights."""
        return [
            LogBetaPair(a, math.fsum(self.alpha[k:]), w, math.fsum(self.weights[k:]))
            for k, (a, w) in enumerate(zip(self.alpha[:-1], self.weights[:-1], strict=True), start=1)
        ]


def beta_log(a: float, b: float, weight: float = 1.0) -> DirichletLog:
    """Return the law of the reward ``weight * log(y)`` of a Beta(a, b) variable y.

    Parameters
    ----------
    a, b : float
        The two shapes, above 0.
    weight : float
        Of either sign; below 0, Z is infinite at beta <= -weight / a.

    Returns
    -------
    DirichletLog
        With log Z = log B(a + weight / beta, b) - log B(a, b).

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.special import betaln
    >>> from tiltz.laws import beta_log
    >>> bool(np.isclose(beta_log(2, 5).log_z(0.5), betaln(2 + 2, 5) - betaln(2, 5), rtol=1e-14))
    True
    """
    return DirichletLog((a, b), (weight, 0.0))


def student_t_log_quadratic(df: float) -> DirichletLog:
    """Return the law of the reward ``log(1 + y**2 / df)`` of a Student t variable y.

    Parameters
    ----------
    df : float
        Degrees of freedom, above 0.

    Returns
    -------
    DirichletLog
        With log Z = log B(df / 2 - 1 / beta, 1 / 2) - log B(df / 2, 1 / 2) for beta > 2 / df; at smaller ones Z is
        infinite.

    Notes
    -----
    1 / (1 + y^2 / df) is a Beta(df / 2, 1 / 2) variable [1]_.

    References
    ----------
    .. [1] N. L. Johnson, S. Kotz, N. Balakrishnan, *Continuous Univariate Distributions*, vol. 2, section 28.2.

    Examples
    --------
    >>> from tiltz.laws import student_t_log_quadratic
    >>> student_t_log_quadratic(5).log_z([0.5, 0.4]).round(6)
    array([0.980829,      inf])
    """
    return DirichletLog((0.5 * positive("df", df), 0.5), (-1.0, 0.0))


def pareto_log(alpha: float, scale: float = 1.0) -> Affine:
    """Return the law of the reward ``log(y)`` of a Pareto variable y.

    Parameters
    ----------
    alpha : float
        Exponent of the tail: P(y > x) = (scale / x)^alpha for x >= scale.
    scale : float
        Lowest y, above 0.

    Returns
    -------
    Affine
        An exponential reward of rate ``alpha``, from log(scale): log Z = log(scale) / beta - log(1 - 1 / (alpha beta)).

    Examples
    --------
    >>> from tiltz.laws import pareto_log
    >>> pareto_log(3).log_z(0.5).__round__(6)
    1.098612
    """
    return Affine(Exponential(positive("alpha", alpha)), shift=math.log(positive("scale", scale)))


def lognormal_log(mean: float = 0.0, sd: float = 1.0) -> Normal:
    """Return the law of the reward ``log(y)`` of a lognormal variable y.

    Parameters
    ----------
    mean, sd : float
        Mean and standard deviation of log(y), not of y.

    Returns
    -------
    Normal
        Of that mean and standard deviation.

    Examples
    --------
    >>> from tiltz.laws import lognormal_log
    >>> lognormal_log(0, 1).log_z(2.0)
    0.125
    """
    return Normal(mean, sd)


def _highest(weights: Sequence[float]) -> float:
    """Return the supremum of the sum of weights * log(y), attained at y in proportion to the weights."""
    if min(weights) < 0:
        return math.inf
    total = math.fsum(weights)
    return math.fsum(w * math.log(w / total) for w in weights if w > 0)
