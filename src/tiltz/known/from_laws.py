"""Laws of the reward as results: one prompt per law."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.inference.request import checked_betas
from tiltz.known.result import Known
from tiltz.laws import Law

_ERROR = 1e-12  # relative, at least absolute: what the laws are tested to


def from_laws(
    laws: Law | Sequence[Law], beta: float | npt.ArrayLike, *, prompt: Sequence[Any] | None = None
) -> Known:
    """Return log Z of prompts whose rewards follow known laws.

    Parameters
    ----------
    laws : Law or sequence of Law
        The law of the reward under the reference, of each prompt.
    beta : float or array_like, shape (n_betas,)
        KL coefficients, > 0, in reward per nat.
    prompt : sequence, optional
        Labels of the prompts; by default 0, 1, ...

    Returns
    -------
    Known
        Arrays of shape (n_laws, n_betas).

    Raises
    ------
    InputError
        If something is not a law, or the number of labels is another.

    Examples
    --------
    >>> from tiltz import laws
    >>> print(from_laws([laws.Normal(0, 1), laws.Exponential(1)], 0.5, prompt=["normal", "exponential"]))
    Estimate of log Z (nats), 2 prompts x 1 beta, level 0.95
      normal: beta 0.5: 2 exact
      exponential: beta 0.5: inf exact
    """
    betas = checked_betas(beta)
    each: list[Any] = [laws] if isinstance(laws, Law) else list(laws)
    for law in each:
        if not isinstance(law, Law):
            raise InputError(f"each of laws must be a law such as tiltz.laws.Normal(0, 1); found {law!r}.")
    labels = list(range(len(each))) if prompt is None else list(prompt)
    if not each or len(labels) != len(each):
        raise InputError(
            f"from_laws needs at least one law, and one label for each; found {len(each)} laws and "
            f"{len(labels)} labels."
        )
    curves: dict[str, Any] = {name: np.stack([getattr(law, name)(betas) for law in each]) for name in _CURVES}
    return Known.of(
        beta=betas,
        **curves,
        error=_ERROR * np.maximum(1.0, np.abs(curves["log_z"])),
        beta_min=[law.beta_min for law in each],
        reason=np.array([[_reason(law, b) for b in betas] for law in each], dtype=object),
        prompt=labels,
    )


_CURVES = ("log_z", "soft_value", "mean_reward", "kl", "kl_reverse")


def _reason(law: Law, beta: float) -> str:
    if beta > law.beta_min:
        return ""
    name = type(law).__name__
    if law.beta_min == np.inf:
        return f"Z of {name} rewards is infinite at every beta: the law has no exponential moments"
    return (
        f"Z of these {name} rewards is infinite at and below beta = {law.beta_min:.6g}; found beta {beta:.6g}"
    )
