"""Means under the tilted policy of what is known of each outcome: its length, whether it passes, a second reward.

Rows weighted by their tilted probability give a point; how the weights and the values vary together gives its error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.checks import as_floats, checked_range, refuse
from tiltz.errors import InputError
from tiltz.inference.cells import flag_sets
from tiltz.inference.controls import Controls, controls_of
from tiltz.inference.request import check_table, checked_betas, checked_level
from tiltz.inference.sampled import FEW, HEAVY, THIN, bulk_of
from tiltz.kernels import Columns, log_ratios
from tiltz.outcomes import Outcomes
from tiltz.text import count, number, one_line

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Expectation:
    """Mean of a function of the outcome under the tilted policy, of every prompt at every beta.

    Attributes
    ----------
    value, lo, hi : array, shape (n_prompts, n_betas)
        Point and limits, in the units of the values; NaN where no row has weight.
    ess : array, shape (n_prompts, n_betas)
        Kish effective sample size of the weights, in [0, n].
    kind : array of str, shape (n_prompts, n_betas)
        What the limits promise: "exact", "approximate", or "unknown" (limits are then infinite, or the range declared).
    flags : array of tuple of str, shape (n_prompts, n_betas)
        Why the number may not be trusted.
    prompt : array, shape (n_prompts,)
        Labels.
    beta : array, shape (n_betas,)
        KL coefficients, in reward per nat.
    level : float
        Confidence level.
    """

    value: Floats
    lo: Floats
    hi: Floats
    ess: Floats
    kind: npt.NDArray[Any]
    flags: npt.NDArray[Any]
    prompt: npt.NDArray[Any]
    beta: Floats
    level: float

    def __repr__(self) -> str:
        shape = f"{count(len(self.prompt), 'prompt')} x {count(len(self.beta), 'beta')}"
        lines = [f"Expectation under the tilted policy, {shape}, level {self.level:g}"]
        for i, label in enumerate(self.prompt[:10]):
            cells = [
                f"beta {number(self.beta[j])}: {number(self.value[i, j])} "
                f"[{number(self.lo[i, j])}, {number(self.hi[i, j])}] {self.kind[i, j]}"
                for j in range(min(len(self.beta), 3))
            ]
            lines += [f"  {one_line(label)[:40]}: {'; '.join(cells)}{'; ...' * (len(self.beta) > 3)}"]
        more = len(self.prompt) - 10
        return "\n".join(lines + [f"  ... {count(more, 'more prompt')}"] * (more > 0))

    def __float__(self) -> float:
        if self.value.size != 1:
            raise InputError(
                f"float() needs one prompt and one beta; found {self.value.shape}. Read value[prompt, beta] instead."
            )
        return float(self.value[0, 0])


def expect(
    outcomes: Outcomes,
    beta: float | npt.ArrayLike,
    values: npt.ArrayLike,
    *,
    value_range: tuple[float, float] | None = None,
    level: float = 0.95,
) -> Expectation:
    """Estimate the mean of a function of the outcome under the tilted policy.

    Parameters
    ----------
    outcomes : Outcomes
        Complete or sampled, also pooled.
    beta : float or array_like, shape (n_betas,)
        KL coefficients, > 0, in reward per nat.
    values : array_like
        One value per row, in the order of the rows: a length, 0 or 1 for a test that passes, a second reward. Shape
        (n_rows,), or any with as many entries, such as that of the rewards that the table was made of.
    value_range : (float, float), optional
        Declares the lowest and highest possible value; limits then lie within it.
    level : float, default 0.95
        Confidence level.

    Returns
    -------
    Expectation
        Point, limits, effective sample size and flags per prompt and beta.

    Raises
    ------
    InputError
        If the table is partial, or values do not fit the rows, are not finite, or are outside ``value_range``.

    Notes
    -----
    Exact for complete tables. For samples the self-normalised mean sum w h / sum w with w = exp(log_weight + reward /
    beta): consistent, biased by order 1 / ess. Its limits are a quantile of Student's t with ess - 1 degrees of freedom
    times the error by the delta method, the root of sum w^2 (h - mean)^2 / (sum w)^2; of pooled tables after the
    correction by controls and stratified by sampler. They are approximate. Where fewer than 25 rows, a bulk effective
    sample size below 10, a tail index of 0.7 or more, samplers that share nothing, or values without any spread leave
    no ground for limits, kind is "unknown".

    References
    ----------
    .. [1] A. B. Owen, *Monte Carlo theory, methods and examples*, ch. 9.

    Examples
    --------
    The pass rate of the tilted policy at beta 1, where longer outcomes are rewarded:

    >>> import numpy as np, tiltz
    >>> table = tiltz.Outcomes.complete(np.log([0.5, 0.3, 0.2]), [0.0, 1.0, 2.0])
    >>> tiltz.expect(table, 1.0, [0, 1, 1])
    Expectation under the tilted policy, 1 prompt x 1 beta, level 0.95
      0: beta 1: 0.821 [0.821, 0.821] exact
    """
    check_table(outcomes)
    betas = checked_betas(beta)
    checked_level(level)
    if outcomes.evidence == "partial":
        raise InputError(
            "a mean under the tilted policy needs the values of all outcomes, or of samples; this table is partial."
        )
    value_range = None if value_range is None else checked_range(value_range, "value_range")
    rows = _checked_values(outcomes, values, value_range)
    weights = _Weights(outcomes, betas)
    value, error = weights.mean_and_error(rows)
    ess = weights.ess()
    lowest, highest = value_range or (-np.inf, np.inf)
    if outcomes.evidence == "complete":
        lo, hi, known, flags = value, value, np.True_, flag_sets(value.shape)
    else:
        known, flags = _trust(outcomes, betas, weights, ess, error)
        half = _t_quantile(level, ess) * error
        lo = np.where(known, np.maximum(value - half, lowest), lowest)
        hi = np.where(known, np.minimum(value + half, highest), highest)
    nothing = np.isnan(value)
    kind = np.where(
        known & ~nothing, "exact" if outcomes.evidence == "complete" else "approximate", "unknown"
    )
    arrays = {
        "value": value,
        "lo": np.where(nothing, lowest, lo),
        "hi": np.where(nothing, highest, hi),
        "ess": ess,
        "kind": kind.astype(object),
        "flags": flags,
    }
    for array in arrays.values():
        array.setflags(write=False)
    return Expectation(**arrays, prompt=outcomes.prompt, beta=betas, level=level)


class _Weights:
    """Self-normalised weights of every row, prompt by prompt, shape (n_rows, n_betas)."""

    def __init__(self, outcomes: Outcomes, betas: Floats) -> None:
        self.outcomes, self.columns = outcomes, outcomes.columns()
        with np.errstate(under="ignore"):
            self.log_prob = log_ratios(self.columns, betas[None, :])[0]
            self.prob = np.exp(self.log_prob)
        self.controls: list[Controls] = [] if outcomes.sampler is None else list(controls_of(outcomes))

    def groups(self) -> Iterator[tuple[int, slice]]:
        """Yield the number and the rows of every prompt."""
        yield from enumerate(slice(first, last) for first, last in pairwise(self.columns.start))

    def ess(self) -> Floats:
        """Return Kish effective sample sizes; of complete tables n over the mean square of tilted / reference."""
        n = self.outcomes.n[:, None].astype(np.float64)
        log_mass = self.columns.log_mass[:, None] if self.outcomes.evidence == "complete" else 0.0
        possible = self.prob > 0
        with np.errstate(under="ignore", over="ignore", invalid="ignore", divide="ignore"):
            squares = np.where(possible, np.exp(2 * self.log_prob - log_mass), 0.0)
            total = np.add.reduceat(squares, self.columns.start[:-1])
            return np.where(total > 0, (n if self.outcomes.evidence == "complete" else 1.0) / total, 0.0)

    def mean_and_error(self, values: Floats) -> tuple[Floats, Floats]:
        """Return means and their standard errors, NaN where no row has weight."""
        shape = (len(self.columns.start) - 1, self.prob.shape[1])
        mean, error = np.full(shape, np.nan), np.full(shape, np.nan)
        for i, rows in self.groups():
            prob, value = self.prob[rows], values[rows, None]
            some = prob.sum(axis=0) > 0
            factor = self.controls[i].factor[:, None] if self.controls else 1.0
            weight = prob[:, some] * factor
            weight = weight / weight.sum(axis=0)
            # From the nearest of the values, so that large common offsets cost no digits.
            offset = value[np.argmax(weight, axis=0), 0]
            mean[i, some] = offset + (weight * (value - offset)).sum(axis=0)
            deviation = value - mean[i, some]
            if self.controls:
                # The correction is the controls' own business; of the plain weights, over their corrected sum.
                plain = prob[:, some] / (prob[:, some] * factor).sum(axis=0)
                error[i, some] = self.controls[i].standard_error(len(value) * plain * deviation)
            else:
                n = len(value)
                error[i, some] = np.sqrt(((weight * deviation) ** 2).sum(axis=0) * n / max(n - 1, 1))
        return mean, error


def _trust(
    outcomes: Outcomes, betas: Floats, weights: _Weights, ess: Floats, error: Floats
) -> tuple[Flags, npt.NDArray[Any]]:
    """Return where limits have any ground, and the flags."""
    n = outcomes.n[:, None]
    bulk = np.broadcast_to(bulk_of(outcomes, betas[None, :]), ess.shape)
    index = _tail_index(weights.columns, betas) if np.any(n >= FEW) else np.full(ess.shape, np.nan)
    apart = np.array([not controls.connected() for controls in weights.controls] or [False])[:, None]
    left_out = np.array([controls.left_out for controls in weights.controls] or [False])[:, None]
    largest = np.maximum.reduceat(weights.prob, weights.columns.start[:-1])
    # Values of equal rows say nothing of others; neither does a mean that rests on rounding.
    flat = ~(error > 0)
    known = (n >= FEW) & (bulk >= THIN) & ~(index >= HEAVY) & ~apart & ~flat & (ess > 2)
    return known, flag_sets(
        ess.shape,
        too_few=n < FEW,
        saturated=largest > 0.5,
        thin=(n >= FEW) & (bulk < THIN),
        heavy_tail=index >= HEAVY,
        no_overlap=apart,
        no_controls=left_out,
        adaptive=np.bool_(outcomes.stopping == "adaptive"),
    )


def _tail_index(columns: Columns, betas: Floats) -> Floats:
    from tiltz.inference.tails import khat

    return khat(columns, np.broadcast_to(betas, (len(columns.start) - 1, len(betas))))


def _t_quantile(level: float, ess: Floats) -> Floats:
    from scipy import special

    return -special.stdtrit(np.maximum(ess - 1, 1.0), (1 - level) / 2)


def _checked_values(
    outcomes: Outcomes, values: npt.ArrayLike, value_range: tuple[float, float] | None
) -> Floats:
    """Return one value per row, group by group."""
    rows = as_floats(values, "values").reshape(-1)
    if rows.shape != outcomes.reward.shape:
        raise InputError(
            f"values must hold one number for each of the {len(outcomes)} rows; found {len(rows)}. Of a pooled table "
            "they stand table after table."
        )
    refuse(~np.isfinite(rows), outcomes.groups, "a value must be a finite number", rows)
    if value_range is not None:
        low, high = value_range
        outside = (rows < low) | (rows > high)
        refuse(
            outside,
            outcomes.groups,
            f"every value must lie in the declared value_range [{low:g}, {high:g}]",
            rows,
        )
    return outcomes.groups.gather(rows)
