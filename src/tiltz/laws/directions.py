"""Rewards that are the cosine of an angle to a wanted direction: von Mises and von Mises-Fisher references."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.laws.beta import Beta, BetaNodes
from tiltz.laws.closed_form import ClosedForm
from tiltz.laws.finite_tilt import FiniteTilt
from tiltz.laws.parameters import count, number, store
from tiltz.laws.tilting import one_beta

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SphereLinear(ClosedForm):
    """The reward <e, y> of a unit vector y in ``dim`` dimensions, for a unit vector e.

    Attributes
    ----------
    dim : int
        Number of coordinates of y, at least 2: y lies on the sphere S^(dim - 1).
    kappa : float
        Concentration of the reference about e, of density proportional to exp(kappa <e, y>) (von Mises-Fisher); 0
        is uniform on the sphere, and a negative number concentrates about -e.

    Notes
    -----
    With v = dim / 2 - 1, Z = Gamma(v + 1) (2 beta)^v I_v(1 / beta) for kappa = 0 [1]_ [2]_, at every beta; in three
    dimensions log Z = log(sinh(t) / t) with t = 1 / beta. Tilting adds 1 / beta to kappa, so that log Z for another
    kappa is a difference of two such. (<e, y> + 1) / 2 is a beta variable of shapes (dim - 1) / 2, tilted by
    2 kappa; the sums are those of :class:`tiltz.laws.Beta`, right to 1e-12 up to 2,000 dimensions.

    References
    ----------
    .. [1] NIST Digital Library of Mathematical Functions, 10.32.2.
    .. [2] K. V. Mardia, P. E. Jupp, *Directional Statistics*, section 9.3.2.

    Examples
    --------
    >>> import numpy as np
    >>> from tiltz.laws import SphereLinear
    >>> bool(np.isclose(SphereLinear(3).log_z(0.25), np.log(np.sinh(4) / 4), rtol=1e-14))
    True
    """

    dim: int
    kappa: float = 0.0

    def __post_init__(self) -> None:
        store(self, dim=count("dim", self.dim, least=2), kappa=number("kappa", self.kappa))

    @property
    def mean(self) -> float:
        """Mean reward under the reference."""
        return _mean_cosine(self.dim, self.kappa)

    @property
    def reward_range(self) -> tuple[float, float]:
        """From -1 to 1."""
        return -1.0, 1.0

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        return _draw_cosines(self.dim, self.kappa, n, rng)

    def tilted(self, beta: float) -> SphereLinear:
        """Return the law of the reward under the tilted distribution."""
        return SphereLinear(self.dim, self.kappa + 1.0 / one_beta(self, beta))

    def negated(self) -> SphereLinear:
        """Return the law of minus the reward."""
        return SphereLinear(self.dim, 0.0 - self.kappa)

    def _kl(self, beta: Floats) -> Floats:
        return self._each(beta, lambda tilt, _: tilt.kl())

    def _kl_reverse(self, beta: Floats) -> Floats:
        from_top = _mean_shortfall(self.dim, self.kappa)
        return self._each(
            beta, lambda tilt, b: np.where(tilt.near, tilt.log_from_mean, from_top / b + tilt.log_from_top)
        )

    def _log_z(self, beta: Floats) -> Floats:
        mean = self.mean
        return self._each(
            beta,
            lambda tilt, b: np.where(tilt.near, mean / b + tilt.log_from_mean, 1.0 / b + tilt.log_from_top),
        )

    def _each(self, beta: Floats, curve: Callable[[FiniteTilt, float], Floats]) -> Floats:
        """Return a curve, beta by beta: each has nodes of its own, so that no answer depends on the others."""
        half = 0.5 * (self.dim - 1)
        nodes = BetaNodes(half, half, 2.0 * self.kappa)
        return np.array([curve(nodes.tilt(2.0 / float(b)), float(b)) for b in beta])


@dataclass(frozen=True, slots=True)
class VonMisesCos(ClosedForm):
    """The reward cos(y) of an angle y that is von Mises distributed about 0.

    Attributes
    ----------
    kappa : float
        Concentration of the reference; 0 is the uniform circle, and a negative number concentrates about pi.

    Notes
    -----
    log Z = log I_0(kappa + 1 / beta) - log I_0(kappa), at every beta [1]_. It is :class:`tiltz.laws.SphereLinear` in
    two dimensions; the tilted distribution is von Mises with kappa + 1 / beta.

    References
    ----------
    .. [1] K. V. Mardia, P. E. Jupp, *Directional Statistics*, section 3.5.4.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.special import i0
    >>> from tiltz.laws import VonMisesCos
    >>> bool(np.isclose(VonMisesCos(2).log_z(0.5), np.log(i0(4) / i0(2)), rtol=1e-14))
    True
    """

    kappa: float = 0.0

    def __post_init__(self) -> None:
        store(self, kappa=number("kappa", self.kappa))

    @property
    def mean(self) -> float:
        """Mean reward under the reference."""
        return _mean_cosine(2, self.kappa)

    @property
    def reward_range(self) -> tuple[float, float]:
        """From -1 to 1."""
        return -1.0, 1.0

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        return _draw_cosines(2, self.kappa, n, rng)

    def tilted(self, beta: float) -> VonMisesCos:
        """Return the law of the reward under the tilted distribution."""
        return VonMisesCos(self.kappa + 1.0 / one_beta(self, beta))

    def negated(self) -> VonMisesCos:
        """Return the law of minus the reward."""
        return VonMisesCos(0.0 - self.kappa)

    def _on_circle(self) -> SphereLinear:
        return SphereLinear(2, self.kappa)

    def _kl(self, beta: Floats) -> Floats:
        return self._on_circle().kl(beta)

    def _kl_reverse(self, beta: Floats) -> Floats:
        return self._on_circle().kl_reverse(beta)

    def _log_z(self, beta: Floats) -> Floats:
        return self._on_circle().log_z(beta)


def _mean_cosine(dim: int, kappa: float) -> float:
    """Return the mean of <e, y>, of relative precision also for a tiny kappa."""
    if kappa == 0:
        return 0.0
    half = 0.5 * (dim - 1)
    return math.copysign(Beta(half, half, low=-1.0).mean_reward(1.0 / abs(kappa)), kappa)


def _mean_shortfall(dim: int, kappa: float) -> float:
    """Return the mean of 1 - <e, y>, of relative precision also for a huge kappa."""
    if kappa <= 0:
        return 1.0 - _mean_cosine(dim, kappa)
    half = 0.5 * (dim - 1)
    return 2.0 * BetaNodes(half, half, 2.0 * kappa).mean_rest


def _draw_cosines(dim: int, kappa: float, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Return draws of <e, y> by rejection from a beta variable on another scale (A. T. A. Wood, 1994)."""
    strength, free = abs(kappa), dim - 1
    low = free / (2.0 * strength + math.hypot(2.0 * strength, free))
    cut = (1.0 - low) / (1.0 + low)
    total = math.prod(np.broadcast_shapes(n))
    drawn, open_ = np.empty(total), np.arange(total)
    while len(open_):
        share = rng.beta(0.5 * free, 0.5 * free, len(open_))
        cosine = (1.0 - (1.0 + low) * share) / (1.0 - (1.0 - low) * share)
        log_ratio = strength * (cosine - cut) + free * (np.log1p(-cut * cosine) - math.log1p(-cut * cut))
        kept = np.log(rng.random(len(open_))) <= log_ratio
        drawn[open_[kept]] = cosine[kept]
        open_ = open_[~kept]
    return math.copysign(1.0, kappa) * drawn.reshape(np.broadcast_shapes(n))
