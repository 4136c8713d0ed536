"""Which training step is used: rows of different steps were drawn from different policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from tiltz.errors import InputError, LayoutError
from tiltz.rollouts.rows import Rows
from tiltz.rollouts.wording import steps_in_words


def choose_step(rows: Rows, step: int | Literal["all"] | None, repeats: Mapping[int, int]) -> Rows:
    """Return the rows of one step, or of all.

    Parameters
    ----------
    rows : Rows
        Rows of any steps.
    step : int, "all" or None
        None is right where there is one step only.
    repeats : mapping of int to int
        Steps that were left out because they repeat an earlier one, which is the value.

    Raises
    ------
    LayoutError
        If several steps are there and none is chosen, or the chosen one is not there.
    """
    if (
        step is not None
        and step != "all"
        and (isinstance(step, bool) or not isinstance(step, int | np.integer))
    ):
        raise InputError(f"step must be a whole number or 'all'; found {step!r}.")
    if rows.step is None:
        if step in (None, "all"):
            return rows
        raise LayoutError(
            f"step {step} was asked for, but {rows.table.files[0]!r} has no column step. Leave step out."
        )
    steps = np.unique(rows.step).tolist()
    if step == "all" or (step is None and len(steps) == 1):
        return rows
    if step in steps:
        return rows.keep(rows.step == step)
    raise LayoutError(_not_there(step, steps, repeats))


def _not_there(step: int | str | None, steps: list[int], repeats: Mapping[int, int]) -> str:
    known = f"the rollouts are those of steps {steps_in_words(steps)}"
    how = "--step N or --step all (Python: step=N or step='all')"
    if step is None:
        return (
            "one step must be chosen, since each was drawn from another policy and Z is relative to it; "
            f"{known}. Name one with --step {steps[0]} (Python: step={steps[0]}), or take each step as its "
            f"own group with --step all (Python: step='all')."
        )
    if step in repeats:
        return (
            f"step {step} holds the rollouts of step {repeats[int(step)]} once more (the trainer used them "
            f"for several updates); they are counted there. Use --step {repeats[int(step)]}."
        )
    return f"step {step} is not there; {known}. Choose with {how}."
