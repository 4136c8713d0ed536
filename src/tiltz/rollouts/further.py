"""Further columns of rollouts that were read, as numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tiltz.errors import LayoutError
from tiltz.files import identifier
from tiltz.files.table import FILE, POSITION, ROW
from tiltz.outcomes import Outcomes
from tiltz.rollouts.numbers import as_number, is_numeric
from tiltz.rollouts.source import Rollouts
from tiltz.rollouts.wording import count, some_of


def numbers_of(outcomes: Outcomes, column: str) -> npt.NDArray[np.float64]:
    """Return a column of the files that a table was read from, one number per row of the table.

    Parameters
    ----------
    outcomes : Outcomes
        What :func:`tiltz.read` returned, or some prompts of it.
    column : str
        Its name.

    Returns
    -------
    array, shape (n_rows,)
        In the order of the rows.

    Raises
    ------
    LayoutError
        If there is no such column, or a row of the table has no number in it; file and row are named.
    """
    source: Rollouts = outcomes.source
    table = source.table
    numeric = [name for name, type_ in table.columns.items() if is_numeric(type_)]
    listed = f"columns that hold numbers: {some_of(numeric, 20) or 'none'}"
    if column not in table.columns:
        raise LayoutError(f"the column {column!r} is not in {table.files[0]!r}; {listed}.")
    type_ = table.columns[column]
    number = as_number(identifier(column), type_)
    if number is None:
        raise LayoutError(
            f"the column {column!r} must hold numbers; found type {type_[:60]} in {table.files[0]!r}; {listed}."
        )
    found = table.arrays(
        f"SELECT {POSITION} AS place, {FILE} AS file, {ROW} AS row, {number} AS number "
        f"FROM {table.relation} ORDER BY {POSITION}"
    )
    index = np.searchsorted(found["place"], source.position[outcomes.row])
    values = np.ma.filled(found["number"].astype(np.float64), np.nan)[index]
    missing = np.isnan(values)
    if np.any(missing):
        first = index[np.argmax(missing)]
        raise LayoutError(
            f"the column {column!r} must hold a number in every row; found text, null or NaN in "
            f"{table.place(found['file'][first], found['row'][first])} ({count(int(missing.sum()), 'such row')}). "
            "Repair those rows, or choose prompts with --prompt."
        )
    return values
