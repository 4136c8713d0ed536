"""What each sampler of a pooled table contributed to log Z."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.inference.request import check_table, checked_betas
from tiltz.kernels import log_ratios
from tiltz.outcomes import Outcomes
from tiltz.pooling import draws_by_sampler
from tiltz.text import number, table

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Contributions:
    """What each sampler contributed to the pooled log Z of each prompt.

    Attributes
    ----------
    sampler : tuple of str
        Names of the samplers.
    n : int array, shape (n_prompts, n_samplers)
        Rows drawn by each.
    weight : array, shape (n_prompts, n_betas, n_samplers)
        Share of the prompt's total weight on the rows of each sampler. Sums to 1 over the samplers; NaN where no row
        has weight.
    ess : array, shape (n_prompts, n_betas, n_samplers)
        The part of the Kish effective sample size of the prompt that those rows make up, in the same shares.
    prompt : array, shape (n_prompts,)
        Labels.
    beta : array, shape (n_betas,)
        KL coefficients, in reward per nat.
    """

    sampler: tuple[str, ...]
    n: npt.NDArray[np.int64]
    weight: Floats
    ess: Floats
    prompt: npt.NDArray[Any]
    beta: Floats

    def summary(self) -> str:
        """Return the means over prompts as text, one line per sampler and beta."""
        rows = [
            [
                name,
                number(float(beta)),
                number(float(self.n[:, k].mean())),
                f"{self.weight[:, j, k].mean():.1%}",
            ]
            for j, beta in enumerate(self.beta)
            for k, name in enumerate(self.sampler)
        ]
        return table(["drawn from", "beta", "rows per prompt", "share of the weight"], rows, right=(1, 2, 3))

    def __repr__(self) -> str:
        return self.summary()


def contributions(outcomes: Outcomes, beta: float | npt.ArrayLike) -> Contributions:
    """Return what each sampler of a pooled table contributed.

    Parameters
    ----------
    outcomes : Outcomes
        What :func:`tiltz.pool` returned.
    beta : float or array_like, shape (n_betas,)
        KL coefficients, > 0, in reward per nat.

    Returns
    -------
    Contributions
        Rows, share of the weight and of the effective sample size of each sampler, per prompt and beta.

    Raises
    ------
    InputError
        If the rows come from one sampler alone.

    Notes
    -----
    The share of sampler k estimates the tilted probability of an outcome times the probability that it, among the
    pooled rows, comes from k: near 0 where others draw all that counts, near n_k / n where all draw the same.
    """
    check_table(outcomes)
    betas = checked_betas(beta)
    if outcomes.sampler is None or outcomes.log_densities is None:
        raise InputError(
            f"contributions compares samplers; all rows here come from one (the {outcomes.drawn_from}). Join tables "
            "with tiltz.pool."
        )
    groups, names = outcomes.groups, tuple(outcomes.log_densities)
    drawn = draws_by_sampler(outcomes.sampler, groups, len(names))
    used = np.sum(drawn, axis=0) > 0
    log_tilted, _ = log_ratios(outcomes.columns(), betas[None, :])
    with np.errstate(under="ignore"):
        prob = np.exp(log_tilted)
    by_group = groups.gather(outcomes.sampler)
    weight = np.stack(
        [np.add.reduceat(prob * (by_group == k)[:, None], groups.start[:-1]) for k in np.flatnonzero(used)],
        axis=-1,
    )
    nothing = weight.sum(axis=-1) == 0
    weight[nothing] = np.nan
    squares = np.add.reduceat(prob**2, groups.start[:-1])
    ess = weight / np.where(nothing, np.nan, squares)[..., None]
    arrays = {"n": drawn[:, used], "weight": weight, "ess": ess}
    for array in arrays.values():
        array.setflags(write=False)
    sampler = tuple(names[k] for k in np.flatnonzero(used))
    return Contributions(sampler=sampler, prompt=outcomes.prompt, beta=betas, **arrays)
