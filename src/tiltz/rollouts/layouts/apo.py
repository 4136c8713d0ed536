"""A-PO's tables: one row per prompt, with columns response_0, eval_0, response_1, eval_1, ..."""

from __future__ import annotations

import re

from tiltz.errors import LayoutError
from tiltz.files import Table, identifier
from tiltz.files.table import FILE, POSITION, ROW
from tiltz.rollouts.layouts.layout import Layout
from tiltz.rollouts.numbers import is_numeric
from tiltz.rollouts.wording import some_of

_PROMPTS = ("prompt", "messages", "problem", "question", "input")
_NUMBERED = re.compile(r"(response|eval)_(0|[1-9][0-9]*)")
_MADE = {"completion", "reward", "draw"}
# A colon keeps these apart from the columns of files.
_PLACE, _ONE = '"tiltz:place"', '"tiltz:one"'


def is_apo(table: Table) -> bool:
    """Say whether responses and their evaluations stand side by side."""
    return {"response_0", "eval_0"} <= set(table.columns)


def flatten(table: Table) -> Table:
    """Return one row per response, with columns ``completion``, ``reward`` and ``draw``."""
    indices = _indices(table)
    numeric = all(is_numeric(table.columns[f"eval_{i}"]) for i in indices)
    type_ = "DOUBLE" if numeric else "VARCHAR"
    listed = ", ".join(
        f"{{completion: response_{i}, reward: CAST(eval_{i} AS {type_}), draw: {i}}}" for i in indices
    )
    prompt = _prompt(table)
    kept = {
        name: identifier(name)
        for name in table.columns
        if not _NUMBERED.fullmatch(name) and name.lower() not in _MADE | set(prompt)
    }
    others = "".join(f", {expression} AS {identifier(name)}" for name, expression in (kept | prompt).items())
    inner = (
        f"SELECT {FILE}, {ROW}, {POSITION} AS {_PLACE}{others}, unnest([{listed}]) AS {_ONE} "
        f"FROM {table.relation}"
    )
    return table.derive(
        "responses",
        f"SELECT row_number() OVER (ORDER BY {_PLACE}, {_ONE}.draw) - 1 AS {POSITION}, "
        f"* EXCLUDE ({_PLACE}, {_ONE}), {_ONE}.completion AS completion, {_ONE}.reward AS reward, "
        f"{_ONE}.draw AS draw FROM ({inner}) WHERE {_ONE}.completion IS NOT NULL OR {_ONE}.reward IS NOT NULL",
    )


def _indices(table: Table) -> list[int]:
    found: dict[str, set[int]] = {"response": set(), "eval": set()}
    for match in filter(None, map(_NUMBERED.fullmatch, table.columns)):
        found[match[1]].add(int(match[2]))
    unpaired = sorted(found["response"] ^ found["eval"])
    if unpaired:
        raise LayoutError(
            f"every response_i needs its eval_i; in {table.files[0]!r} one of the two is missing for i = "
            f"{some_of(unpaired, 10)}. Write both, or neither."
        )
    return sorted(found["eval"])


def _prompt(table: Table) -> dict[str, str]:
    """Return the prompt's column under its common name."""
    for name in _PROMPTS:
        if name in table.columns:
            return {"prompt": identifier(name)}
    if "prompt_id" in table.columns:
        return {}
    raise LayoutError(
        f"responses need their prompt, in one of the columns prompt_id, {', '.join(_PROMPTS)}; found in "
        f"{table.files[0]!r}: {some_of(list(table.columns), 40)}."
    )


APO = Layout(
    name="a-po",
    title="A-PO responses",
    needs="response_0, eval_0, response_1, eval_1, ... and prompt",
    fits=is_apo,
    flatten=flatten,
)
