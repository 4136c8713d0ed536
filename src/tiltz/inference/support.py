"""What is known about all rewards that can occur: declared, seen over the whole table, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tiltz.checks import check_declared, checked_range, checked_values
from tiltz.outcomes import Outcomes
from tiltz.text import number


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """Possible rewards.

    Attributes
    ----------
    values : (float, float) or None
        The two rewards that can occur.
    range : (float, float) or None
        Lowest and highest reward that can occur, as declared.
    known : {"declared", "seen", "no"}
        On what ``values`` rests.
    """

    values: tuple[float, float] | None
    range: tuple[float, float] | None
    known: Literal["declared", "seen", "no"]

    def sentence(self) -> str:
        """Return what the intervals take for granted, and what to declare."""
        if self.values is not None:
            low, high = (number(value, 6) for value in self.values)
            if self.known == "declared":
                return f"declared: no reward other than {low} and {high} is possible"
            return (
                f"assumed: no reward other than {low} and {high} is possible, as seen over the whole table; "
                f"if you know it, declare reward_values=({low}, {high}) and the intervals are certified"
            )
        if self.range is not None:
            low, high = (number(value, 6) for value in self.range)
            return f"declared: every possible reward lies in [{low}, {high}]"
        return (
            "nothing is known about rewards that were not drawn; declare reward_values=(...) "
            "or reward_range=(low, high) if you know them"
        )


def support_of(
    outcomes: Outcomes,
    reward_range: tuple[float, float] | None,
    reward_values: Sequence[float] | None,
) -> Support:
    """Return what is known of the rewards; arguments of a call override what the table declares."""
    override = reward_range is not None or reward_values is not None
    declared_range = outcomes.reward_range if reward_range is None else checked_range(reward_range)
    declared_values = outcomes.reward_values if reward_values is None else checked_values(reward_values)
    if override:
        check_declared(outcomes.reward, outcomes.groups, declared_range, declared_values)
    if declared_values is not None:
        low, high = declared_values[0], declared_values[-1]
        two = (low, high) if len(declared_values) <= 2 else None
        return Support(values=two, range=(low, high), known="declared")
    if outcomes.facts.two_valued:
        low, high = outcomes.facts.values
        return Support(values=(low, high), range=declared_range, known="seen")
    return Support(values=None, range=declared_range, known="no")
