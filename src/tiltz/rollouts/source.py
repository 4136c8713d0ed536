"""What was read: the files, what was recognised in them, and the way back to their rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.files import Table, json_ready, write_rows
from tiltz.files.names import PathLike


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollouts:
    """Rollouts that were read from files; the ``source`` of their Outcomes.

    Parameters
    ----------
    files : tuple of str
        What was read.
    layout : str
        "tiltz", "trl", "verl", "a-po" or "nemo-rl".
    recognised : str
        One line: what the files are.
    missing : str
        One line: what they lack for which command.
    notes : tuple of str
        Sentences for the summary: who drew the rows, what was left out, what was counted.
    reward : dict of str to float
        Reward columns and their weights.
    metadata : dict of str to str
        ``ref_id``, ``reward_id``, ``stopping`` and the declared rewards, where the files say so.
    table : Table
        Where the rows are.
    position : ndarray of int
        Position in the table of each row of the Outcomes.
    """

    files: tuple[str, ...]
    layout: str
    recognised: str
    missing: str
    notes: tuple[str, ...]
    reward: dict[str, float]
    metadata: dict[str, str]
    table: Table = field(repr=False)
    position: npt.NDArray[np.int64] = field(repr=False)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.position)

    def to_dict(self) -> dict[str, Any]:
        """Return what was read as an object that JSON can hold.

        Returns
        -------
        dict
            Files, layout, reward, notes and metadata; no rows.
        """
        return json_ready(
            {
                "files": list(self.files),
                "layout": self.layout,
                "recognised": self.recognised,
                "missing": self.missing,
                "reward": self.reward,
                "n_rows": len(self),
                "notes": list(self.notes),
                "metadata": self.metadata,
            }
        )

    def write(
        self,
        rows: npt.ArrayLike,
        path: PathLike,
        *,
        columns: Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Write chosen rows with all their original columns.

        Parameters
        ----------
        rows : array_like of int
            Indices into the rows read (``Outcomes.row``), in the order wanted, repeats allowed.
        path : str or path
            ``.parquet``, ``.jsonl`` or ``.csv``; the file appears when it is complete.
        columns : mapping of str to sequence, optional
            Further columns, one value per written row; they replace original ones of the same name.
        metadata : mapping of str to str, optional
            Key-value metadata, kept in Parquet files only.

        Raises
        ------
        InputError
            If an index is out of range.
        FileError
            If the file cannot be written.
        """
        index = np.asarray(rows)
        if index.ndim != 1 or (index.size and index.dtype.kind not in "iu"):
            raise InputError(
                f"rows must be a list of row indices; found an array of {index.dtype}, shape {index.shape}."
            )
        if index.size and (index.min() < 0 or index.max() >= len(self)):
            raise InputError(
                f"rows must be indices from 0 to {len(self) - 1}; found {index.min()} to {index.max()}."
            )
        write_rows(
            self.table, self.position[index.astype(np.int64)], path, columns=columns, metadata=metadata
        )
