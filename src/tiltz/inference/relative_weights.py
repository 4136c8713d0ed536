"""The weights of every group relative to their mean, on which bootstrap, Hall's interval and the jackknife work."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.kernels import Columns, Progress, blocks, log_ratios
from tiltz.kernels.threads import over_blocks

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_ELEMENTS = 1 << 17  # rows x betas whose weights are held at once
_ROUNDING = 1e-12  # importance weights that differ by less, in nats, are taken to be equal
_NEAR = math.log(0.5)
_NOTHING = 1e-150  # of the mean weight: its square is still a normal number


@dataclass(frozen=True, slots=True, kw_only=True)
class RelativeWeights:
    """Weights of a block of groups, over the mean weight of their group, at every beta.

    Attributes
    ----------
    log_weight : array, shape (n_betas, n_rows)
        In nats.
    varied : bool array, shape (n_betas, n_groups)
        Whether the weights of a group differ by more than rounding.
    log_z : array, shape (n_betas, n_groups)
        Log-mean-exp, in nats.
    start : int array, shape (n_groups + 1,)
        Group g is rows ``start[g]:start[g + 1]``.
    """

    log_weight: Floats
    varied: Flags
    log_z: Floats
    start: Ints

    @classmethod
    def of(cls, block: Columns, beta: Floats) -> RelativeWeights:
        """Return the relative weights of samples; those of one group depend on no other."""
        log_tilted, log_ratio = log_ratios(block, beta)
        first, size = block.start[:-1], np.diff(block.start)
        per_row = np.repeat(np.broadcast_to(beta, (len(size), beta.shape[1])), size, axis=0).T
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            score = block.reward / per_row
            log_weight = np.ascontiguousarray(log_ratio.T)
            if not block.normalised and block.log_count is not None:
                log_count = np.repeat(block.log_count, size)
                log_weight = np.ascontiguousarray(log_tilted.T) + log_count
                score += block.log_mass + log_count
            high = np.maximum.reduceat(log_weight, first, axis=1)
            low = np.minimum.reduceat(log_weight, first, axis=1)
            heaviest = np.where(log_weight == np.repeat(high, size, axis=1), score, -np.inf)
            log_z = np.maximum.reduceat(heaviest, first, axis=1) - high
            varied = high - low > (0.0 if block.normalised else _ROUNDING)
        return cls(
            log_weight=log_weight,
            varied=varied,
            log_z=np.where(high == -np.inf, -np.inf, log_z),
            start=block.start,
        )

    def scaled(self) -> tuple[Floats, Floats, Flags]:
        """Return weights of a size near 1 whatever beta is, their unit, and whether they are deviations.

        A weight over the mean weight is ``1 + unit * weight`` where all weights of a group are at least half the mean,
        else ``unit * weight``; so no variance underflows or cancels. Unit 0 marks groups that do not vary.
        """
        first, size = self.start[:-1], np.diff(self.start)
        near = np.minimum.reduceat(self.log_weight, first, axis=1) >= _NEAR
        near_rows = np.repeat(near, size, axis=1)
        with np.errstate(under="ignore"):
            weight = np.exp(self.log_weight)
            np.expm1(self.log_weight, out=weight, where=near_rows)
            unit = np.where(near, np.maximum.reduceat(np.abs(weight), first, axis=1), 1.0)
            weight /= np.repeat(np.where(self.varied, unit, 1.0), size, axis=1)
        weight[~near_rows & (weight < _NOTHING)] = 0.0
        return weight, np.where(self.varied, unit, 0.0), near


def over_weights(
    work: Callable[[slice, RelativeWeights], None],
    columns: Columns,
    beta: Floats,
    *,
    progress: Progress | None = None,
) -> None:
    """Call ``work`` with the groups of each block and their weights; blocks are shared out over threads.

    Parameters
    ----------
    work : callable
        Writes the answers of its groups.
    columns : Columns
        Samples.
    beta : array, shape (1 or n_groups, n_betas)
        KL coefficients.
    progress : callable, optional
        Told the share done.
    """

    def part(first: int, last: int) -> None:
        for groups, block, betas in blocks(columns, beta, elements=_ELEMENTS, first=first, last=last):
            work(groups, RelativeWeights.of(block, betas))

    over_blocks(part, columns.start, progress=progress)
