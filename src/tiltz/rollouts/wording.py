"""Lists, counts and values as messages and notes write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def some_of(values: Sequence[Any], at_most: int) -> str:
    """Return values separated by commas, the middle left out where there are too many."""
    if len(values) <= at_most:
        return ", ".join(map(str, values))
    head = ", ".join(map(str, values[: at_most - 1]))
    return f"{head}, ..., {values[-1]} ({len(values)} in all)"


def count(n: int, what: str) -> str:
    """Return a number and a noun in the right number."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def shortened(text: Any, at_most: int = 60) -> str:
    """Return the repr of a value, cut."""
    plain = text if isinstance(text, str) else str(text)
    cut = plain if len(plain) <= at_most else plain[: at_most - 3] + "..."
    return repr(cut) if isinstance(text, str) else cut


def steps_in_words(steps: Sequence[int]) -> str:
    """Return a sorted list of steps, a run of consecutive ones as a range."""
    if len(steps) > 2 and steps[-1] - steps[0] == len(steps) - 1:
        return f"{steps[0]} to {steps[-1]}"
    return some_of(steps, 8)
