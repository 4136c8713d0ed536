"""Logistic and Gumbel rewards: an exponential upper tail, and an infinite Z at small beta."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from numpy.polynomial.polynomial import polyval

from tiltz.laws.closed_form import ClosedForm
from tiltz.laws.parameters import number, positive, store

Floats = npt.NDArray[np.float64]

_ORDERS = np.arange(2, 62)  # for tail indices up to 1/2 the next term is below one unit in the last place


@dataclass(frozen=True, slots=True)
class Logistic(ClosedForm):
    """A logistic reward, symmetric about its mean.

    Attributes
    ----------
    mean : float
        Mean reward under the reference.
    scale : float
        Above 0; the standard deviation is ``pi * scale / sqrt(3)``.

    Notes
    -----
    log Z = mean / beta + log(pi k / sin(pi k)) with the tail index k = scale / beta [1]_; at k = 1 and above, Z is
    infinite. The divergences are sums of positive terms in k^2 with values of the zeta function [2]_.

    References
    ----------
    .. [1] N. L. Johnson, S. Kotz, N. Balakrishnan, *Continuous Univariate Distributions*, vol. 2, section 23.3.
    .. [2] NIST Digital Library of Mathematical Functions, 5.7.3 and 5.5.3.

    Examples
    --------
    >>> import numpy as np
    >>> from tiltz.laws import Logistic
    >>> bool(np.isclose(Logistic(0, scale=1).log_z(2.0), np.log(np.pi / 2), rtol=1e-14))
    True
    >>> Logistic(0, scale=1).log_z(1.0)
    inf
    """

    mean: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        store(self, mean=number("mean", self.mean), scale=positive("scale", self.scale))

    @property
    def beta_min(self) -> float:
        """Z is infinite at and below this beta."""
        return self.scale

    @property
    def reward_range(self) -> tuple[float, float]:
        """Without bounds."""
        return -math.inf, math.inf

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        return rng.logistic(self.mean, self.scale, n)

    def negated(self) -> Logistic:
        """Return the law of minus the reward."""
        return Logistic(0.0 - self.mean, self.scale)

    def _kl(self, beta: Floats) -> Floats:
        k, rest = _tail_index(self.scale, beta)
        near = np.minimum(k, 0.5) ** 2
        far = 1.0 + np.pi * k / np.tan(np.pi * rest) - np.log(np.pi * k / np.sin(np.pi * rest))
        return np.where(k < 0.5, near * polyval(near, 2.0 * _series()[1][::2]), far)

    def _kl_reverse(self, beta: Floats) -> Floats:
        k, rest = _tail_index(self.scale, beta)
        near = np.minimum(k, 0.5) ** 2
        return np.where(
            k < 0.5, near * polyval(near, 2.0 * _series()[0][::2]), np.log(np.pi * k / np.sin(np.pi * rest))
        )


@dataclass(frozen=True, slots=True)
class Gumbel(ClosedForm):
    """A Gumbel reward of the maximum type: the best of very many draws with exponential tails.

    Attributes
    ----------
    loc : float
        The most probable reward; the mean is higher by 0.5772 ``scale``.
    scale : float
        Above 0; the standard deviation is ``pi * scale / sqrt(6)``. As ``scipy.stats.gumbel_r``.

    Notes
    -----
    log Z = loc / beta + log Gamma(1 - k) with the tail index k = scale / beta [1]_; at k = 1 and above, Z is infinite.
    The divergences are sums of positive terms in k with values of the zeta function [2]_.

    References
    ----------
    .. [1] N. L. Johnson, S. Kotz, N. Balakrishnan, *Continuous Univariate Distributions*, vol. 2, section 22.3.
    .. [2] NIST Digital Library of Mathematical Functions, 5.7.3.

    Examples
    --------
    >>> import numpy as np
    >>> from tiltz.laws import Gumbel
    >>> bool(np.isclose(Gumbel(0, scale=1).log_z(2.0), np.log(np.pi) / 2, rtol=1e-14))
    True
    """

    loc: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        store(self, loc=number("loc", self.loc), scale=positive("scale", self.scale))

    @property
    def mean(self) -> float:
        """Mean reward under the reference."""
        return self.loc + float(np.euler_gamma) * self.scale

    @property
    def beta_min(self) -> float:
        """Z is infinite at and below this beta."""
        return self.scale

    @property
    def reward_range(self) -> tuple[float, float]:
        """Without bounds."""
        return -math.inf, math.inf

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        return rng.gumbel(self.loc, self.scale, n)

    def _kl(self, beta: Floats) -> Floats:
        from scipy import special

        k, rest = _tail_index(self.scale, beta)
        near = np.minimum(k, 0.5)
        far = -k * special.digamma(rest) - special.gammaln(rest)
        return np.where(k < 0.5, near * near * polyval(near, _series()[1]), far)

    def _kl_reverse(self, beta: Floats) -> Floats:
        from scipy import special

        k, rest = _tail_index(self.scale, beta)
        near = np.minimum(k, 0.5)
        far = special.gammaln(rest) - np.euler_gamma * k
        return np.where(k < 0.5, near * near * polyval(near, _series()[0]), far)


def _tail_index(scale: float, beta: Floats) -> tuple[Floats, Floats]:
    """Return k = scale / beta, and 1 - k, exact near the pole."""
    return scale / beta, (beta - scale) / beta


@cache
def _series() -> tuple[Floats, Floats]:
    """Return the coefficients of KL(reference || tilted) and KL(tilted || reference) of a Gumbel, from k^2 on."""
    from scipy import special

    zeta = special.zeta(_ORDERS)
    return zeta / _ORDERS, zeta * (_ORDERS - 1) / _ORDERS
