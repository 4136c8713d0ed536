"""All that a fit of success rates needs of a table: how many prompts had k successes among n."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.inference.shrinkage.logit_grid import LARGEST_N

Floats = npt.NDArray[np.float64]

FEWEST_PROMPTS = 10
"""Below this, a table says too little about other prompts."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Histogram:
    """Prompts by samples and successes; joining the arrays of two tables joins the tables.

    Attributes
    ----------
    n, k : array, shape (n_cells,)
        Samples and successes, no pair twice.
    weight : array, shape (n_cells,)
        Prompts, > 0.
    """

    n: Floats
    k: Floats
    weight: Floats

    @classmethod
    def of(cls, n: npt.ArrayLike, k: npt.ArrayLike, weight: npt.ArrayLike) -> Histogram:
        """Return the histogram of cells that may repeat, or refuse them."""
        samples, successes = checked_cells(n, k)
        prompts = np.asarray(weight, dtype=np.float64)
        if prompts.shape != samples.shape or not np.all((prompts >= 0) & np.isfinite(prompts)):
            raise InputError("weight must give a number of prompts, not negative, for each pair of n and k.")
        telling = float(prompts @ (samples > 1))
        if telling < FEWEST_PROMPTS:
            raise InputError(
                f"pooling needs at least {FEWEST_PROMPTS} prompts with two samples or more, to see how they differ; "
                f"found {telling:g}. Leave the prompts apart: interval='auto'."
            )
        found = prompts > 0
        cells, where = distinct_cells(samples[found], successes[found])
        summed = np.bincount(where, prompts[found])
        return cls(n=cells[0], k=cells[1], weight=summed.astype(np.float64))

    @property
    def n_prompts(self) -> float:
        """Number of prompts."""
        return float(self.weight.sum())

    @property
    def typical_n(self) -> float:
        """Samples of a prompt on average, rounded, at least 2."""
        return max(2.0, float(np.rint(self.weight @ self.n / self.n_prompts)))

    def log_odds(self, *, zero: bool, one: bool) -> tuple[Floats, Floats]:
        """Return log-odds of all failing and of all succeeding against the rest, as asked, and rough variances."""
        fails, succeeds = (float(self.weight @ which) for which in (self.k == 0, self.k == self.n))
        counts = np.array([fails] * zero + [succeeds] * one)
        rest = self.n_prompts - counts.sum()
        return np.log((counts + 1) / (rest + 1)), 0.25 + 1 / (counts + 1) + 1 / (rest + 1)


def checked_cells(n: npt.ArrayLike, k: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return samples and successes as float arrays, or refuse them."""
    samples, successes = np.asarray(n, dtype=np.float64), np.asarray(k, dtype=np.float64)
    if samples.ndim != 1 or samples.shape != successes.shape or samples.size == 0:
        raise InputError(
            f"n and k must be 1-D arrays of one length, not empty; found shapes {samples.shape} and {successes.shape}."
        )
    legal = (
        (samples == np.rint(samples))
        & (successes == np.rint(successes))
        & (successes >= 0)
        & (successes <= samples)
    )
    wrong = ~(legal & (samples >= 1) & (samples <= LARGEST_N))
    if np.any(wrong):
        first = int(np.argmax(wrong))
        raise InputError(
            f"every n must be a whole number from 1 to {LARGEST_N:,} and every k one from 0 to n; found n = "
            f"{samples[first]:g}, k = {successes[first]:g} at {first}. Prompts with more samples need no pooling."
        )
    return samples, successes


def distinct_cells(n: Floats, k: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return the distinct pairs, shape (2, n_distinct), and which of them each pair is."""
    code, where = np.unique(n * (LARGEST_N + 1) + k, return_inverse=True)
    return np.stack(np.divmod(code, LARGEST_N + 1)), where
