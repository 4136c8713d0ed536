"""What is asked of an estimate, checked once and handed down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.inference.support import Support
from tiltz.kernels import Progress
from tiltz.outcomes import Outcomes

Floats = npt.NDArray[np.float64]

INTERVALS = (
    "auto",
    "clopper-pearson",
    "band",
    "betting",
    "bootstrap-t",
    "hall",
    "delta",
    "pareto-smoothed",
)
"""Names of the methods, as ``interval=`` takes them."""
_FIRST_PASS = 0.1  # of the work, where intervals need loops of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """How intervals are wanted.

    Attributes
    ----------
    level : float
        Confidence level.
    interval : str or None
        One of ``INTERVALS``; None for points alone.
    support : Support
        What is known about all rewards.
    rng : numpy.random.Generator or None
        Moves the random stream of every prompt.
    simultaneous : bool
        Whether the limits of a prompt hold for all its betas together.
    progress : callable or None
        Told the share of the work that is done.
    """

    level: float
    interval: str | None
    support: Support
    rng: np.random.Generator | None = None
    simultaneous: bool = False
    progress: Progress | None = None

    def first_pass(self, share: float) -> None:
        """Tell how much of the first pass over the rows is done."""
        if self.progress is not None:
            self.progress(_FIRST_PASS * share)

    def intervals(self, share: float) -> None:
        """Tell how much of the intervals is done, the first pass being done."""
        if self.progress is not None:
            self.progress(_FIRST_PASS + (1 - _FIRST_PASS) * share)

    def __post_init__(self) -> None:
        checked_level(self.level)
        if self.rng is not None and not isinstance(self.rng, np.random.Generator):
            raise InputError(
                f"rng must be a numpy.random.Generator, such as numpy.random.default_rng(0); found {self.rng!r}."
            )
        if self.interval is not None and self.interval not in INTERVALS:
            known = ", ".join(repr(name) for name in INTERVALS)
            raise InputError(f"interval must be one of {known} or None; found {self.interval!r}.")
        if self.simultaneous and self.interval not in (None, "auto", "band", "betting"):
            raise InputError(
                f"interval={self.interval!r} holds for one beta at a time; limits for all betas together come from "
                "'auto', 'band' or 'betting'."
            )


def check_table(outcomes: object) -> None:
    """Refuse what is not a table."""
    if not isinstance(outcomes, Outcomes):
        raise InputError(
            f"a table of outcomes is needed; found {type(outcomes).__name__}. Make one with tiltz.read, "
            "tiltz.Outcomes.sampled, .complete or .partial."
        )


def checked_betas(beta: float | npt.ArrayLike) -> Floats:
    """Return betas as a 1-D array, or refuse them."""
    try:
        betas = np.atleast_1d(np.array(beta, dtype=np.float64))
    except (TypeError, ValueError) as reason:
        raise InputError(f"beta must be a positive number or a sequence of them; found {beta!r}.") from reason
    if betas.ndim != 1 or betas.size == 0:
        raise InputError(
            f"beta must be a number or a 1-D sequence with at least one; found shape {betas.shape}."
        )
    wrong = ~((betas > 0) & np.isfinite(betas))
    if np.any(wrong):
        raise InputError(
            f"beta must be positive and finite; found {betas[np.argmax(wrong)]:g}. In the limit of large beta the soft "
            "value is the mean reward, in the limit of small beta the largest reward."
        )
    betas.setflags(write=False)
    return betas


def checked_level(level: float) -> None:
    """Refuse a confidence level that is not between 0 and 1."""
    if isinstance(level, bool) or not isinstance(level, float | int | np.number) or not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, such as 0.95; found {level!r}.")


def checked_width(width: float) -> None:
    """Refuse a width that is not a positive number."""
    if isinstance(width, bool) or not isinstance(width, int | float | np.number) or not 0 < width < np.inf:
        raise InputError(f"width must be a positive number of nats, such as 1.0; found {width!r}.")
