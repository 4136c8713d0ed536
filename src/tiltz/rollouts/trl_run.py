"""TRL runs as they are: rollouts written twice, evaluation rows mixed in, advantages to check against."""

from __future__ import annotations

import glob
import itertools
import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from tiltz.files import identifier
from tiltz.rollouts.layouts import Draws
from tiltz.rollouts.rows import Rows
from tiltz.rollouts.wording import count, some_of

_STABILISER = 1e-4
_TOLERANCE = 1e-3


def settings_of(files: Sequence[str]) -> dict[str, Any]:
    """Return the trainer's settings saved beside the completions, or nothing."""
    folder = os.path.dirname(os.path.abspath(files[0]))
    for place in (os.path.dirname(folder), folder):
        for name in sorted(glob.glob(os.path.join(glob.escape(place), "*config*.json"))):
            try:
                with open(name, encoding="utf-8") as stream:
                    settings = json.load(stream)
            except (OSError, ValueError):
                continue
            if isinstance(settings, dict) and isinstance(settings.get("num_generations"), int):
                return settings
    return {}


def without_repeats(draws: Draws, rows: Rows) -> tuple[Rows, dict[int, int], list[str]]:
    """Leave out groups that the next step's file holds once more.

    Returns
    -------
    Rows
        Those that are counted.
    dict of int to int
        Step that is left out altogether -> the earlier step that it repeats.
    list of str
        Notes.

    Notes
    -----
    Groups whose rows are all alike prove nothing by themselves: a policy that has collapsed writes them at
    every step. They count as repeats only beside a repeated group with different rows.
    """
    if rows.step is None or len(np.unique(rows.step)) < 2:
        return rows, {}, []
    written = _written_groups(draws, rows)
    drop = np.zeros(len(rows), dtype=bool)
    first_step: dict[int, int] = {}
    n_steps = 0
    steps = sorted(written)
    for before, now in itertools.pairwise(steps):
        same = [code for code, seen in written[now].items() if written[before].get(code) == seen]
        if not any(len(set(written[now][code])) > 1 for code in same):
            continue
        drop |= (rows.step == now) & np.isin(rows.code, same)
        n_steps += 1
        if len(same) == len(written[now]):
            first_step[now] = first_step.get(before, before)
    if not n_steps:
        return rows, {}, []
    note = (
        f"{count(int(drop.sum()), 'row')} of {count(n_steps, 'step')} repeat the step before (the trainer "
        "used its rollouts for several updates) and are counted once."
    )
    return rows.keep(~drop), first_step, [note]


def _written_groups(draws: Draws, rows: Rows) -> dict[int, dict[int, tuple[int, ...]]]:
    """Return, for each step and prompt, a hash of each row in order."""
    columns = [identifier(name) for name in draws.table.columns if name != draws.names["step"]]
    hashes = draws.fetch(content=f"hash({', '.join(columns)})")["content"][rows.index]
    group, sizes = rows.groups()
    order = np.argsort(group, kind="stable")
    ends = np.cumsum(sizes)
    written: dict[int, dict[int, tuple[int, ...]]] = {}
    for members in np.split(order, ends[:-1]):
        step, code = int(rows.step[members[0]]), int(rows.code[members[0]])  # type: ignore[index]
        written.setdefault(step, {})[code] = tuple(hashes[members].tolist())
    return written


def usual_group_size(rows: Rows, settings: dict[str, Any]) -> int | None:
    """Return how many completions the trainer draws for a prompt, or None where that is not clear."""
    _, sizes = rows.groups()
    if settings:
        return int(settings["num_generations"])
    values, counts = np.unique(sizes, return_counts=True)
    return int(values[np.argmax(counts)]) if 2 * counts.max() > len(sizes) else None


def without_odd_groups(rows: Rows, usual: int | None) -> tuple[Rows, list[str]]:
    """Leave out groups whose size is no multiple of the usual one: cut ones, and evaluation rows."""
    group, sizes = rows.groups()
    if usual is None:
        found = some_of(np.unique(sizes).tolist(), 8)
        return rows, [
            f"groups have {found} rows and no usual size: none was left out as cut or as evaluation rows."
        ]
    odd = sizes % usual != 0
    if not odd.any():
        return rows, []
    found = some_of(np.unique(sizes[odd]).tolist(), 8)
    if odd.all():
        return rows, [
            f"no group has a multiple of {usual} rows, the usual size of the run (found {found}): all were "
            "kept."
        ]
    dropped = odd[group]
    note = (
        f"{count(int(odd.sum()), 'group')} with {count(int(dropped.sum()), 'row')} left out: {found} rows "
        f"where the run draws {usual} completions for a prompt, so they are cut or are evaluation rows."
    )
    return rows.keep(~dropped), [note]


def advantage_note(draws: Draws, rows: Rows, reward: np.ndarray, usual: int | None) -> list[str]:
    """Say whether the reward reproduces the advantages that the trainer logged."""
    if "advantage" not in draws.table.columns or usual is None or usual < 2:
        return []
    logged = np.ma.filled(draws.fetch(value="TRY_CAST(advantage AS DOUBLE)")["value"].astype(float), np.nan)[
        rows.index
    ]
    group, sizes = rows.groups()
    whole = (sizes == usual)[group] & np.isfinite(logged) & np.isfinite(reward)
    whole &= np.bincount(group, whole, len(sizes))[group] == usual
    if not whole.any():
        return []
    step = np.zeros(len(rows), np.int64) if rows.step is None else rows.step
    agrees = any(
        np.allclose(logged[whole], expected, rtol=_TOLERANCE, atol=_TOLERANCE)
        for expected in _possible_advantages(reward[whole], group[whole], step[whole])
    )
    if agrees:
        return [
            "the reward agrees with the advantages that the trainer logged "
            f"({count(int(whole.sum()), 'row')} checked)."
        ]
    return [
        "WARNING: the reward does not reproduce the advantages that the trainer logged, so the columns or "
        "weights are probably not the trainer's."
    ]


def _possible_advantages(reward: np.ndarray, group: np.ndarray, step: np.ndarray) -> list[np.ndarray]:
    """Return the advantages of each way in which TRL scales them."""
    _, group = np.unique(group, return_inverse=True)
    _, step = np.unique(step, return_inverse=True)
    size = np.bincount(group)[group]
    centred = reward - _mean(reward, group)
    return [
        centred / (_deviation(reward, group) + _STABILISER),
        centred,
        centred / (_deviation(reward, step) + _STABILISER),
        centred * size / (size - 1),
    ]


def _mean(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    return (np.bincount(group, values) / np.bincount(group))[group]


def _deviation(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the sample standard deviation (n - 1) of each value's group."""
    squares = np.bincount(group, (values - _mean(values, group)) ** 2)
    return np.sqrt(squares / np.maximum(np.bincount(group) - 1, 1))[group]
