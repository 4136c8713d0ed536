"""The beta for a budget: a KL to spend, or a mean reward to reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.inference.intervals import normal_quantile
from tiltz.inference.request import check_table, checked_level
from tiltz.kernels import Columns, Reduced, log_ratios, reduce_groups, reward_spread
from tiltz.outcomes import Outcomes
from tiltz.text import count, number, one_line

Floats = npt.NDArray[np.float64]

Influence = Callable[[Floats, Floats, Floats, Floats, Floats], Floats]
"""What one sample moves, of a KL or of a mean reward over beta: from its tilted share times n, its importance weight
over the mean one, its reward, the tilted mean reward and beta."""

FAR = 1e12  # betas are sought within this factor of the spread of the rewards
_STEP = 1e-4  # of log beta, for a derivative
_BISECTIONS = 60  # of 24 decades on the log scale: to the last digit


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class BetaChoice:
    """The beta that meets a target.

    Attributes
    ----------
    beta, lo, hi : array, shape (n_prompts,), or (1,) for the mean over prompts
        KL coefficient and its limits, in reward per nat; NaN where the target cannot be met. Exact tables have
        ``lo == beta == hi``; for samples the limits are large-sample ones (approximate).
    flags : tuple of tuple of str
        Per entry: ``"unattainable"`` (even the best rows fall short of the target) or ``"below_reference"`` (the
        reference alone exceeds it).
    prompt : array
        Labels of the entries; empty for the mean over prompts.
    target : str
        What was asked for.
    """

    beta: Floats
    lo: Floats
    hi: Floats
    flags: tuple[tuple[str, ...], ...]
    prompt: npt.NDArray[Any]
    target: str

    def __float__(self) -> float:
        if self.beta.size != 1:
            raise InputError(
                f"float() needs one entry; this choice has {len(self.beta)}. Read .beta instead."
            )
        return float(self.beta[0])

    def __repr__(self) -> str:
        labels = [one_line(label)[:40] for label in self.prompt] or ["mean over prompts"]
        lines = [
            f"  {label}: beta {number(beta)} [{number(lo)}, {number(hi)}] {' '.join(flags)}".rstrip()
            for label, beta, lo, hi, flags in zip(
                labels[:10], self.beta, self.lo, self.hi, self.flags, strict=False
            )
        ]
        more = [f"  ... {count(len(labels) - 10, 'more prompt')}"] if len(labels) > 10 else []
        return "\n".join([f"BetaChoice for {self.target}", *lines, *more])


def beta_for_kl(
    outcomes: Outcomes, kl: float, *, per: Literal["prompt", "mean"] = "prompt", level: float = 0.95
) -> BetaChoice:
    """Return the beta at which the tilted policy is so far from the reference.

    Parameters
    ----------
    outcomes : Outcomes
        Complete or sampled.
    kl : float
        KL(tilted || reference) to spend, > 0, in nats.
    per : {"prompt", "mean"}
        One beta for each prompt, or one for all at which the mean KL over prompts is ``kl``.
    level : float, default 0.95
        Confidence level of the limits.

    Returns
    -------
    BetaChoice
        NaN and a flag for prompts whose rows cannot reach ``kl``: of n draws from the reference it is at most log n.

    Raises
    ------
    InputError
        If no prompt can reach ``kl``, or the table is partial.

    Notes
    -----
    The limits are the delta method's: approximate, and too low for large budgets, since n draws see less KL than there
    is. Measured for 256 Gaussian rewards at 95%: .94 covered at 0.02 nats, .93 at 0.125, .86 at 0.5, .55 at 2. For
    the mean over prompts they are widened by the bias that half samples show.

    Examples
    --------
    >>> import numpy as np, tiltz
    >>> table = tiltz.Outcomes.complete(np.log([0.5, 0.5]), [0.0, 1.0])
    >>> choice = tiltz.beta_for_kl(table, 0.1)
    >>> round(float(choice), 4), tiltz.tilt(table, float(choice)).kl.round(12)
    (1.0599, array([[0.1]]))
    """
    if isinstance(kl, bool) or not isinstance(kl, int | float | np.number) or not 0 < kl < np.inf:
        raise InputError(f"kl must be a positive number of nats; found {kl!r}.")

    def influence(share: Floats, weight: Floats, reward: Floats, mean: Floats, beta: Floats) -> Floats:
        return share * (reward - mean) / beta - (share - weight)

    return _choose(outcomes, "kl", kl, per, level, f"KL {number(kl)} nats", influence)


def beta_for_reward(
    outcomes: Outcomes, reward: float, *, per: Literal["prompt", "mean"] = "prompt", level: float = 0.95
) -> BetaChoice:
    """Return the beta at which the tilted policy has this mean reward.

    Parameters
    ----------
    outcomes : Outcomes
        Complete or sampled.
    reward : float
        Tilted mean reward to reach, between the reference's mean and the largest reward.
    per : {"prompt", "mean"}
        One beta for each prompt, or one for all at which the mean over prompts is ``reward``.
    level : float, default 0.95
        Confidence level of the limits.

    Returns
    -------
    BetaChoice
        NaN and a flag for prompts whose rewards cannot average to ``reward`` under any tilt.

    Raises
    ------
    InputError
        If no prompt can reach ``reward``, or the table is partial.

    Examples
    --------
    >>> import numpy as np, tiltz
    >>> table = tiltz.Outcomes.complete(np.log([0.5, 0.5]), [0.0, 1.0])
    >>> round(float(tiltz.beta_for_reward(table, 0.75)), 6)
    0.910239
    """
    if isinstance(reward, bool) or not isinstance(reward, int | float | np.number) or not np.isfinite(reward):
        raise InputError(f"reward must be a finite number; found {reward!r}.")

    def influence(share: Floats, weight: Floats, rewards: Floats, mean: Floats, beta: Floats) -> Floats:
        return share * (rewards - mean) / beta

    return _choose(outcomes, "mean_reward", reward, per, level, f"mean reward {number(reward)}", influence)


def _choose(
    outcomes: Outcomes,
    quantity: str,
    target: float,
    per: str,
    level: float,
    described: str,
    influence: Influence,
) -> BetaChoice:
    check_table(outcomes)
    checked_level(level)
    if per not in ("prompt", "mean"):
        raise InputError(f"per must be 'prompt' or 'mean'; found {per!r}.")
    if outcomes.evidence == "partial":
        raise InputError(
            "a beta for a budget needs a complete or sampled table; the unlisted outcomes of a partial one leave the "
            "tilted policy open."
        )
    columns = outcomes.columns()
    _refuse_dead(outcomes, columns, per)
    spread = reward_spread(columns)
    spread = np.where(spread > 0, spread, 1.0)
    if per == "mean":
        spread = np.full_like(spread, np.max(spread))

    def value(beta: Floats) -> Floats:
        values = getattr(reduce_groups(columns, beta[:, None], moments=True), quantity)[:, 0]
        return np.full_like(values, np.mean(values)) if per == "mean" else values

    top, bottom = value(spread / FAR), value(spread * FAR)
    falls_short, exceeds = ~(top > target), bottom >= target
    if np.all(falls_short | exceeds):
        raise InputError(f"no beta gives {described}: {_why(outcomes, top[falls_short], bottom[exceeds])}")
    beta = bisect(value, spread, target)
    below = above = np.zeros_like(beta)
    if outcomes.evidence == "sampled":
        below = above = normal_quantile(level) * _log_beta_error(columns, beta, quantity, per, influence)
        if per == "mean" and len(beta) > 1:
            shift = _log_beta_bias(columns, beta, quantity)
            below, above = below + np.maximum(-shift, 0.0), above + np.maximum(shift, 0.0)
    with np.errstate(over="ignore"):
        found = np.stack([beta, beta * np.exp(-below), beta * np.exp(above)])
    found[:, falls_short | exceeds] = np.nan
    found[1:, np.isnan(found[1])] = np.nan
    flags = tuple(
        ("unattainable",) if short else ("below_reference",) if above else ()
        for short, above in zip(falls_short, exceeds, strict=True)
    )
    keep = slice(0, 1) if per == "mean" else slice(None)
    labels = outcomes.prompt[:0] if per == "mean" else outcomes.prompt
    beta, lo, hi = found[:, keep]
    return BetaChoice(beta=beta, lo=lo, hi=hi, flags=flags[keep], prompt=labels, target=described)


def _refuse_dead(outcomes: Outcomes, columns: Columns, per: str) -> None:
    """Refuse prompts without a tilted policy where all are like that, or where all are averaged."""
    possible = (columns.reward > -np.inf) & (columns.log_mass > -np.inf)
    dead = ~np.logical_or.reduceat(possible, columns.start[:-1])
    if np.all(dead) or (per == "mean" and np.any(dead)):
        raise InputError(
            f"every outcome of {outcomes.groups.name(int(np.argmax(dead)))} has weight zero ({int(dead.sum())} of "
            f"{len(dead)} prompts), so that there is no tilted policy to average. Leave such prompts out with "
            "Outcomes.select."
        )


def _why(outcomes: Outcomes, top: Floats, bottom: Floats) -> str:
    """Say what rules a target out, given the ends of what the prompts that it is out of reach for allow."""
    if not len(top):
        return (
            f"these rows allow at least {number(float(np.min(bottom)), 6)}, which the reference alone gives."
        )
    more = "Draw more samples, or ask for less." if outcomes.evidence == "sampled" else "Ask for less."
    return f"these rows allow at most {number(float(np.nanmax(top)), 6)}. {more}"


def bisect(value: Callable[[Floats], Floats], spread: Floats, target: Floats | float) -> Floats:
    """Return where a quantity that falls with beta crosses the target, on the log scale."""
    below, above = np.log(spread / FAR), np.log(spread * FAR)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (below + above)
        too_high = value(np.exp(middle)) > target
        below, above = np.where(too_high, middle, below), np.where(too_high, above, middle)
    return np.exp(0.5 * (below + above))


def _log_beta_error(
    columns: Columns,
    beta: Floats,
    quantity: str,
    per: str,
    influence: Influence,
) -> Floats:
    """Return standard errors of log beta, by the delta method on the quantity that was solved for.

    Its derivative by log beta, in the units of ``influence``, is the variance of reward / beta.
    """
    first, n = columns.start[:-1], np.diff(columns.start)
    reduced: Reduced = reduce_groups(columns, beta[:, None], moments=True)
    prob = np.exp(log_ratios(columns, beta[:, None])[0][:, 0])
    assert reduced.mean_reward is not None
    mean = np.repeat(reduced.mean_reward[:, 0], n)
    reward = np.where(prob > 0, columns.reward, mean)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore", under="ignore"):
        # In units of beta, so that no square of a reward leaves the floats.
        variance = np.add.reduceat(prob * ((reward - mean) / np.repeat(beta, n)) ** 2, first)
        scores = influence(
            np.repeat(n, n) * prob, _relative_weight(columns), reward, mean, np.repeat(beta, n)
        )
        error = np.sqrt(np.add.reduceat(scores**2, first) / np.maximum(n - 1, 1) / n)
        if per == "prompt" or len(n) == 1:
            return error / variance
        unit = beta if quantity == "mean_reward" else np.ones_like(beta)
        values = getattr(reduced, quantity)[:, 0] / unit
        # The spread of the prompts' values holds both sources of variance, unless few of them happen to agree.
        spread = max(np.std(values, ddof=1), np.sqrt(np.mean(error**2))) / np.sqrt(len(n))
        return np.broadcast_to(spread / np.mean(variance), beta.shape)


def _log_beta_bias(columns: Columns, beta: Floats, quantity: str) -> float:
    """Return how far log beta is too low because few samples bias every prompt alike, which averaging leaves.

    The bias of n samples is read off half samples, which have twice of it to leading order; counted twice, because
    what lies beyond that order has the same sign. Prompts of one sample show none.
    """
    n = np.diff(columns.start)
    rank = np.arange(len(columns.reward)) - np.repeat(columns.start[:-1], n)
    log_weight = columns.log_mass + np.log(np.repeat(n, n))
    whole = reduce_groups(columns, beta[:, None], moments=True)
    values = getattr(whole, quantity)[:, 0]
    halves = []
    for odd in (0, 1):
        kept = (rank % 2 == odd) | np.repeat(n == 1, n)
        size = np.add.reduceat(kept.astype(np.int64), columns.start[:-1])
        part = Columns(
            reward=columns.reward[kept],
            log_mass=log_weight[kept] - np.log(np.repeat(size, size)),
            log_count=np.log(size),
            start=np.concatenate([[0], np.cumsum(size)]),
            normalised=columns.normalised,
        )
        halves.append(getattr(reduce_groups(part, beta[:, None], moments=True), quantity)[:, 0])
    with np.errstate(invalid="ignore"):
        short = float(np.nanmean(values - 0.5 * (halves[0] + halves[1])))
    slope = np.abs(_slope(columns, beta, quantity))
    return 2 * short / slope if np.isfinite(short) and slope > 0 else 0.0


def _slope(columns: Columns, beta: Floats, quantity: str) -> float:
    """Return the derivative of the mean over prompts by log beta, by a difference."""
    ends = [
        np.nanmean(getattr(reduce_groups(columns, beta[:, None] * np.exp(step), moments=True), quantity))
        for step in (-_STEP, _STEP)
    ]
    return float((ends[1] - ends[0]) / (2 * _STEP))


def _relative_weight(columns: Columns) -> Floats:
    """Return every importance weight over the mean one of its group; 1 for draws from the reference."""
    if columns.normalised:
        return np.ones_like(columns.log_mass)
    first, n = columns.start[:-1], np.diff(columns.start)
    weight = np.exp(columns.log_mass - np.repeat(np.maximum.reduceat(columns.log_mass, first), n))
    return weight / np.repeat(np.add.reduceat(weight, first) / n, n)
