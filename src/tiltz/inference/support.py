"""What is known about all rewards that can occur: declared, seen over the whole table, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tiltz.checks import check_declared, checked_range, checked_values
from tiltz.outcomes import Outcomes
from tiltz.text import number


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """Possible rewards.

    Attributes
    ----------
    values : tuple of float or None
        All rewards that can occur, ascending.
    range : (float, float) or None
        Lowest and highest reward that can occur.
    known : {"declared", "seen", "no"}
        On what both rest.
    """

    values: tuple[float, ...] | None
    range: tuple[float, float] | None
    known: Literal["declared", "seen", "no"]

    @property
    def two_valued(self) -> bool:
        """Whether at most two rewards can occur."""
        return self.values is not None and len(self.values) <= 2

    def sentence(self) -> str:
        """Return what the intervals take for granted, and what to declare."""
        if self.values is not None and self.known == "seen":
            low, high = (number(value, 6) for value in self.values)
            return (
                f"assumed: no reward other than {low} and {high} is possible, as seen over the whole table; "
                f"if you know it, declare reward_values=({low}, {high}) and the intervals are certified"
            )
        if self.values is not None:
            *others, last = (number(value, 6) for value in self.values)
            listed = f"{', '.join(others)} and {last}" if others else last
            return f"declared: no reward other than {listed} is possible"
        if self.range is not None:
            low, high = (number(value, 6) for value in self.range)
            return f"declared: every possible reward lies in [{low}, {high}]"
        return (
            "nothing is known about rewards that were not drawn; declare reward_values=(...) "
            "or reward_range=(low, high) if you know them"
        )


def higher_counts(outcomes: Outcomes, support: Support) -> npt.NDArray[np.float64]:
    """Return how many samples of each prompt have the higher of two possible rewards, up to rounding."""
    low, high = support.range or (0.0, 0.0)
    higher = (outcomes.reward > 0.5 * low + 0.5 * high).astype(np.float64)
    return np.bincount(outcomes.groups.of_row, higher, len(outcomes.n)).astype(np.float64)


def support_of(
    outcomes: Outcomes,
    reward_range: tuple[float, float] | None,
    reward_values: Sequence[float] | None,
) -> Support:
    """Return what is known of the rewards; arguments of a call override what the table declares.

    What is declared comes first, since only that can be certified: two values that were merely seen count where
    nothing is declared.
    """
    declared_range, declared_values = outcomes.reward_range, outcomes.reward_values
    if reward_range is not None or reward_values is not None:
        declared_range = None if reward_range is None else checked_range(reward_range)
        declared_values = None if reward_values is None else checked_values(reward_values)
        check_declared(outcomes.reward, outcomes.groups, declared_range, declared_values)
    if declared_values is not None:
        return Support(
            values=declared_values, range=(declared_values[0], declared_values[-1]), known="declared"
        )
    if declared_range is not None:
        return Support(values=None, range=declared_range, known="declared")
    if outcomes.facts.two_valued:
        low, high = outcomes.facts.values
        return Support(values=(low, high), range=(low, high), known="seen")
    return Support(values=None, range=None, known="no")
