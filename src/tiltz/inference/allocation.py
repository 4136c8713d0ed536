"""Which prompts deserve the next samples."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError

Ints = npt.NDArray[np.int64]
FIRST = 4
"""Samples that a prompt gets before anything is known of it."""


def next_samples(n: int, width: npt.NDArray[np.float64], drawn: Ints) -> Ints:
    """Return how many of ``n`` samples each prompt gets.

    Parameters
    ----------
    n : int
        Samples to give away.
    width : array, shape (n_prompts,)
        Width of the interval of each prompt, in nats; 0 where it gets no more.
    drawn : int array, shape (n_prompts,)
        Samples so far.

    Returns
    -------
    int array, shape (n_prompts,)
        Summing to ``n``, or to 0 where nobody wants any.

    Notes
    -----
    Prompts without samples come first. Then levels the value of the next sample, width / (2 n), as water finds its
    level; an infinite width counts as the largest finite one.
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
        raise InputError(f"the number of samples to give away must be an integer of at least 0; found {n!r}.")
    given = np.zeros(len(width), dtype=np.int64)
    new = np.flatnonzero((drawn == 0) & (width > 0))
    for i in np.tile(new, FIRST)[: int(n)]:
        given[i] += 1
    left = int(n) - int(given.sum())
    finite = width[np.isfinite(width)]
    weight = np.minimum(width, finite.max() if finite.size and finite.max() > 0 else 1.0)
    if left == 0 or not np.any(weight > 0):
        return given
    have = (drawn + given).astype(np.float64)
    share = _water(weight, have, left)
    whole = np.floor(share)
    rest = left - int(whole.sum())
    order = np.argsort(-(share - whole), kind="stable")[:rest]
    whole[order] += 1
    return given + whole.astype(np.int64)


def _water(weight: npt.NDArray[np.float64], have: npt.NDArray[np.float64], n: int) -> npt.NDArray[np.float64]:
    """Return x >= 0 that sums to n, with weight / (have + x) the same wherever x > 0."""
    wants = np.flatnonzero(weight > 0)
    # A prompt gets some once the level is above have / weight.
    order = wants[np.argsort(have[wants] / weight[wants], kind="stable")]
    level = (np.cumsum(have[order]) + n) / np.cumsum(weight[order])
    below = level > have[order] / weight[order]
    height = level[int(np.flatnonzero(below)[-1])]
    share = np.zeros(len(weight))
    share[order] = np.maximum(height * weight[order] - have[order], 0.0)
    return share * (n / share.sum())
