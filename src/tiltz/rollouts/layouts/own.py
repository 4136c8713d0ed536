"""Our own layout: one row per outcome, columns named by the words of the library."""

from tiltz.files import Table
from tiltz.rollouts.layouts.layout import Layout
from tiltz.rollouts.layouts.trl import is_trl


def is_own(table: Table) -> bool:
    """Say whether a table has rewards and prompts under our names, and was not written by TRL."""
    columns = set(table.columns)
    return "reward" in columns and bool(columns & {"prompt", "prompt_id"}) and not is_trl(table)


OWN = Layout(
    name="tiltz",
    title="tiltz rollouts",
    needs="prompt or prompt_id, and reward",
    fits=is_own,
)
