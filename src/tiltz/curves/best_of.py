"""Best-of-n beside the tilted policy at the same KL: what training can gain over drawing more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.checks import refuse
from tiltz.curves.choose import FAR, bisect
from tiltz.curves.order_statistics import Steps, unbiased_best
from tiltz.errors import InputError
from tiltz.inference.band import laws_in_range, laws_of_values
from tiltz.inference.estimate import assemble, estimate_cells
from tiltz.inference.intervals import normal_quantile, t_quantile
from tiltz.inference.request import Request, check_table
from tiltz.inference.sampled import FEW_VALUES
from tiltz.inference.support import Support, support_of
from tiltz.kernels import Columns, reduce_groups, reward_spread
from tiltz.outcomes import Outcomes
from tiltz.text import count, number, one_line, paragraph, table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Limits = tuple[Floats, Floats]

BLOCKS = 4
"""So many times n draws a prompt must have for an interval from their spread."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Comparison:
    """Best-of-n and the tilted policy at the same KL.

    Attributes
    ----------
    kl : array
        KL(best-of-n || reference) in nats, ties counted as they are.
    reward, lo, hi : array
        Expected reward of best-of-n and its limits; NaN where there are none.
    kind : array of str
        What the limits promise: "exact", "certified", "calibrated", "approximate", or "point" without any.
    beta : array
        At which the tilted policy has this KL, in reward per nat; ``inf`` where the KL is 0.
    tilted_reward, tilted_lo, tilted_hi : array
        Mean reward of the tilted policy at ``beta``, and the limits of the most that any policy with this KL has.
    tilted_kind : array of str
        What these limits promise: "exact", "approximate", or "lower-only"; of the reference itself as in ``kind``.
    """

    kl: Floats
    reward: Floats
    lo: Floats
    hi: Floats
    kind: npt.NDArray[Any]
    beta: Floats
    tilted_reward: Floats
    tilted_lo: Floats
    tilted_hi: Floats
    tilted_kind: npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class BestOfN(Comparison):
    """Best-of-n of every prompt, arrays of shape (n_prompts, n_counts), beside the tilted policy at the same KL.

    Attributes
    ----------
    n : int array, shape (n_counts,)
        Draws that the best is taken of.
    prompt : array, shape (n_prompts,)
        Labels.
    step : int array, shape (n_prompts,) or None
        Training step of each group, where the table has several.
    level : float
        Confidence level.
    overall : Comparison
        Means over prompts, shape (n_counts,); the tilt has one beta for all prompts, at which their mean KL is that
        of best-of-n. The limits are for the population of prompts, of the prompt itself if there is one alone.
    """

    n: Ints
    prompt: npt.NDArray[Any]
    step: Ints | None
    level: float
    overall: Comparison

    def to_dict(self) -> dict[str, list[Any]]:
        """Return the long table, one row per prompt and n, as a list per column."""
        n_prompts, n_counts = self.kl.shape
        columns: dict[str, Any] = {"prompt": np.repeat(self.prompt, n_counts)}
        if self.step is not None:
            columns["step"] = np.repeat(self.step, n_counts)
        columns["n"] = np.tile(self.n, n_prompts)
        columns |= {field.name: getattr(self, field.name).reshape(-1) for field in fields(Comparison)}
        return {name: column.tolist() for name, column in columns.items()}

    def mean_curve(self) -> dict[str, list[Any]]:
        """Return the means over prompts, one row per n, as a list per column."""
        columns = {field.name: getattr(self.overall, field.name).tolist() for field in fields(Comparison)}
        return {"n": self.n.tolist(), **columns}

    def sentence(self) -> str:
        """Return what the largest n says, in words."""
        whole, j = self.overall, int(np.argmax(self.n))
        best = f"best-of-{self.n[j]}"
        kl = "KL" if len(self.prompt) == 1 else "mean KL"
        tilted = f"{number(whole.tilted_reward[j])}{_limits(whole.tilted_lo[j], whole.tilted_hi[j])}"
        if np.isinf(whole.beta[j]):
            return f"{best} is the reference itself (KL 0): reward {number(whole.reward[j])}"
        said = (
            f"at the {kl} of {best} ({number(whole.kl[j], 3)} nats) the tilt (beta {number(whole.beta[j], 3)}) reaches "
            f"reward {tilted}, {best} {number(whole.reward[j])}{_limits(whole.lo[j], whole.hi[j])}"
        )
        if whole.kind[j] != "exact" and whole.tilted_reward[j] < whole.reward[j]:
            said += (
                f"; no policy at that KL has more reward than the tilt, so its true value is at least that of {best}: "
                "the samples are too few to show it"
            )
        return said

    def summary(self) -> str:
        """Return the means over prompts as text of at most 80 columns, one line per n."""
        whole = self.overall
        cells = {
            "best of": [str(n) for n in self.n],
            "KL": [number(x, 3) for x in whole.kl],
            "reward": [number(x) for x in whole.reward],
            "interval": [_limits(lo, hi).strip() or "-" for lo, hi in zip(whole.lo, whole.hi, strict=True)],
            "beta": [number(x, 3) for x in whole.beta],
            "tilted reward": [number(x) for x in whole.tilted_reward],
            "its interval": [
                _limits(lo, hi).strip() or "-"
                for lo, hi in zip(whole.tilted_lo, whole.tilted_hi, strict=True)
            ],
        }
        rows = list(zip(*cells.values(), strict=True))
        about = (
            f"best-of-n against the tilted policy at the same KL; means over {count(len(self.prompt), 'prompt')}, "
            "KL in nats, ties broken at random"
        )
        lines = [table(list(cells), rows, right=range(len(cells))), ""]
        return "\n".join([*lines, *paragraph(about), *paragraph(self.sentence())])

    def __repr__(self) -> str:
        counts = ", ".join(str(n) for n in self.n)
        lines = [f"BestOfN of {count(len(self.prompt), 'prompt')}, n = {counts}"]
        for i in range(min(len(self.prompt), 10)):
            kl, best, tilted = self.kl[i, -1], self.reward[i, -1], self.tilted_reward[i, -1]
            lines.append(
                f"  {one_line(self.prompt[i])[:40]}: best of {self.n[-1]}: reward {number(best)}, KL {number(kl)}; "
                f"tilted {number(tilted)}"
            )
        more = len(self.prompt) - 10
        return "\n".join(lines + ([f"  ... {count(more, 'more prompt')}"] if more > 0 else []))


def best_of_n(
    outcomes: Outcomes,
    n: int | Sequence[int] = (1, 2, 4, 8, 16),
    *,
    level: float = 0.95,
    reward_range: tuple[float, float] | None = None,
    reward_values: Sequence[float] | None = None,
) -> BestOfN:
    """Compare best-of-n with the tilted policy at the same KL.

    Parameters
    ----------
    outcomes : Outcomes
        Complete, or draws from the reference.
    n : int or sequence of int, default (1, 2, 4, 8, 16)
        Draws that the best is taken of; at most the rows of each prompt where the table is sampled.
    level : float, default 0.95
        Confidence level of the limits.
    reward_range, reward_values
        As in :func:`tiltz.estimate`.

    Returns
    -------
    BestOfN
        Expected reward and KL of best-of-n, and the tilt with that KL, per prompt and over prompts.

    Raises
    ------
    InputError
        If a prompt has fewer than n draws, an outcome is forbidden (reward -inf), or the table is partial or was drawn
        from a proposal.

    Notes
    -----
    Complete tables are exact. For samples the reward of best-of-n is unbiased: the mean of the largest reward over all
    subsets of n rows. Its limits are certified (calibrated where two rewards were merely seen) by a band on the law of
    the reward where possible rewards or their range are known, and else approximate, by the jackknife with Student's t
    at m/n - 1 degrees of freedom, for prompts of m >= 4 n rows; else there are none. Of the means over prompts they
    are approximate: from the spread of the prompts' values.

    The KL counts ties: outcomes of one reward share one density ratio. It is log n - (n-1)/n where no two outcomes tie
    and less otherwise; from samples it is consistent, with a bias of order 1/m. A reward counts as tied with itself if
    the possible rewards are known or two rows of the prompt have it.

    The tilted policy has the most reward of all with its KL k, min over beta of V(beta) + beta k. So the upper limit
    of V at the beta found, plus beta k, bounds it from above whatever the beta; the lower limit is its counterpart, to
    first order. Both take k as given. The value itself is too low where samples are few.

    Examples
    --------
    >>> import numpy as np, tiltz
    >>> table = tiltz.Outcomes.complete(np.log([0.75, 0.25]), [0.0, 1.0])
    >>> best = tiltz.best_of_n(table, [2, 4])
    >>> best.reward.round(4), best.kl.round(4)
    (array([[0.4375, 0.6836]]), array([[0.083 , 0.4146]]))
    >>> best.tilted_reward.round(4)  # of two rewards there is only one policy with that KL
    array([[0.4375, 0.6836]])
    """
    check_table(outcomes)
    counts = _checked_counts(n)
    _check_evidence(outcomes, counts)
    support = support_of(outcomes, reward_range, reward_values)
    request = Request(level=level, interval="auto", support=support)
    columns = outcomes.columns()
    kl = _divergence(outcomes, columns, support, counts)
    best, reference = (_best(outcomes, columns, request, some) for some in (counts, np.ones(1, np.int64)))
    tilts = _Tilts(outcomes, columns, request)
    each = {"kl": kl, **best.named(), **tilts.at(kl, reference)}
    overall = {name: array[0] for name, array in each.items()}
    if len(outcomes.prompt) > 1:
        mean_kl = np.mean(kl, axis=0)
        overall = {"kl": mean_kl, **best.mean(level).named(), **tilts.mean_at(mean_kl, reference.mean(level))}
    for array in (*each.values(), *overall.values()):
        array.setflags(write=False)
    return BestOfN(
        n=counts,
        prompt=outcomes.prompt,
        step=outcomes.step,
        level=level,
        overall=Comparison(**overall),
        **each,
    )


def _checked_counts(n: int | Sequence[int]) -> Ints:
    counts = np.atleast_1d(np.asarray(n))
    if counts.ndim != 1 or counts.size == 0 or counts.dtype.kind not in "iu" or np.any(counts < 1):
        raise InputError(
            f"n must be a positive integer or a sequence of them, such as [1, 2, 4]; found {n!r}."
        )
    return counts.astype(np.int64)


def _check_evidence(outcomes: Outcomes, counts: Ints) -> None:
    if outcomes.evidence == "partial":
        raise InputError(
            "best-of-n needs a complete or sampled table; the unlisted outcomes of a partial one leave it open which "
            "of n draws is the best."
        )
    if outcomes.weighted:
        raise InputError(
            f"best-of-n is about the best of n draws from the reference; these rows were drawn from the "
            f"{outcomes.drawn_from}, and subsets of weighted rows are no such draws. Use rows that the reference drew."
        )
    few = outcomes.n < counts.max()
    if outcomes.evidence == "sampled" and np.any(few):
        first = int(np.argmax(few))
        raise InputError(
            f"n must be at most the rows of each prompt, since the best of more was never seen; found n = "
            f"{counts.max()} and {count(int(outcomes.n[first]), 'row')} of {outcomes.groups.name(first)} "
            f"({int(few.sum()):,} of {count(len(few), 'prompt')} with fewer). Lower n, or leave such prompts out with "
            "Outcomes.select."
        )
    forbidden = (outcomes.reward == -np.inf) & (outcomes.log_weight > -np.inf)
    refuse(
        forbidden,
        outcomes.groups,
        "best-of-n needs finite rewards, since it can return a forbidden outcome and its expected reward is then -inf; "
        "give such outcomes a finite penalty, or leave their prompts out with Outcomes.select",
        outcomes.reward,
    )


def _divergence(outcomes: Outcomes, columns: Columns, support: Support, counts: Ints) -> Floats:
    """Return KL(best of n || reference), shape (n_prompts, n_counts)."""
    steps = Steps.of(columns)
    smooth = None
    if outcomes.evidence == "sampled" and support.values is None:
        smooth = steps.count == 1
    return np.stack([steps.kl(int(n), smooth=smooth) for n in counts], axis=1)


@dataclass(frozen=True, slots=True)
class _Rewards:
    """Mean rewards with their limits and what those promise, shape (n_prompts, n_counts) or (n_counts,)."""

    reward: Floats
    lo: Floats
    hi: Floats
    kind: npt.NDArray[Any]

    def named(self, prefix: str = "") -> dict[str, npt.NDArray[Any]]:
        """Return the arrays by name."""
        arrays = {"reward": self.reward, "lo": self.lo, "hi": self.hi, "kind": self.kind}
        return {prefix + name: np.array(array) for name, array in arrays.items()}

    def where_not(self, replaced: npt.NDArray[np.bool_], other: _Rewards) -> _Rewards:
        """Return these, and the other ones where they are to be replaced."""
        names = [field.name for field in fields(_Rewards)]
        return _Rewards(*(np.where(replaced, getattr(other, name), getattr(self, name)) for name in names))

    def mean(self, level: float) -> _Rewards:
        """Return the mean over the population of prompts, from the spread of the prompts' values."""
        m, mean = len(self.reward), np.mean(self.reward, axis=0)
        with np.errstate(invalid="ignore", over="ignore"):
            spread = np.std(self.reward, axis=0, ddof=1)
            # A few values that happen to agree would show no spread; the prompts' own limits tell of one part of it.
            below, above = (
                np.fmax(spread, _root_mean_square(self.reward - end) / normal_quantile(level))
                for end in (self.lo, self.hi)
            )
            reach = t_quantile(level, m - 1.0) / np.sqrt(m)
        told = (np.fmax(below, above) > 0) | np.all(self.kind == "exact", axis=0)
        lo, hi = np.where(told, mean - reach * below, np.nan), np.where(told, mean + reach * above, np.nan)
        return _Rewards(mean, lo, hi, np.where(told, "approximate", "point").astype(object))


def _best(outcomes: Outcomes, columns: Columns, request: Request, counts: Ints) -> _Rewards:
    """Return the expected reward of the best of n, shape (n_prompts, n_counts)."""
    if outcomes.evidence == "complete":
        steps = Steps.of(columns)
        reward = np.stack([steps.best_reward(int(n)) for n in counts], axis=1)
        return _Rewards(reward, reward, reward, np.full(reward.shape, "exact", dtype=object))
    found = [unbiased_best(columns, int(n)) for n in counts]
    reward, error = (np.stack(arrays, axis=1) for arrays in zip(*found, strict=True))
    banded = _banded(outcomes, columns, request, counts)
    if banded is not None:
        lo, hi = np.minimum(banded[0], reward), np.maximum(banded[1], reward)
        return _Rewards(reward, lo, hi, np.full(reward.shape, _promise(outcomes, request), dtype=object))
    blocks = outcomes.n[:, None] / counts
    told = (blocks >= BLOCKS) & (error > 0) & (outcomes.stopping == "fixed")
    half = np.where(told, t_quantile(request.level, np.maximum(blocks - 1, 1.0)) * error, np.nan)
    return _Rewards(
        reward, reward - half, reward + half, np.where(told, "approximate", "point").astype(object)
    )


def _promise(outcomes: Outcomes, request: Request) -> str:
    """Return what limits from a band on the law of the reward promise."""
    if outcomes.facts.equal_groups_missing and request.support.two_valued:
        return "approximate"
    return "certified" if request.support.known == "declared" else "calibrated"


def _banded(outcomes: Outcomes, columns: Columns, request: Request, counts: Ints) -> Limits | None:
    """Return limits from the band on the law of the reward, or None where nothing is known of all rewards."""
    support = request.support
    if support.range is None or outcomes.stopping != "fixed":
        return None
    if support.values is not None and len(support.values) <= FEW_VALUES:
        laws = laws_of_values(columns, level=request.level, values=support.values)
    else:
        laws = laws_in_range(columns, level=request.level, reward_range=support.range)
    steps = [Steps.of(law) for law in laws]
    lo, hi = (np.stack([law.best_reward(int(n)) for n in counts], axis=1) for law in steps)
    return lo, hi


def _root_mean_square(values: Floats) -> Floats:
    known = np.isfinite(values)
    squares = np.sum(np.where(known, values, 0.0) ** 2, axis=0)
    return np.sqrt(squares / np.maximum(known.sum(axis=0), 1))


class _Tilts:
    """The tilted policies of given KL, and what they reach."""

    def __init__(self, outcomes: Outcomes, columns: Columns, request: Request) -> None:
        self.outcomes, self.columns, self.request = outcomes, columns, request
        with np.errstate(over="ignore"):
            # No beta that is tried may leave the floats.
            spread = np.minimum(reward_spread(columns), 1e-3 * np.finfo(np.float64).max / FAR)
        self.spread = np.where(spread > 0, spread, 1.0)[:, None]

    def at(self, kl: Floats, reference: _Rewards) -> dict[str, npt.NDArray[Any]]:
        """Return the tilt of each prompt that has this KL, shape (n_prompts, n_counts)."""
        beta = self._found(self._kl, np.broadcast_to(self.spread, kl.shape), kl)
        found = [self._most(beta[:, j], kl[:, j]) for j in range(kl.shape[1])]
        most = _Rewards(
            *(np.stack([getattr(one, field.name) for one in found], axis=1) for field in fields(_Rewards))
        )
        return self._named(kl, beta, most, reference)

    def mean_at(self, kl: Floats, reference: _Rewards) -> dict[str, npt.NDArray[Any]]:
        """Return the tilt at one beta for all prompts, whose mean KL is this, shape (n_counts,)."""

        def mean_kl(beta: Floats) -> Floats:
            return np.mean(self._kl(beta[None, :]), axis=0)

        beta = self._found(mean_kl, np.full(kl.shape, self.spread.max()), kl)
        reduced = reduce_groups(self.columns, beta[None, :], moments=True)
        assert reduced.mean_reward is not None
        whole = assemble(self.outcomes, beta, reduced, self.request).overall
        reward = np.mean(reduced.mean_reward, axis=0)
        most = _Rewards(reward, whole.lo + beta * kl, whole.hi + beta * kl, whole.kind)
        return self._named(kl, beta, most, reference)

    def _kl(self, beta: Floats) -> Floats:
        kl = reduce_groups(self.columns, beta, moments=True).kl
        assert kl is not None
        return kl

    def _found(self, value: Callable[[Floats], Floats], spread: Floats, kl: Floats) -> Floats:
        """Return the betas, a very large one where the KL is 0."""
        return np.where(kl > 0, bisect(value, spread, kl), spread * FAR)

    def _most(self, beta: Floats, kl: Floats) -> _Rewards:
        """Return the most reward that a policy of this KL has, for every prompt at its beta."""
        reduced = reduce_groups(self.columns, beta[:, None], moments=True)
        cells = estimate_cells(self.outcomes, beta[:, None], reduced, self.request)
        assert reduced.mean_reward is not None
        value = cells.soft_value[:, 0]
        with np.errstate(over="ignore"):
            lo, hi = np.minimum(beta * cells.lo[:, 0], value), np.maximum(beta * cells.hi[:, 0], value)
        return _Rewards(reduced.mean_reward[:, 0], lo + beta * kl, hi + beta * kl, cells.kind[:, 0])

    def _named(
        self, kl: Floats, beta: Floats, most: _Rewards, reference: _Rewards
    ) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays by name; of KL 0 is the reference alone, and no policy leaves the possible rewards."""
        exact = most.kind == "exact"
        # The lower limit holds to first order alone, and the beta was found from the same rows.
        kind = np.where(exact | (most.kind == "lower-only"), most.kind, "approximate").astype(object)
        low, high = self.request.support.range or (-np.inf, np.inf)
        most = _Rewards(
            most.reward,
            np.where(exact, most.reward, np.maximum(most.lo, low)),
            np.where(exact, most.reward, np.minimum(most.hi, high)),
            kind,
        )
        return {"beta": np.where(kl > 0, beta, np.inf), **most.where_not(kl == 0, reference).named("tilted_")}


def _limits(lo: float, hi: float) -> str:
    """Return an interval in brackets, or nothing where there is none or no width."""
    if np.isnan(lo) or lo == hi:
        return ""
    return f" [{number(lo)}, {number(hi)}]"
