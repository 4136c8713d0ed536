"""Two tables -> how far a policy is from the optimum of its own reward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tiltz.auditing import trust
from tiltz.auditing.checks import OVERALL_ERRORS, PROMPT_ERRORS, Check, checks_of, failed, gap_check
from tiltz.auditing.evidence import Batch, batches
from tiltz.auditing.limits import Limits, limits_of
from tiltz.auditing.overall import over_prompts
from tiltz.auditing.quantities import AT, NAMES
from tiltz.auditing.result import SHOWN, Audit, OverallAudit, Quantity
from tiltz.auditing.totals import totals_of
from tiltz.auditing.verdicts import REFUSED, verdict
from tiltz.errors import InputError
from tiltz.inference.request import checked_betas, checked_level
from tiltz.outcomes import Outcomes

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_ROWS = 8192  # resampled at once
_REST_ON_LOG_PROBS = (
    "kl",
    "achieved",
    "ceiling",
    "gap",
    "share",
    "optimal_reward",
    "achieved_gain",
    "room",
    "excess",
)
_REST_ON_REFERENCE = ("reference_reward", "reward_gain", "achieved_gain", "room", "share")


def audit(
    policy: Outcomes,
    beta: float,
    *,
    reference: Outcomes | None = None,
    level: float = 0.95,
    checks: Sequence[Check] = (),
) -> Audit:
    """Say how much of what a reward can give at this beta a policy has collected.

    Parameters
    ----------
    policy : Outcomes
        Rows that the policy drew, with ``log_ref``, and ``log_policy`` as their ``log_proposal``.
    beta : float
        KL coefficient, > 0, in reward per nat.
    reference : Outcomes, optional
        Rows that the reference drew for the same prompts. With ``log_ref``, and the policy's score of them in
        ``log_densities``, both tables are pooled row by row.
    level : float, default 0.95
        Confidence level.
    checks : sequence of Check, optional
        Further checks, of what only files or models show; one that failed refuses the audit like one of its own.

    Returns
    -------
    Audit
        Reward, KL, J, ceiling, gap and share of every prompt and over prompts, with limits and a verdict.

    Raises
    ------
    InputError
        If a table is not what its name says, or a reward or log-probability makes J infinite.

    Notes
    -----
    J(policy) = E[r] - beta KL(policy || reference) = V - beta KL(policy || tilted), where V = beta log Z. Limits are
    bootstrap-t, resampled within the rows of each sampler, so that J and V move together; they are approximate. Points
    of V are consistent and too low on average. Where the rows do not show what lies between or beside policy and
    reference, or weights are too uneven, V and the gap have no upper limit, unless a reward range was declared.

    Examples
    --------
    >>> import numpy as np, tiltz
    >>> ref, reward, rng = np.array([0.7, 0.3]), np.array([0.0, 1.0]), np.random.default_rng(0)
    >>> tilted = ref * np.exp(reward / 0.5) / np.sum(ref * np.exp(reward / 0.5))
    >>> y, x = rng.choice(2, 400, p=tilted), rng.choice(2, 400, p=ref)
    >>> policy = tiltz.Outcomes.sampled(
    ...     reward[y], log_ref=np.log(ref)[y], log_proposal=np.log(tilted)[y], drawn_from="policy"
    ... )
    >>> reference = tiltz.Outcomes.sampled(
    ...     reward[x], log_ref=np.log(ref)[x], log_densities={"policy": np.log(tilted)[x]}
    ... )
    >>> found = tiltz.audit(policy, 0.5, reference=reference)
    >>> found.overall.verdict, round(found.overall.ceiling.value, 4)
    ('near its optimum', 0.5352)
    """
    beta = _one_beta(beta)
    checked_level(level)
    parts = [part for batch in batches(policy, reference) for part in batch.parts(_ROWS)]
    each, flags = _of_prompts(parts, beta, level)
    open_ = np.any([flags[name] for name in trust.ABOVE if name != "too_few"], axis=0)
    whole = over_prompts(each, open_, beta, level)
    known = reference_range(policy, reference)
    each = _opened(each, flags, known)
    above = np.any([flags[name] for name in trust.ABOVE], axis=0)
    tried = (_gap_check(each, whole, above, open_), *checks_of(parts), *checks)
    refused = any(failed(tried))
    if len(each.value) == 1:
        whole = over_prompts(each, above, beta, level)
    elif np.mean(flags["no_reference"]) > 0.5:
        whole = _unknown(whole, _REST_ON_REFERENCE)
    whole = _within(whole, known)
    if refused:
        each, whole = _unknown(each, _REST_ON_LOG_PROBS), _unknown(whole, _REST_ON_LOG_PROBS)
    each, whole = _not_below_zero(each), _not_below_zero(whole)
    words = [REFUSED if refused else verdict(_by_name(each, i), beta) for i in range(len(each.value))]
    kinds = np.where(above, "lower-only", "approximate").astype(object)
    return Audit(
        **{name: _quantity(each, name) for name in SHOWN},
        prompt=policy.prompt,
        beta=beta,
        level=level,
        n_policy=policy.n,
        n_reference=_sizes(parts),
        kind=kinds,
        flags=_names(flags),
        verdict=np.array(words, dtype=object),
        overall=OverallAudit(
            **{name: _quantity(whole, name) for name in SHOWN},
            n_prompts=len(words),
            n_open=int(np.count_nonzero(open_)),
            kind="lower-only" if np.isposinf(whole.hi[AT["ceiling"]]) else "approximate",
            verdict=REFUSED if refused else verdict(_by_name(whole, ...), beta),
        ),
        checks=tried,
    )


def _one_beta(beta: float) -> float:
    betas = checked_betas(beta)
    if len(betas) != 1:
        raise InputError(
            f"an audit is made at one beta, the one of the policy's training; found {len(betas)}."
        )
    return float(betas[0])


def reference_range(policy: Outcomes, reference: Outcomes | None) -> tuple[float, float] | None:
    """Return the declared range of rewards, of both tables where both declare one."""
    ranges = []
    for table in (policy, reference):
        if table is not None and table.reward_range is not None:
            ranges.append(table.reward_range)
        elif table is not None and table.reward_values is not None:
            ranges.append((min(table.reward_values), max(table.reward_values)))
    return (min(low for low, _ in ranges), max(high for _, high in ranges)) if ranges else None


def _of_prompts(parts: Sequence[Batch], beta: float, level: float) -> tuple[Limits, dict[str, Flags]]:
    n = sum(len(part.prompt) for part in parts)
    arrays = {name: np.empty((n, len(NAMES))) for name in ("value", "error", "lo", "hi", "bias")}
    flags = {name: np.zeros(n, dtype=bool) for name in trust.FLAGS}
    for part in parts:
        totals = totals_of(part, beta)
        found = limits_of(totals, beta, level)
        for name, array in arrays.items():
            array[part.prompt] = getattr(found, name)
        for name, raised in trust.raised(part, totals, beta).items():
            flags[name][part.prompt] = raised
        _widen_equal_rewards(arrays, part, level)
    return Limits(**arrays), flags


def _widen_equal_rewards(arrays: dict[str, Floats], part: Batch, level: float) -> None:
    """Widen what rests on a mean of equal rewards: they may differ in a share 1 - (alpha / 2)^(1 / n) of outcomes.

    How far they may lie apart is taken from all rewards of these prompts.
    """
    both = np.concatenate([part.reward.reshape(-1), part.ref_reward.reshape(-1)])
    low, high = both.min(), both.max()
    for rows, raising, lowering in (
        (part.reward, ("reward", "reward_gain"), ()),
        (part.ref_reward, ("reference_reward",), ("reward_gain", "achieved_gain", "room")),
    ):
        n = rows.shape[1]
        equal = part.prompt[np.ptp(rows, axis=1) == 0] if n else part.prompt[:0]
        if not len(equal):
            continue
        at, unseen = rows[np.ptp(rows, axis=1) == 0, 0], -np.expm1(np.log((1 - level) / 2) / n)
        up, down = (high - at) * unseen, (at - low) * unseen
        for name in raising:
            arrays["hi"][equal, AT[name]] += up
            arrays["lo"][equal, AT[name]] -= down
        for name in lowering:
            arrays["hi"][equal, AT[name]] += down
            arrays["lo"][equal, AT[name]] -= up
        if lowering:
            share, room = arrays["value"][equal, AT["share"]], arrays["value"][equal, AT["room"]]
            with np.errstate(divide="ignore", invalid="ignore"):
                slope = np.nan_to_num((1 - share) / room)
            arrays["lo"][equal, AT["share"]] -= slope * up
            arrays["hi"][equal, AT["share"]] += slope * down


def _opened(each: Limits, flags: dict[str, Flags], known: tuple[float, float] | None) -> Limits:
    """Take the limits away that flags say are not known, and put those of a declared range in their place."""
    lo, hi = each.lo.copy(), each.hi.copy()
    above = np.any([flags[name] for name in trust.ABOVE], axis=0)
    achieved, base = AT["achieved"], AT["reference_reward"]
    alike = flags["all_equal"]
    for name in ("reward", "kl", "achieved", "reward_gain", "achieved_gain"):
        lo[alike, AT[name]], hi[alike, AT[name]] = -np.inf, np.inf
    for name in ("optimal_reward", "excess"):
        lo[above, AT[name]], hi[above, AT[name]] = -np.inf, np.inf
    low, high = known or (-np.inf, np.inf)
    with np.errstate(invalid="ignore"):
        hi[above, AT["ceiling"]] = high
        hi[above, AT["gap"]] = high - lo[above, achieved]
        hi[above, AT["room"]] = high - lo[above, base]
        # At an infinite ceiling nothing would be collected.
        least = (lo[above, achieved] - hi[above, base]) / (high - hi[above, base])
    least = np.where(np.isnan(least), -np.inf, least) if known else np.zeros(int(above.sum()))
    lo[above, AT["share"]] = np.minimum(lo[above, AT["share"]], least)
    hi[above, AT["share"]] = np.maximum(hi[above, AT["share"]], np.minimum(least, 0.0))
    for name in ("reward", "reference_reward", "ceiling", "optimal_reward"):
        lo[:, AT[name]], hi[:, AT[name]] = (
            np.clip(lo[:, AT[name]], low, high),
            np.clip(hi[:, AT[name]], low, high),
        )
    found = Limits(value=each.value, error=each.error, lo=lo, hi=hi, bias=each.bias)
    return _unknown(found, _REST_ON_REFERENCE, flags["no_reference"])


def _within(whole: Limits, known: tuple[float, float] | None) -> Limits:
    """Return limits of the means that a declared range allows."""
    if known is None:
        return whole
    lo, hi = whole.lo.copy(), whole.hi.copy()
    levels = [AT[name] for name in ("reward", "reference_reward", "ceiling", "optimal_reward")]
    lo[levels], hi[levels] = np.clip(lo[levels], *known), np.clip(hi[levels], *known)
    hi[AT["gap"]] = min(hi[AT["gap"]], known[1] - lo[AT["achieved"]])
    return Limits(value=whole.value, error=whole.error, lo=lo, hi=hi, bias=whole.bias)


def _unknown(limits: Limits, names: Sequence[str], where: Flags | None = None) -> Limits:
    """Return limits without those of some quantities."""
    lo, hi = limits.lo.copy(), limits.hi.copy()
    at = [AT[name] for name in names]
    rows = ... if where is None else np.flatnonzero(where)[:, None]
    lo[rows, at], hi[rows, at] = -np.inf, np.inf
    return Limits(value=limits.value, error=limits.error, lo=lo, hi=hi, bias=limits.bias)


def _not_below_zero(limits: Limits) -> Limits:
    """Return limits of which those of KL and gap are no lower than 0, unless all of them are."""
    value, lo = limits.value.copy(), limits.lo.copy()
    for name in ("kl", "gap"):
        at = AT[name]
        lo[..., at] = np.where(limits.hi[..., at] >= 0, np.maximum(lo[..., at], 0.0), lo[..., at])
        value[..., at] = np.where(limits.hi[..., at] >= 0, np.maximum(value[..., at], 0.0), value[..., at])
    return Limits(value=value, error=limits.error, lo=lo, hi=limits.hi, bias=limits.bias)


def _gap_check(each: Limits, whole: Limits, above: Flags, open_: Flags) -> Check:
    """Return whether a gap is negative where the ceiling is known."""
    at = AT["gap"]
    gaps, errors = each.value[~above, at], each.error[~above, at]
    allowed = np.full(len(gaps), PROMPT_ERRORS)
    if 2 * np.count_nonzero(open_) < len(open_):
        gaps, errors = np.append(gaps, whole.value[at]), np.append(errors, whole.error[at])
        allowed = np.append(allowed, OVERALL_ERRORS)
    return gap_check(gaps, errors, allowed)


def _sizes(parts: Sequence[Batch]) -> npt.NDArray[np.int64]:
    sizes = np.zeros(sum(len(part.prompt) for part in parts), dtype=np.int64)
    for part in parts:
        sizes[part.prompt] = part.n_reference
    return sizes


def _by_name(limits: Limits, i: object) -> Mapping[str, tuple[float, float]]:
    lo, hi = limits.lo[i], limits.hi[i]  # pyright: ignore[reportArgumentType, reportCallIssue]
    return {name: (float(lo[k]), float(hi[k])) for name, k in AT.items()}


def _quantity(limits: Limits, name: str) -> Quantity:
    at = AT[name]
    if limits.value.ndim == 1:
        return Quantity(value=float(limits.value[at]), lo=float(limits.lo[at]), hi=float(limits.hi[at]))
    return Quantity(value=limits.value[:, at], lo=limits.lo[:, at], hi=limits.hi[:, at])


def _names(flags: dict[str, Flags]) -> npt.NDArray[np.object_]:
    n = len(next(iter(flags.values())))
    found = np.empty(n, dtype=object)
    for i in range(n):
        found[i] = tuple(name for name, raised in flags.items() if raised[i])
    return found
