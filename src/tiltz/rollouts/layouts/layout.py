"""What a layout is: how it is recognised, and where the common columns are in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from tiltz.files import Table, identifier
from tiltz.files.table import POSITION

WORDS = (
    "prompt_id",
    "prompt",
    "completion",
    "reward",
    "step",
    "log_ref",
    "log_proposal",
    "log_policy",
    "truncated",
)
"""The common columns, by the names of tiltz' own layout."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A way to write rollouts.

    Parameters
    ----------
    name : str
        Short name, as in ``Rollouts.layout``.
    title : str
        What the summary calls it.
    needs : str
        The columns by which it is recognised, in words.
    fits : callable
        Whether a table has this layout.
    flatten : callable
        Table -> table with one row per outcome.
    names : mapping of str to str
        Common words whose columns are named otherwise.
    moving : bool
        Whether rows are drawn from a policy that training moves, one per step.
    """

    name: str
    title: str
    needs: str
    fits: Callable[[Table], bool]
    flatten: Callable[[Table], Table] = lambda table: table
    names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    moving: bool = False

    def draws(self, table: Table) -> Draws:
        """Return a table's rows, one per outcome, with the common columns found."""
        flat = self.flatten(table)
        names = {word: self.names.get(word, word) for word in WORDS}
        return Draws(flat, self, {word: name for word, name in names.items() if name in flat.columns})


@dataclass(frozen=True, slots=True)
class Draws:
    """One row per outcome, and the columns that hold the common words.

    Parameters
    ----------
    table : Table
        The rows.
    layout : Layout
        How they were written.
    names : dict of str to str
        Common word -> column, for those that are there.
    """

    table: Table
    layout: Layout
    names: dict[str, str]

    def column(self, word: str) -> str:
        """Return the quoted column of a common word."""
        return identifier(self.names[word])

    def fetch(self, **expressions: str) -> dict[str, np.ndarray]:
        """Return SQL expressions of the columns as arrays, in reading order."""
        select = ", ".join(f"{expression} AS {name}" for name, expression in expressions.items())
        return self.table.arrays(f"SELECT {select} FROM {self.table.relation} ORDER BY {POSITION}")
