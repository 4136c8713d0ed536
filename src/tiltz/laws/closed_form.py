"""What every law derives in the same way: all its curves from its mean and its two divergences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError

Floats = npt.NDArray[np.float64]


class _Given(Protocol):
    """What a law that derives its curves must give; betas come as a 1-D array, all above ``beta_min``."""

    @property
    def mean(self) -> float: ...

    @property
    def beta_min(self) -> float: ...

    def _kl(self, beta: Floats) -> Floats: ...

    def _kl_reverse(self, beta: Floats) -> Floats: ...

    def _log_z(self, beta: Floats) -> Floats: ...

    def _mean_reward(self, beta: Floats) -> Floats: ...


class ClosedForm:
    """The curves of a law that gives ``mean``, ``_kl`` and ``_kl_reverse``.

    Both divergences are positive, so that the sums below lose no digits at a large beta. A law whose rewards are
    bounded above gives ``_log_z`` too, measured from the top, where the sum would cancel at a small one; a law around
    another hands on what that one knows.
    """

    __slots__ = ()

    @property
    def beta_min(self) -> float:
        """Z is infinite at and below this beta."""
        return 0.0

    def log_z(self: _Given, beta: npt.ArrayLike) -> Any:
        """Return log Z, in nats, for each beta."""
        return above(self.beta_min, beta, self._log_z, otherwise=math.inf)

    def soft_value(self: _Given, beta: npt.ArrayLike) -> Any:
        """Return beta log Z, in units of reward, for each beta."""
        return above(self.beta_min, beta, lambda b: b * self._log_z(b), otherwise=math.inf)

    def mean_reward(self: _Given, beta: npt.ArrayLike) -> Any:
        """Return the mean reward under the tilted distribution, for each beta."""
        return above(self.beta_min, beta, self._mean_reward)

    def kl(self: _Given, beta: npt.ArrayLike) -> Any:
        """Return KL(tilted || reference), in nats, for each beta."""
        return above(self.beta_min, beta, self._kl)

    def kl_reverse(self: _Given, beta: npt.ArrayLike) -> Any:
        """Return KL(reference || tilted), in nats, for each beta."""
        return above(self.beta_min, beta, self._kl_reverse)

    def _log_z(self: _Given, beta: Floats) -> Floats:
        return self.mean / beta + self._kl_reverse(beta)

    def _mean_reward(self: _Given, beta: Floats) -> Floats:
        return self.mean + beta * (self._kl(beta) + self._kl_reverse(beta))


def above(
    beta_min: float, beta: npt.ArrayLike, curve: Callable[[Floats], Floats], *, otherwise: float = math.nan
) -> Any:
    """Return ``curve`` at the betas above ``beta_min`` and ``otherwise`` at the others: a float for one beta."""
    betas = checked_beta(beta)
    found = np.full(betas.shape, otherwise)
    finite = betas > beta_min
    if np.any(finite):
        with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
            found[finite] = curve(betas[finite])
    return found if betas.ndim else float(found)


def checked_beta(beta: npt.ArrayLike) -> Floats:
    """Return betas as a float array, or refuse what is not positive and finite."""
    what = "beta must be positive and finite"
    try:
        betas = np.asarray(beta, dtype=np.float64)
    except (TypeError, ValueError) as reason:
        raise InputError(f"{what}; found {beta!r}.") from reason
    wrong = ~((betas > 0) & (betas < np.inf))
    if np.any(wrong):
        raise InputError(f"{what}; found {betas[wrong][0]:g}.")
    return betas
