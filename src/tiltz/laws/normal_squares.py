"""Weighted squares of independent normal variables: what every quadratic reward of normal variables comes to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.laws.series import x_minus_log1p

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NormalSquares:
    """The reward ``constant + sum(curvature z^2 + slope z)`` of independent standard normal z.

    Attributes
    ----------
    constant : float
        In units of reward.
    curvature, slope : array, shape (n_parts,)
        In units of reward.

    Notes
    -----
    With q = 1 - 2 curvature / beta, u = 1 / q - 1 and x = q - 1, a part has

    - kl_reverse = (x - log1p(x)) / 2 + slope^2 / (2 beta^2 q),
    - kl = (u - log1p(u)) / 2 + slope^2 / (2 beta^2 q^2),

    each a sum of terms above 0. A part that is bounded above is, at a small beta, measured from its highest reward,
    the ``peak`` slope^2 / (-4 curvature).
    """

    constant: float
    curvature: Floats
    slope: Floats

    @property
    def mean(self) -> float:
        """Mean reward."""
        return self.constant + float(np.sum(self.curvature))

    @property
    def beta_min(self) -> float:
        """Z is infinite at and below this beta."""
        return 2.0 * max(0.0, float(np.max(self.curvature, initial=0.0)))

    @property
    def reward_range(self) -> tuple[float, float]:
        """Lowest and highest possible reward."""
        return -self._highest(-1.0), self._highest(1.0)

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards."""
        reward = np.full(n, self.constant)
        for curvature, slope in zip(self.curvature, self.slope, strict=True):
            z = rng.standard_normal(n)
            reward += (curvature * z + slope) * z
        return np.clip(reward, *self.reward_range)

    def kl(self, beta: Floats) -> Floats:
        """Return KL(tilted || reference), in nats, shape (n_betas,)."""
        b = beta[:, None]
        distance = b - 2.0 * self.curvature
        u = 2.0 * self.curvature / distance
        squares = np.where(np.abs(u) < 0.5, x_minus_log1p(u), u + self._log_q(b))
        return 0.5 * np.sum(squares + (self.slope / distance) ** 2, axis=-1)

    def kl_reverse(self, beta: Floats) -> Floats:
        """Return KL(reference || tilted), in nats, shape (n_betas,)."""
        return np.sum(self._from_mean(beta[:, None]), axis=-1)

    def log_z(self, beta: Floats) -> Floats:
        """Return log Z, in nats, shape (n_betas,)."""
        b = beta[:, None]
        from_peak = -0.5 * self._log_q(b) - self._peak() / (b - 2.0 * self.curvature)
        parts = np.where(self._far(b), from_peak, self._from_mean(b))
        return self._origin(b) / beta + np.sum(parts, axis=-1)

    def mean_reward(self, beta: Floats) -> Floats:
        """Return the mean reward under the tilted distribution, shape (n_betas,)."""
        b = beta[:, None]
        distance = b - 2.0 * self.curvature
        over_q = b / distance
        from_peak = self.curvature * over_q - self._peak() * over_q * over_q
        bend = 2.0 * self.curvature * (self.curvature / distance)
        from_mean = bend + 0.5 * self.slope * (self.slope / distance) * (1.0 + over_q)
        return self._origin(b) + np.sum(np.where(self._far(b), from_peak, from_mean), axis=-1)

    def tilted_parts(self, beta: float) -> tuple[Floats, Floats]:
        """Return the mean and the variance of each z under the tilted distribution."""
        distance = beta - 2.0 * self.curvature
        return self.slope / distance, beta / distance

    def _highest(self, sign: float) -> float:
        """Return the highest of ``sign`` times the reward."""
        curvature = sign * self.curvature
        if np.any((curvature > 0) | ((curvature == 0) & (self.slope != 0))):
            return np.inf
        bent = curvature < 0
        return sign * self.constant + float(np.sum(self.slope[bent] ** 2 / (-4.0 * curvature[bent])))

    def _from_mean(self, b: Floats) -> Floats:
        x = -2.0 * self.curvature / b
        squares = np.where(np.abs(x) < 0.5, x_minus_log1p(x), x - self._log_q(b))
        return 0.5 * (squares + (self.slope / b) * (self.slope / (b - 2.0 * self.curvature)))

    def _log_q(self, b: Floats) -> Floats:
        x, u = -2.0 * self.curvature / b, 2.0 * self.curvature / (b - 2.0 * self.curvature)
        # Near the pole, where x is near -1, the difference in u is exact and that in x is not.
        return np.where(x < -0.5, -np.log1p(u), np.log1p(x))

    def _far(self, b: Floats) -> npt.NDArray[np.bool_]:
        """Whether a part is better measured from its highest reward than from its mean."""
        return -2.0 * self.curvature > b

    def _peak(self) -> Floats:
        bent = self.curvature < 0
        return np.where(bent, self.slope**2 / np.where(bent, -4.0 * self.curvature, 1.0), 0.0)

    def _origin(self, b: Floats) -> Floats:
        """Return the reward from which all parts together are measured, shape (n_betas,)."""
        return self.constant + np.sum(np.where(self._far(b), self._peak(), self.curvature), axis=-1)
