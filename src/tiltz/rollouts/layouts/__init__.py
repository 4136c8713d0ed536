"""The layouts in which rollouts are written, one file each, and how one is recognised."""

from __future__ import annotations

from collections.abc import Collection

from tiltz.errors import LayoutError
from tiltz.files import Table
from tiltz.rollouts.layouts.apo import APO
from tiltz.rollouts.layouts.layout import Draws, Layout
from tiltz.rollouts.layouts.nemo_rl import NEMO_RL
from tiltz.rollouts.layouts.own import OWN
from tiltz.rollouts.layouts.trl import TRL
from tiltz.rollouts.layouts.verl import VERL
from tiltz.rollouts.wording import some_of

LAYOUTS = (OWN, TRL, VERL, APO, NEMO_RL)

__all__ = ["LAYOUTS", "Draws", "Layout", "recognise"]


def recognise(table: Table, rewards: Collection[str] = ()) -> Draws:
    """Return the draws that a table holds, by the one layout that its columns fit.

    Parameters
    ----------
    table : Table
        What was read.
    rewards : collection of str, optional
        Reward columns that the user names; with them, prompts alone are enough.

    Raises
    ------
    LayoutError
        If the columns fit no layout, or more than one.
    """
    fitting = [layout for layout in LAYOUTS if layout.fits(table)]
    if not fitting and rewards and {"prompt", "prompt_id"} & set(table.columns):
        fitting = [OWN]
    if len(fitting) == 1:
        return fitting[0].draws(table)
    found = f"found in {table.files[0]!r}: {some_of(list(table.columns), 40)}"
    if fitting:
        names = " and ".join(layout.name for layout in fitting)
        raise LayoutError(
            f"the columns must fit one layout, and they fit {names}; {found}. Write a file without the "
            f"columns of the others ({'; '.join(f'{layout.name}: {layout.needs}' for layout in fitting)})."
        )
    known = "; ".join(f"{layout.name}: {layout.needs}" for layout in LAYOUTS)
    raise LayoutError(
        f"the columns must fit one of the known layouts; {found}. Needed are, for {known}. Rename the "
        "columns, or name the reward column with --reward NAME (Python: reward='NAME') beside a column "
        "prompt or prompt_id."
    )
