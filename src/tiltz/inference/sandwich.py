"""log Z between two bounds: from below by draws of the reference, from above by exact draws of the tilted policy.

No bound on the reward is needed, since each side averages logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.checks import refuse
from tiltz.errors import InputError
from tiltz.inference.estimate import estimate
from tiltz.inference.hall import studentized
from tiltz.inference.intervals import t_quantile
from tiltz.inference.request import check_table, checked_betas, checked_level
from tiltz.inference.sampled import FEW
from tiltz.inference.streams import stream_seeds
from tiltz.outcomes import Outcomes
from tiltz.text import count, number, one_line

Floats = npt.NDArray[np.float64]
_PAIRS = 1 << 20  # of a group and a tilted draw, in memory at once
_ROUNDING = 1e-12  # relative spreads below this are rounding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Sandwich:
    """Bounds of log Z from both sides, of every prompt and number of draws per logarithm.

    Attributes
    ----------
    lower, upper : array, shape (n_prompts, n_k)
        Unbiased estimates of the lower and of the upper bound, in nats.
    lo, hi : array, shape (n_prompts, n_k)
        Limits of log Z, in nats: the lower limit of the lower bound, the upper limit of the upper bound.
    kind : array of str, shape (n_prompts, n_k)
        What the limits promise: "approximate", "lower-only", "upper-only", or "unknown".
    flags : array of tuple of str, shape (n_prompts, n_k)
        "too_few" (a bound is a mean of fewer than 25 terms), "all_equal" (the terms of a bound do not vary),
        "impossible" (the reference draws outcomes without weight: its lower bounds are -inf) and "crossed" (the limits
        contradict each other: the draws are not of the laws they are taken for).
    kl_lo, kl_hi, kl_reverse_lo, kl_reverse_hi : array, shape (n_prompts, n_k)
        Limits of KL(tilted || reference) and of KL(reference || tilted), each one-sided at ``level``, in nats.
    reverse, reverse_lo, reverse_hi, reverse_khat, reverse_kind, reverse_flags : array, shape (n_prompts,)
        The reverse estimator of log Z and its limits, in nats, the tail index of its weights, what its limits promise,
        as in ``kind``, also "calibrated", and why they may not be trusted, as in an Estimate.
    prompt, n_reference, n_tilted : array, shape (n_prompts,)
        Labels and numbers of draws.
    beta, level : float
        KL coefficient, in reward per nat, and confidence level.
    k : tuple of int
        Draws per logarithm.
    """

    lower: Floats
    upper: Floats
    lo: Floats
    hi: Floats
    kind: npt.NDArray[Any]
    flags: npt.NDArray[Any]
    kl_lo: Floats
    kl_hi: Floats
    kl_reverse_lo: Floats
    kl_reverse_hi: Floats
    reverse: Floats
    reverse_lo: Floats
    reverse_hi: Floats
    reverse_khat: Floats
    reverse_kind: npt.NDArray[Any]
    reverse_flags: npt.NDArray[Any]
    prompt: npt.NDArray[Any]
    beta: float
    k: tuple[int, ...]
    n_reference: npt.NDArray[np.int64]
    n_tilted: npt.NDArray[np.int64]
    level: float

    def __repr__(self) -> str:
        prompts = count(len(self.prompt), "prompt")
        lines = [f"Bounds of log Z (nats), {prompts}, beta {number(self.beta)}, level {self.level:g}"]
        for i, label in enumerate(self.prompt[:10]):
            cells = [
                f"k {size}: {number(self.lower[i, j])} to {number(self.upper[i, j])} "
                f"[{number(self.lo[i, j])}, {number(self.hi[i, j])}] {self.kind[i, j]}"
                for j, size in enumerate(self.k)
            ]
            lines.append(f"  {one_line(label)[:40]}: {'; '.join(cells)}")
        more = len(self.prompt) - 10
        return "\n".join(lines + [f"  ... {count(more, 'more prompt')}"] * (more > 0))


def sandwich(
    reference: Outcomes,
    tilted: Outcomes,
    beta: float,
    *,
    k: int | Sequence[int] = 1,
    level: float = 0.95,
    rng: np.random.Generator | None = None,
) -> Sandwich:
    """Bound log Z from both sides by draws of the reference and exact draws of the tilted policy at one beta.

    Parameters
    ----------
    reference : Outcomes
        Draws from the reference, or from one proposal with ``log_ref`` and ``log_proposal``.
    tilted : Outcomes
        Exact draws from the tilted policy at ``beta`` for the same prompts, independent of the former, with a name
        (``drawn_from="tilted"``): from rejection, a finished search, or an exact sampler. Rewards suffice; beside a
        proposal they need ``log_ref``, and ``log_densities`` under the proposal's name.
    beta : float
        KL coefficient, > 0, in reward per nat.
    k : int or sequence of int, default 1
        Draws per logarithm, each in its own column. More of them bring the bounds together and leave fewer terms.
    level : float, default 0.95
        Confidence level.
    rng : numpy.random.Generator, optional
        Moves the random streams that split the rows into groups of k. None: a fixed stream per prompt.

    Returns
    -------
    Sandwich
        Bounds, limits, both divergences and the reverse estimator.

    Raises
    ------
    InputError
        If a table is not one of draws as above, prompts differ, a tilted draw has no weight, or k exceeds the draws.

    Notes
    -----
    With the weight w = pi_ref / q exp(r / beta) of draws y from q (the reference itself or the proposal), E_q[w] = Z.
    By Jensen's inequality, and because one tilted draw among k - 1 others is the law of k draws reweighted by their
    mean weight [1]_ [2]_,

        lower_k = E[log mean(w_1, ..., w_k)], all k from q          = log Z - KL(law of the k || reweighted law)
        upper_k = E[log mean(w_0, w_2, ..., w_k)], w_0 from tilted  = log Z + KL(reweighted law || law of the k)

    so that lower_k <= log Z <= upper_k, lower_k grows and upper_k falls with k, and at k = 1 the gaps are
    KL(q || tilted) and KL(tilted || q); for a proposal those, not the ones of the reference, are reported.

    Points are unbiased: ``lower`` is a mean over disjoint groups of k rows, ``upper`` one over all pairs of a tilted
    row and a disjoint group of k - 1 rows (beyond a million pairs, of blocks of them). The limits are approximate:
    Hall's correction for skewness with a quantile of Student's t, each at 1 - (1 - level) / 2, so that together they
    hold log Z at ``level`` or more, for a k that was chosen before looking.

    The reverse estimator is log Z = -log E_tilted[1 / w], which holds where q draws no outcome without weight; limits
    as :func:`tiltz.estimate` gives them (mostly bootstrap-t), the upper one alone where the weights 1 / w are too heavy
    (``reverse_khat``). Consistent, biased upward.

    References
    ----------
    .. [1] Y. Burda, R. Grosse, R. Salakhutdinov, "Importance weighted autoencoders", ICLR 2016.
    .. [2] R. Brekelmans et al., "Improving mutual information estimation with annealed and energy-based bounds", 2022.
    .. [3] R. Grosse et al., "Sandwiching the marginal likelihood using bidirectional Monte Carlo", arXiv:1511.02543.

    Examples
    --------
    Normal rewards, whose tilted law at beta 1 is the normal law with mean 1; log Z is 0.5 and either KL too:

    >>> import numpy as np, tiltz
    >>> generator = np.random.default_rng(0)
    >>> reference = tiltz.Outcomes.sampled(generator.normal(0, 1, 2000))
    >>> tilted = tiltz.Outcomes.sampled(generator.normal(1, 1, 2000), drawn_from="tilted")
    >>> found = tiltz.sandwich(reference, tilted, beta=1.0, k=[1, 8])
    >>> found.lower.round(1), found.upper.round(1)
    (array([[0. , 0.4]]), array([[1. , 0.6]]))
    """
    _check_tables(reference, tilted)
    betas, sizes = checked_betas(beta), _checked_sizes(k, reference)
    checked_level(level)
    if len(betas) != 1:
        raise InputError(f"the tilted draws belong to one beta; found {len(betas)} betas.")
    with np.errstate(over="ignore", invalid="ignore"):
        scores = reference.log_weight + reference.reward / betas[0]
        tilted_scores = _log_ratio(tilted, reference) + tilted.reward / betas[0]
    refuse(scores == np.inf, reference.groups, "reward / beta must be a float", reference.reward)
    refuse(~np.isfinite(tilted_scores), tilted.groups, "a tilted draw must have a positive finite weight")
    starts = _by_prompt(reference, scores)
    by_label = dict(zip(tilted.prompt.tolist(), _by_prompt(tilted, tilted_scores), strict=True))
    ends = [by_label[label] for label in reference.prompt.tolist()]
    streams = map(np.random.default_rng, stream_seeds(reference.groups, rng))
    # Rows may be sorted, and then neighbours would not be a random group.
    found = [
        _bounds(stream.permutation(start), stream.permutation(end), sizes, level)
        for start, end, stream in zip(starts, ends, streams, strict=True)
    ]
    arrays = {name: np.stack([one[name] for one in found]) for name in found[0]}
    blocked = np.array([bool(np.isneginf(start).any()) for start in starts])
    arrays |= _reverse(reference.prompt, ends, blocked, level, rng)
    arrays |= {"n_reference": reference.n, "n_tilted": np.array([len(end) for end in ends])}
    for array in arrays.values():
        array.setflags(write=False)
    return Sandwich(**arrays, prompt=reference.prompt, beta=float(betas[0]), k=sizes, level=level)


@dataclass(frozen=True, slots=True)
class _Bound:
    """A mean of logarithms and its limits, of which each holds at 1 - (1 - level) / 2."""

    point: float
    lo: float
    hi: float
    flags: tuple[str, ...] = ()


def _bounds(start: Floats, end: Floats, sizes: tuple[int, ...], level: float) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of one prompt, from the log weights of its two kinds of draws in random order."""
    below, above = [_lower(start, k, level) for k in sizes], [_upper(start, end, k, level) for k in sizes]
    lower_1, upper_1 = _lower(start, 1, level), _upper(start, end, 1, level)
    lo, hi = np.array([bound.lo for bound in below]), np.array([bound.hi for bound in above])
    kind = np.array([_kind(*limits) for limits in zip(lo, hi, strict=True)], dtype=object)
    flags = np.empty(len(sizes), dtype=object)
    for j, (one, other) in enumerate(zip(below, above, strict=True)):
        flags[j] = tuple(dict.fromkeys(one.flags + other.flags + ("crossed",) * (one.lo > other.hi)))
    return {
        "lower": np.array([bound.point for bound in below]),
        "upper": np.array([bound.point for bound in above]),
        **{"lo": lo, "hi": hi, "kind": kind, "flags": flags},
        "kl_lo": np.maximum(upper_1.lo - hi, 0.0),
        "kl_hi": upper_1.hi - lo,
        "kl_reverse_lo": np.maximum(lo - lower_1.hi, 0.0),
        "kl_reverse_hi": hi - lower_1.lo,
    }


def _lower(start: Floats, k: int, level: float) -> _Bound:
    """Return the bound from k draws per logarithm."""
    if np.isneginf(start).any():  # with some probability all k are, whether or not that happened
        return _Bound(-np.inf, -np.inf, np.inf, ("impossible",))
    return _mean(_log_sums(start, k) - math.log(k), level=level)


def _upper(start: Floats, end: Floats, k: int, level: float) -> _Bound:
    """Return the bound from one tilted draw among k, paired with every group of the others."""
    if k == 1:
        return _mean(end, level=level)
    others = _log_sums(start, k - 1)
    n_blocks = min(math.ceil(math.sqrt(len(others) * len(end) / _PAIRS)), len(others), len(end))
    means = []
    for some, ends in zip(np.array_split(others, n_blocks), np.array_split(end, n_blocks), strict=True):
        terms = np.logaddexp(some[:, None], ends) - math.log(k)
        means.append((terms.mean(axis=1), terms.mean(axis=0)))
    return _mean(*map(np.concatenate, zip(*means, strict=True)), level=level)


def _mean(*parts: Floats, level: float) -> _Bound:
    """Return the mean of the first part, to whose error every part adds its own.

    Two parts are the two ways to average terms over pairs; their common noise counts twice, which widens the limits.
    """
    point, least = float(parts[0].mean()), min(map(len, parts))
    flags = ("too_few",) * (least < FEW)
    if least < 2 or any(np.ptp(part) <= _ROUNDING * np.abs(part).max() for part in parts):
        return _Bound(point, -np.inf, np.inf, flags + ("all_equal",) * (least > 1))
    variance = np.array([part.var(ddof=1) / len(part) for part in parts])
    third = sum(float(((part - part.mean()) ** 3).mean()) / len(part) ** 2 for part in parts)
    error = math.sqrt(variance.sum())
    degrees = variance.sum() ** 2 / sum(v**2 / (len(p) - 1) for v, p in zip(variance, parts, strict=True))
    quantile = float(t_quantile(level, degrees))
    low, high = (error * float(studentized(third / error**3, end)) for end in (quantile, -quantile))
    return _Bound(point, point - low, point - high, flags)


def _log_sums(scores: Floats, k: int) -> Floats:
    """Return the log of the sum of weights over disjoint groups of k rows."""
    return np.logaddexp.reduce(scores[: len(scores) // k * k].reshape(-1, k), axis=1)


def _reverse(
    prompt: npt.NDArray[Any], ends: list[Floats], blocked: Any, level: float, rng: np.random.Generator | None
) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of the reverse estimator, which is too high where outcomes without weight block it."""
    labels, scores = np.repeat(prompt, [len(end) for end in ends]), np.concatenate(ends)
    found = estimate(Outcomes.sampled(-scores, prompt=labels), 1.0, level=level, rng=rng)
    lo, hi = np.where(blocked, -np.inf, -found.hi[:, 0]), -found.lo[:, 0]
    kind = np.array([_kind(*limits) for limits in zip(lo, hi, strict=True)], dtype=object)
    return {
        "reverse": np.where(blocked, np.nan, -found.log_z[:, 0]),
        "reverse_lo": lo,
        "reverse_hi": hi,
        "reverse_khat": found.khat[:, 0],
        "reverse_kind": np.where(kind == "approximate", found.kind[:, 0], kind),
        "reverse_flags": found.flags[:, 0],
    }


def _kind(lo: float, hi: float) -> str:
    if lo > hi:
        return "unknown"
    ends = {(True, True): "approximate", (True, False): "lower-only", (False, True): "upper-only"}
    return ends.get((bool(np.isfinite(lo)), bool(np.isfinite(hi))), "unknown")


def _by_prompt(outcomes: Outcomes, scores: Floats) -> list[Floats]:
    return np.split(outcomes.groups.gather(scores), outcomes.groups.start[1:-1])


def _log_ratio(tilted: Outcomes, reference: Outcomes) -> Floats:
    """Return log_ref less log_proposal of the tilted rows, for the proposal that the other table comes from."""
    if not reference.weighted:
        return np.zeros(len(tilted))
    known, name = tilted.log_densities or {}, reference.drawn_from
    if "reference" not in known or name not in known:
        what = f"beside draws from a proposal, tilted draws need log_ref and log_densities[{name!r}]"
        raise InputError(f"{what}; found {', '.join(map(repr, known)) or 'neither'}. Score them under both.")
    return known["reference"] - known[name]


def _checked_sizes(k: int | Sequence[int], reference: Outcomes) -> tuple[int, ...]:
    sizes = np.atleast_1d(np.asarray(k))
    if sizes.ndim != 1 or sizes.size == 0 or sizes.dtype.kind not in "iu" or sizes.min() < 1:
        raise InputError(f"k must be a whole number of draws, 1 or more, or a sequence of them; found {k!r}.")
    at = int(np.argmin(reference.n))
    if reference.n[at] < sizes.max():
        found = f"{reference.groups.name(at)} has {reference.n[at]} for k = {sizes.max()}"
        raise InputError(f"every prompt needs k draws or more in reference=; {found}. Take a smaller k.")
    return tuple(sizes.tolist())


def _check_tables(reference: Outcomes, tilted: Outcomes) -> None:
    for name, table in (("reference", reference), ("tilted", tilted)):
        check_table(table)
        if table.evidence != "sampled" or table.stopping != "fixed" or table.sampler is not None:
            found = f"{table} ({table.stopping})"
            raise InputError(
                f"sandwich needs a fixed number of draws of one sampler in {name}=; found {found}."
            )
    unnamed = reference.weighted == (reference.drawn_from == "reference")
    if unnamed or tilted.weighted or tilted.drawn_from in ("reference", reference.drawn_from):
        found = [f"{'weighted ' * t.weighted}draws from the {t.drawn_from}" for t in (reference, tilted)]
        raise InputError(
            "sandwich takes draws from the reference first (or weighted ones, by log_proposal, from a sampler that "
            "drawn_from names), and unweighted ones from the tilted policy second (drawn_from='tilted'); found "
            f"{found[0]} and {found[1]}."
        )
    one, other = reference.prompt.tolist(), tilted.prompt.tolist()
    if sorted(one, key=str) != sorted(other, key=str) or len(set(one)) < len(one):
        lone = next(x for x in [*one, *other] if (one.count(x), other.count(x)) != (1, 1))
        raise InputError(
            f"sandwich joins tables by prompt, and each must be in both, in one step; {lone!r} is not. Keep the shared "
            "ones with Outcomes.select, and read one step."
        )
