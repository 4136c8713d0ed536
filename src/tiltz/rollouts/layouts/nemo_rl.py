"""NeMo-RL's offline data: one line per prompt, with a list of completions."""

from __future__ import annotations

from tiltz.errors import LayoutError
from tiltz.files import Table, identifier, literal
from tiltz.files.table import FILE, POSITION, ROW, twins
from tiltz.rollouts.layouts.layout import Layout

_NAMES = {"reference_logprob": "log_ref"}
_MADE = {"prompt", "draw"}
# A colon keeps these apart from the columns of files.
_PLACE, _ONE, _DRAW = '"tiltz:place"', '"tiltz:one"', '"tiltz:draw"'


def is_nemo_rl(table: Table) -> bool:
    """Say whether each row has a context and its completions."""
    return {"context", "completions"} <= set(table.columns)


def flatten(table: Table) -> Table:
    """Return one row per completion, with the common columns and ``draw``, its number."""
    fields = _fields(table)
    _refuse_empty(table)
    names = {
        _NAMES.get(name, name): f"{_ONE}[{literal(name)}]" for name in fields if name.lower() not in _MADE
    }
    taken = {"context", "completions", *_MADE, *(name.lower() for name in names)}
    kept = "".join(f", {identifier(name)}" for name in table.columns if name.lower() not in taken)
    inner = (
        f"SELECT {FILE}, {ROW}, {POSITION} AS {_PLACE}{kept}, context AS prompt, unnest(completions) AS {_ONE}, "
        f"generate_subscripts(completions, 1) - 1 AS {_DRAW} FROM {table.relation}"
    )
    columns = ", ".join(f"{expression} AS {identifier(name)}" for name, expression in names.items())
    return table.derive(
        "completions",
        f"SELECT row_number() OVER (ORDER BY {_PLACE}, {_DRAW}) - 1 AS {POSITION}, "
        f"* EXCLUDE ({_PLACE}, {_ONE}, {_DRAW}), {_DRAW} AS draw, {columns} FROM ({inner})",
    )


def _fields(table: Table) -> list[str]:
    """Return the names that the completions have."""
    type_ = table.type_of("completions")
    element = dict(type_.children)["child"] if type_.id == "list" else type_
    fields = [str(name) for name, _ in element.children] if element.id == "struct" else []
    if "reward" not in fields:
        raise LayoutError(
            f"the column completions must hold lists of objects with completion and reward; found type "
            f"{str(type_)[:80]} in {table.files[0]!r} (objects stay JSON where their keys are alike up to upper "
            "and lower case, empty or very many)."
        )
    pair = twins([_NAMES.get(name, name) for name in fields])
    if pair:
        raise LayoutError(
            f"each completion must have one {pair[0]}; the completions in {table.files[0]!r} have two fields "
            f"for it ({', '.join(name for name in fields if _NAMES.get(name, name) in pair)}). Remove one."
        )
    return fields


def _refuse_empty(table: Table) -> None:
    row = table.first(
        f"SELECT {FILE}, {ROW} FROM {table.relation} WHERE completions IS NULL OR len(completions) = 0 "
        f"ORDER BY {POSITION} LIMIT 1"
    )
    if row:
        raise LayoutError(
            f"every context needs at least one completion; found none in {table.place(*row)}. Remove that "
            "line."
        )


NEMO_RL = Layout(
    name="nemo-rl",
    title="NeMo-RL completions",
    needs="context and completions (a list of objects with completion and reward)",
    fits=is_nemo_rl,
    flatten=flatten,
)
