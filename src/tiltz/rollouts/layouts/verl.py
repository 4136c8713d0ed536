"""verl's rollout data: one JSON-lines file per step."""

from __future__ import annotations

from types import MappingProxyType

from tiltz.files import Table
from tiltz.rollouts.layouts.layout import Layout


def is_verl(table: Table) -> bool:
    """Say whether the columns are verl's."""
    return {"input", "output", "score"} <= set(table.columns)


VERL = Layout(
    name="verl",
    title="verl rollouts",
    needs="input, output and score",
    fits=is_verl,
    names=MappingProxyType({"prompt": "input", "completion": "output", "reward": "score"}),
    moving=True,
)
