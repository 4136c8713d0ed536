"""What pooled rows say beside their rewards: densities over their mixture, whose means are known to be 1 [1].

They correct every weight of a prompt by one factor per row, the same at every beta, and show which samplers share
outcomes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.kernels import Columns
from tiltz.outcomes import Outcomes
from tiltz.pooling import draws_by_sampler, log_mixture

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEAST_ROWS = 10
"""Samplers with fewer rows give no control: its coefficient would be noise."""
LEAST_FACTOR, MOST_FACTOR = 0.2, 5.0
"""Factors beyond these come from few or odd rows; the plain weights then stand."""
SHARED_ROWS = 0.05
"""Samplers that share fewer rows than this, by the probability of each row to be from the other, share nothing."""
_DEGENERATE = 1e-10  # of the largest variance among the controls: samplers that are the same


@dataclass(frozen=True, slots=True)
class Controls:
    """Controls of one prompt.

    Attributes
    ----------
    ratio : array, shape (n_rows, n_samplers)
        Density under each sampler over that of the mixture, for the samplers that drew some of the rows.
    sampler : int array, shape (n_rows,)
        Who drew each row, as a column of ``ratio``.
    drawn : int array, shape (n_samplers,)
        Rows of each.
    inverse : array, shape (n_rows, n_controls)
        Centred controls times the inverse of their second moments.
    centred : array, shape (n_rows, n_controls)
        Controls less their means.
    factor : array, shape (n_rows,)
        By which the weight of each row is corrected; their mean is 1.
    left_out : bool
        Whether a control could not be used.
    """

    ratio: Floats
    sampler: Ints
    drawn: Ints
    inverse: Floats
    centred: Floats
    factor: Floats
    left_out: bool

    @classmethod
    def of(cls, ratio: Floats, sampler: Ints, drawn: Ints) -> Controls:
        """Return the controls of the rows of a prompt."""
        enough = drawn >= LEAST_ROWS
        # Differences have mean 0; those of all samplers span what their densities can say, since the densities add up
        # to the mixture, and those of some leave the others out entirely.
        base = int(np.argmax(drawn))
        values = ratio[:, enough & (np.arange(len(drawn)) != base)] - ratio[:, [base]]
        values = values if enough[base] else values[:, :0]
        mean = values.mean(axis=0)
        centred = values - mean
        inverse = centred @ _pseudo_inverse(centred.T @ centred / len(ratio))
        factor = 1.0 - inverse @ mean
        odd = bool(np.any((factor < LEAST_FACTOR) | (factor > MOST_FACTOR)))
        if odd:
            inverse, factor = np.zeros_like(inverse), np.ones(len(ratio))
        return cls(ratio, sampler, drawn, inverse, centred, factor, odd or not enough.all())

    def residuals(self, weight: Floats) -> Floats:
        """Return what the controls leave of columns of the rows, whose means are those of factor times column."""
        slope = self.inverse.T @ weight / len(self.ratio)
        mean = (self.factor[:, None] * weight).mean(axis=0)
        return weight - weight.mean(axis=0) - self.centred @ slope + mean

    def standard_error(self, weight: Floats) -> Floats:
        """Return the standard error of the corrected mean of each column; numbers of draws are fixed per sampler.

        Samplers with a single row are given the spread of all rows. Infinite for a single row in all.
        """
        residual = self.residuals(weight)
        n, n_controls = len(residual), self.centred.shape[1]
        if n < 2 + n_controls:
            return np.full(weight.shape[1], np.inf)
        whole = np.mean((residual - residual.mean(axis=0)) ** 2, axis=0)
        total = np.zeros(weight.shape[1])
        for k, size in enumerate(self.drawn):
            total += size * (residual[self.sampler == k].var(axis=0, ddof=1) if size > 1 else whole)
        return np.sqrt(total / (n * (n - n_controls)))

    def connected(self) -> bool:
        """Whether every sampler shares rows with every other, directly or by way of others."""
        share = self.ratio * (self.drawn / len(self.ratio))
        return connected(share.T @ share >= SHARED_ROWS)


def connected(linked: npt.NDArray[np.bool_]) -> bool:
    """Whether links, a symmetric matrix, make one piece of all states."""
    reach = np.eye(len(linked), dtype=np.int64) | linked
    for _ in range(len(linked).bit_length()):
        reach = np.minimum(reach @ reach, 1)
    return bool(reach[0].all())


def controls_of(outcomes: Outcomes) -> Iterator[Controls]:
    """Yield the controls of every prompt of a pooled table, its rows group by group."""
    assert outcomes.sampler is not None
    assert outcomes.log_densities is not None
    groups, sampler = outcomes.groups, outcomes.sampler
    log_density = np.stack(list(outcomes.log_densities.values()))
    with np.errstate(under="ignore", over="ignore"):  # over: of samplers that drew nothing
        ratio = groups.gather(np.exp(log_density - log_mixture(log_density, sampler, groups)).T)
    drawn = draws_by_sampler(sampler, groups, len(log_density))
    by_group = groups.gather(sampler)
    for counts, first, last in zip(drawn, groups.start[:-1], groups.start[1:], strict=True):
        there = counts > 0
        number = np.cumsum(there) - 1
        yield Controls.of(ratio[first:last, there], number[by_group[first:last]], counts[there])


def columns_of_samplers(outcomes: Outcomes) -> Iterator[tuple[npt.NDArray[np.bool_], Columns]]:
    """Yield for each sampler the prompts of which it drew rows, and those rows with its own importance weights."""
    assert outcomes.sampler is not None
    assert outcomes.log_densities is not None
    groups = outcomes.groups
    log_ref = groups.gather(outcomes.log_densities["reference"])
    reward, by_group, of_row = (
        groups.gather(rows) for rows in (outcomes.reward, outcomes.sampler, groups.of_row)
    )
    for k, log_density in enumerate(outcomes.log_densities.values()):
        mine = by_group == k
        if not np.any(mine):
            continue
        size = np.bincount(of_row[mine], minlength=len(groups.size))
        prompts = size > 0
        log_count = np.log(size[prompts])
        yield (
            prompts,
            Columns(
                reward=reward[mine],
                log_mass=(log_ref - groups.gather(log_density))[mine] - np.repeat(log_count, size[prompts]),
                log_count=log_count,
                start=np.concatenate([[0], np.cumsum(size[prompts])]),
                normalised=False,
            ),
        )


def _pseudo_inverse(moments: Floats) -> Floats:
    """Return the inverse on the directions that vary."""
    if moments.size == 0:
        return moments
    size, direction = np.linalg.eigh(moments)
    varies = size > max(_DEGENERATE * size[-1], np.finfo(float).tiny)
    # A spread of rounding errors is none.
    varies &= size > _DEGENERATE**2
    return (direction[:, varies] / size[varies]) @ direction[:, varies].T
