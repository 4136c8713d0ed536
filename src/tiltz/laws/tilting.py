"""The law of the reward under the tilted distribution, and laws of the negated reward: what the methods share."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from tiltz.errors import InputError
from tiltz.laws.closed_form import checked_beta
from tiltz.laws.law import Law


@runtime_checkable
class Tiltable(Protocol):
    """A law whose tilt is again a law of tiltz."""

    def tilted(self, beta: float) -> Law:
        """Return the law of the reward under the tilted distribution."""
        ...


@runtime_checkable
class Negatable(Protocol):
    """A law whose negated reward again has a law of tiltz."""

    def negated(self) -> Law:
        """Return the law of minus the reward."""
        ...


def one_beta(law: Law, beta: Any) -> float:
    """Return a beta at which a law can be tilted, or refuse it."""
    betas = checked_beta(beta)
    if betas.ndim:
        raise InputError(
            f"tilted takes one beta, a number; found an array of shape {betas.shape}. Call it for each."
        )
    if betas <= law.beta_min:
        raise InputError(
            f"beta must be above beta_min, {law.beta_min:g}, for Z to be finite and a tilted distribution to exist; "
            f"found {float(betas):g} for {type(law).__name__}. Take a larger beta."
        )
    return float(betas)


def tilted_part(part: Law, beta: float) -> Law:
    """Return the tilted law of a part of another law, or say which part has none."""
    if not isinstance(part, Tiltable):
        raise InputError(
            f"tilted needs a part whose tilt is a law of tiltz; found {part!r}, whose tilt is not. Its curves "
            f"(log_z, mean_reward, kl) are known all the same."
        )
    return part.tilted(beta)


def negated_part(part: Law) -> Law:
    """Return the law of the negated reward of a part, or say which part has none."""
    if not isinstance(part, Negatable):
        raise InputError(
            f"a negative scale needs a law whose negated reward has a law of tiltz; found {part!r}, which cannot be "
            f"negated. Take a scale above 0, or a law that has the method negated."
        )
    return part.negated()
