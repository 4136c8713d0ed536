"""What a law of the reward is."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@runtime_checkable
class Law(Protocol):
    """The distribution of the reward of one prompt under its reference.

    Every curve takes one beta and returns a float, or an array of betas and returns an array of that shape; beta is
    positive and finite, in reward per nat. What holds for every law (:func:`tiltz.laws.check_law` tries it):

    - ``soft_value = beta log_z``, ``kl = mean_reward / beta - log_z``, ``kl_reverse = log_z - mean / beta``, but no
      digits are lost where these differences cancel: a KL of 1e-17 at a huge beta is right to its last digits;
    - ``mean_reward`` is the derivative of ``log_z`` by 1/beta;
    - ``soft_value`` does not increase with beta, lies between ``mean`` and the highest reward, and goes to the first
      for large and to the second for small beta;
    - at or below ``beta_min``, Z is infinite: ``log_z`` and ``soft_value`` are infinite, and there is no tilted
      distribution, so that ``mean_reward``, ``kl`` and ``kl_reverse`` are NaN.

    Examples
    --------
    One success in ten, at three betas:

    >>> from tiltz.laws import TwoPoint
    >>> TwoPoint(0.1).soft_value([0.01, 1.0, 100.0]).round(4)
    array([0.977 , 0.1586, 0.1005])
    """

    @property
    def mean(self) -> float:
        """Mean reward under the reference; ``-inf`` and NaN (undefined) are possible."""
        ...

    @property
    def beta_min(self) -> float:
        """Z is infinite at and below this beta: 0 if it never is, ``inf`` if it always is."""
        ...

    @property
    def reward_range(self) -> tuple[float, float]:
        """Lowest and highest possible reward, infinite where there is no bound."""
        ...

    def log_z(self, beta: npt.ArrayLike) -> Any:
        """Return log Z, in nats."""
        ...

    def soft_value(self, beta: npt.ArrayLike) -> Any:
        """Return beta log Z, in units of reward."""
        ...

    def mean_reward(self, beta: npt.ArrayLike) -> Any:
        """Return the mean reward under the tilted distribution."""
        ...

    def kl(self, beta: npt.ArrayLike) -> Any:
        """Return KL(tilted || reference), in nats."""
        ...

    def kl_reverse(self, beta: npt.ArrayLike) -> Any:
        """Return KL(reference || tilted), in nats."""
        ...

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference, as many as ``n`` or of that shape."""
        ...
