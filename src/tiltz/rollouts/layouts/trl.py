"""TRL's logged completions: Parquet files, one per step, one column per reward function."""

from __future__ import annotations

import os
import re

from tiltz.files import Table
from tiltz.rollouts.layouts.layout import Layout

_FILE = re.compile(r"completions_\d+\.parquet")


def is_trl(table: Table) -> bool:
    """Say whether the columns, or the columns and the file names, are TRL's."""
    columns = set(table.columns)
    if not {"step", "prompt", "completion"} <= columns:
        return False
    if "advantage" in columns or "reward" not in columns:
        return True
    return all(_FILE.fullmatch(os.path.basename(file)) for file in table.files)


TRL = Layout(
    name="trl",
    title="TRL completions",
    needs="step, prompt, completion, and one column per reward function",
    fits=is_trl,
    moving=True,
)
