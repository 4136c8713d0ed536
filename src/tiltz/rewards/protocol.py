"""What a reward must offer: TRL's signature, and if it likes a name and a range."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Any, Protocol

from tiltz.checks import checked_range, checked_values


class Reward(Protocol):
    """A function, sync or async, that gives each completion a number, as reward functions of TRL do.

    The laws:

    - it is called by keyword, with as many completions as prompts, and with all columns of the prompts' table: one
      that does not need them takes ``**columns`` all the same;
    - it returns one value per completion, in their order. ``None`` or NaN is a completion without a reward,
      ``-inf`` one that is forbidden; ``+inf`` is an error;
    - the value of a completion does not depend on the others beside it.

    Attributes
    ----------
    reward_range : (float, float) or None
        Optional: the lowest and the highest value that it can return. Bounds on Z rest on it.
    reward_values : sequence of float or None
        Optional: all values that it can return, where they are few.
    name : str
        Optional: by default the name of the function.

    Examples
    --------
    >>> def short(prompts, completions, **columns):
    ...     return [float(len(text) < 9) for text in completions]
    >>> short.reward_range = (0, 1)
    >>> name_of(short), range_of(short)
    ('short', (0.0, 1.0))
    """

    def __call__(
        self, prompts: list[Any], completions: list[Any], **columns: Any
    ) -> Iterable[float | None] | Awaitable[Iterable[float | None]]:
        """Return one value per completion; both lists hold texts, or lists of chat messages."""
        ...


def name_of(reward: Reward) -> str:
    """Return the name of a reward: its own, that of the function, or that of the type."""
    return str(getattr(reward, "name", None) or getattr(reward, "__name__", None) or type(reward).__name__)


def range_of(reward: Reward) -> tuple[float, float] | None:
    """Return the declared range of a reward, or None where it declares none."""
    declared = getattr(reward, "reward_range", None)
    return None if declared is None else checked_range(declared)


def values_of(reward: Reward) -> tuple[float, ...] | None:
    """Return the declared values of a reward, or None where it declares none."""
    declared = getattr(reward, "reward_values", None)
    return None if declared is None else checked_values(declared)
