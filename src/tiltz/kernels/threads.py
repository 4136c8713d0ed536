"""Work on blocks of groups, shared out over threads; compiled loops leave the interpreter while they run."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from tiltz.kernels.moments import Progress

_BLOCKS_PER_THREAD = 16  # enough that no thread waits long for the last block, and that progress moves


def over_blocks(
    work: Callable[[int, int], object],
    start: npt.NDArray[np.int64],
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Call ``work(first_group, last_group)`` for consecutive blocks of groups that cover them all.

    Parameters
    ----------
    work : callable
        Writes the answers of its groups where no other block does. What it returns is ignored.
    start : int array, shape (n_groups + 1,)
        Group g is rows ``start[g]:start[g + 1]``; blocks have about equal numbers of rows.
    threads : int, optional
        How many blocks at a time; by default as many as numba may use (``NUMBA_NUM_THREADS``, else the cores).
    progress : callable, optional
        Told the share of the rows that are done, from this thread.

    Raises
    ------
    Exception
        What ``work`` or ``progress`` raised first; blocks that have not begun are then left out.
    """
    threads = _available() if threads is None else threads
    blocks = _cut(start, threads * _BLOCKS_PER_THREAD)
    share = _Share(start, progress)
    if threads == 1 or len(blocks) == 1:
        for block in blocks:
            work(*block)
            share.add(block)
        return
    from concurrent.futures import (
        ThreadPoolExecutor,
        as_completed,
    )  # brings logging, which importing tiltz does not need

    with ThreadPoolExecutor(threads) as pool:
        running = {pool.submit(work, *block): block for block in blocks}
        try:
            for done in as_completed(running):
                done.result()
                share.add(running[done])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _available() -> int:
    from numba import config

    return config.NUMBA_NUM_THREADS  # pyright: ignore[reportAttributeAccessIssue]


def _cut(start: npt.NDArray[np.int64], n_blocks: int) -> list[tuple[int, int]]:
    """Return the first and last group of at most so many blocks of about equal numbers of rows."""
    n_groups = len(start) - 1
    wanted = start[0] + (start[-1] - start[0]) * np.arange(1, n_blocks) // n_blocks
    inner = np.searchsorted(start[1:], wanted, side="right")
    ends = np.unique(np.concatenate([[0], inner, [n_groups]])).tolist()
    return list(pairwise(ends))


class _Share:
    """Tells which share of the rows is done."""

    def __init__(self, start: npt.NDArray[np.int64], progress: Progress | None) -> None:
        self.start, self.progress, self.done = start, progress, 0

    def add(self, block: tuple[int, int]) -> None:
        self.done += int(self.start[block[1]] - self.start[block[0]])
        if self.progress is not None:
            self.progress(self.done / max(int(self.start[-1] - self.start[0]), 1))
