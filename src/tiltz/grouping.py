"""Which rows belong to which prompt: labels in order of first appearance, found in one stable pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Groups:
    """A partition of rows by prompt, or by step and prompt.

    Attributes
    ----------
    prompt : array, shape (n_groups,)
        Labels (int64, or object array of str), in order of first appearance.
    step : int array, shape (n_groups,) or None
        Training step of each group.
    of_row : int array, shape (n_rows,)
        Group of each row.
    order : int array, shape (n_rows,) or None
        Rows group by group, each group in its own order; None if the rows stand so already.
    start : int array, shape (n_groups + 1,)
        Where each group begins in ``order``.
    """

    prompt: npt.NDArray[Any]
    step: Ints | None
    of_row: Ints
    order: Ints | None
    start: Ints

    @property
    def size(self) -> Ints:
        """Rows per group, shape (n_groups,)."""
        return np.diff(self.start)

    def gather(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return values of rows group by group."""
        return rows if self.order is None else rows[self.order]

    def scatter(self, grouped: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return values that stand group by group in the order of the rows."""
        if self.order is None:
            return grouped
        rows = np.empty_like(grouped)
        rows[self.order] = grouped
        return rows

    def name(self, group: int) -> str:
        """Return how messages call a group."""
        label = self.prompt[group]
        text = (
            repr(label if len(str(label)) <= 60 else str(label)[:57] + "...")
            if isinstance(label, str)
            else str(label)
        )
        return f"prompt {text}" + ("" if self.step is None else f" of step {self.step[group]}")

    def mask(self, keep: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Return which groups a mask or a collection of labels names."""
        # As objects, since NumPy's own text pads every label to the longest and strips trailing nulls.
        wanted = np.asarray(keep if hasattr(keep, "dtype") else np.array(_listed(keep), dtype=object))
        if (
            wanted.dtype == object
            and wanted.size
            and all(isinstance(x, bool | np.bool_) for x in wanted.flat)
        ):
            wanted = wanted.astype(np.bool_)
        wanted = np.atleast_1d(wanted)
        if wanted.dtype == np.bool_:
            if wanted.shape != self.prompt.shape:
                raise InputError(
                    f"a mask of prompts must have shape {self.prompt.shape}; found {wanted.shape}."
                )
            mask = wanted
        else:
            labels = set(wanted.tolist())
            unknown = labels - set(self.prompt.tolist())
            if unknown:
                raise InputError(f"no prompt has the label {sorted(unknown, key=str)[0]!r}.")
            mask = np.fromiter(
                (label in labels for label in self.prompt.tolist()), np.bool_, len(self.prompt)
            )
        if not np.any(mask):
            raise InputError("no prompt is left; at least one must be kept.")
        return mask

    def select(self, mask: npt.NDArray[np.bool_]) -> Groups:
        """Return the partition of the kept groups' rows."""
        renumbered = np.cumsum(mask) - 1
        return _partition(
            renumbered[self.of_row[mask[self.of_row]]],
            self.prompt[mask],
            None if self.step is None else self.step[mask],
        )


def group_rows(prompt: npt.NDArray[Any], step: npt.NDArray[Any] | None = None) -> Groups:
    """Return the partition of rows by their labels.

    Parameters
    ----------
    prompt : array, shape (n_rows,)
        Strings or integers.
    step : array of int, shape (n_rows,), optional
        Rows of different steps are different groups.

    Raises
    ------
    InputError
        If a label is neither a string nor an integer.
    """
    code, labels = _factorise(_checked_labels(prompt))
    if step is None:
        return _partition(code, labels, None)
    if step.shape != prompt.shape or step.dtype.kind not in "iu":
        raise InputError(
            f"step must hold one integer for each of the {len(prompt)} rows; found {step.dtype} {step.shape}."
        )
    step_code, steps = _factorise(_as_int64(step, "a step"))
    both, pairs = _factorise(step_code * len(labels) + code)
    return _partition(both, labels[pairs % len(labels)], steps[pairs // len(labels)])


def _partition(of_row: Ints, prompt: npt.NDArray[Any], step: Ints | None) -> Groups:
    start = np.concatenate([[0], np.cumsum(np.bincount(of_row, minlength=len(prompt)))])
    in_order = bool(np.all(of_row[1:] >= of_row[:-1]))
    order = None if in_order else np.argsort(of_row, kind="stable")
    for array in (prompt, step, of_row, order, start):
        if array is not None:
            array.setflags(write=False)
    return Groups(prompt=prompt, step=step, of_row=of_row, order=order, start=start)


def _factorise(labels: npt.NDArray[Any]) -> tuple[Ints, npt.NDArray[Any]]:
    """Return the code of each label and the distinct labels, in order of first appearance."""
    if labels.dtype != object:
        distinct, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
        by_appearance = np.argsort(first)
        rank = np.empty_like(by_appearance)
        rank[by_appearance] = np.arange(len(first))
        return rank[inverse], distinct[by_appearance]
    codes: dict[str, int] = {}
    code = np.fromiter((codes.setdefault(label, len(codes)) for label in labels), np.int64, len(labels))
    distinct = np.empty(len(codes), dtype=object)
    distinct[:] = list(codes)
    return code, distinct


def _checked_labels(prompt: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return labels as int64 or as an object array of str."""
    if prompt.dtype.kind in "iu":
        return _as_int64(prompt, "an integer label")
    if prompt.dtype.kind in "UT":
        return prompt.astype(object)
    if prompt.dtype.kind == "O":
        kinds = set(map(type, prompt))
        if kinds == {str}:
            return prompt
        if all(issubclass(kind, int | np.integer) and not issubclass(kind, bool) for kind in kinds):
            return _as_int64(prompt, "an integer label")
        if all(issubclass(kind, str) for kind in kinds):
            return np.array([str(label) for label in prompt], dtype=object)
    right = (str,) if isinstance(prompt[0], str) else (int, np.integer)
    wrong = next((i for i, x in enumerate(prompt) if not isinstance(x, right) or isinstance(x, bool)), 0)
    raise InputError(
        "prompt labels must be all strings or all integers (floats cannot be compared safely); "
        f"found {prompt[wrong]!r} of type {type(prompt[wrong]).__name__} in row {wrong}."
    )


def _as_int64(values: npt.NDArray[Any], what: str) -> Ints:
    """Return integers as int64; refuse those that do not fit, which would turn into others."""
    ends = np.iinfo(np.int64)
    if values.dtype in (np.uint64, object):
        wrong = [i for i, value in enumerate(values.tolist()) if not ends.min <= value <= ends.max]
        if wrong:
            raise InputError(
                f"{what} must fit 64 bits; found {values[wrong[0]]} in row {wrong[0]}. Use text for longer numbers."
            )
    return values.astype(np.int64)


def _listed(keep: Any) -> list[Any]:
    if isinstance(keep, set | frozenset):
        return list(keep)
    return [keep] if np.ndim(keep) == 0 else list(keep)
