"""Draws from the tilted distribution among the rows of a table: rejection, resampling, independent Metropolis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.kernels import reduce_groups
from tiltz.outcomes import Outcomes
from tiltz.sampling.acceptance import Range, expected_acceptance, one_beta, possible_rewards
from tiltz.sampling.choices import Choices, Floats, Ints
from tiltz.sampling.flags import flag_lines
from tiltz.text import count, number, one_line, table
from tiltz.tilted import tilt

_FEW = 10
_STUCK = 0.1  # of a chain that is spent at one row
_RESAMPLING = 6.0  # the law of one resampled row is within 6 / ess of the tilted one


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RowSample:
    """Rows of a table as draws from the tilted distribution, and what they cost.

    Attributes
    ----------
    rows : int array, shape (n_drawn,)
        Indices into the rows of the table, prompt by prompt.
    n : int array, shape (n_prompts,)
        How many of them belong to each prompt.
    method : str
        How they were drawn.
    acceptance : array, shape (n_prompts,)
        Share of the rows that were accepted; 1 for resampling.
    ess : array, shape (n_prompts,)
        Effective number of draws: those accepted, Kish's of the weights, or that of the chain's rewards.
    tv, tv_hi : array, shape (n_prompts,)
        Total-variation distance between the law of a draw and the tilted distribution, estimated, and its upper
        limit; 1 where nothing is known.
    log_z : array, shape (n_prompts,)
        Log of the mean weight of all rows, in nats.
    unbiased : bool
        Whether exp(log_z) is unbiased for Z.
    flags : tuple of tuple of str
        Warnings of each prompt.
    beta : float
        KL coefficient, in reward per nat.
    prompt : array, shape (n_prompts,)
        Labels.
    """

    rows: Ints
    n: Ints
    method: str
    acceptance: Floats
    ess: Floats
    tv: Floats
    tv_hi: Floats
    log_z: Floats
    unbiased: bool
    flags: tuple[tuple[str, ...], ...]
    beta: float
    prompt: npt.NDArray[Any]

    def __repr__(self) -> str:
        what = f"{count(len(self.rows), 'row')}, {count(len(self.prompt), 'prompt')}"
        return f"RowSample({self.method}, {what}, beta {number(self.beta)})"

    def summary(self, *, max_rows: int = 40) -> str:
        """Return the sample as text of at most 80 columns, with what the flags mean.

        Parameters
        ----------
        max_rows : int, default 40
            Lines for prompts.
        """
        headers = ["prompt", "draws", "accepted", "ess", "tv", "tv at most", "log Z"]
        columns = (self.acceptance, self.ess, self.tv, self.tv_hi, self.log_z)
        cells = [
            [one_line(self.prompt[i]), str(self.n[i]), *(number(float(column[i]), 3) for column in columns)]
            for i in range(min(len(self.prompt), max_rows))
        ]
        more = len(self.prompt) - max_rows
        lines = [f"{self.method} at beta {number(self.beta)}", table(headers, cells, right=range(1, 7))]
        lines += [f"... {count(more, 'more prompt')}"] if more > 0 else []
        lines.append(f"exp(log Z) is {'unbiased' if self.unbiased else 'not known to be unbiased'} for Z")
        return "\n".join(lines + flag_lines(flag for flags in self.flags for flag in flags))


def reject_rows(
    outcomes: Outcomes,
    beta: float,
    *,
    rng: np.random.Generator | Choices,
    ceiling: float | None = None,
    reward_range: Range | None = None,
    level: float = 0.95,
) -> RowSample:
    """Accept each row with probability min(1, exp((r - ceiling) / beta)).

    Parameters
    ----------
    outcomes : Outcomes
        Draws from the reference.
    beta : float
        KL coefficient, > 0, in reward per nat.
    rng : numpy.random.Generator or Choices
        Source of randomness.
    ceiling, reward_range, level
        As in :func:`expected_acceptance`, which tells the rate beforehand.

    Returns
    -------
    RowSample
        Accepted rows, each at most once.

    Raises
    ------
    InputError
        If the rows are not draws from the reference, or there is neither a ceiling nor a declared highest reward.

    Notes
    -----
    With the highest possible reward as ceiling the accepted rows are independent draws from the tilted distribution,
    exactly, if the number of rows did not depend on their rewards. With a lower one they are independent draws from a
    law at the total-variation distance ``tv`` (quasi-rejection [1]_).

    References
    ----------
    .. [1] B. Eikema, G. Kruszewski, C. R. Dance, H. Elsahar, M. Dymetman, *An approximate sampler for energy-based
       models with divergence diagnostics*, TMLR 2022.

    Examples
    --------
    >>> import numpy as np, tiltz
    >>> table = tiltz.Outcomes.sampled([0, 1, 0, 1, 1, 0, 0, 0], reward_range=(0, 1))
    >>> drawn = tiltz.sampling.reject_rows(table, 0.5, rng=np.random.default_rng(1))
    >>> drawn.rows, drawn.tv_hi
    (array([1, 3, 4]), array([0.]))
    """
    choices = Choices.of(rng)
    _need_draws(outcomes, "rejection")
    before = expected_acceptance(outcomes, beta, ceiling=ceiling, reward_range=reward_range, level=level)
    kept = choices.accept(np.minimum(outcomes.reward - before.ceiling, 0.0) / before.beta)
    grouped = outcomes.groups.gather(kept)
    n = np.add.reduceat(grouped.astype(np.int64), outcomes.groups.start[:-1])
    exact = bool(np.all(before.tv_hi == 0))
    return _result(
        outcomes, before.beta, "rejection" if exact else "quasi-rejection",
        rows=outcomes.groups.gather(np.arange(len(kept)))[grouped],
        n=n, acceptance=n / outcomes.n, ess=n.astype(np.float64), tv=before.tv, tv_hi=before.tv_hi,
        limited=exact or np.isfinite(possible_rewards(outcomes, reward_range)[1]),
    )  # fmt: skip


def resample_rows(
    outcomes: Outcomes, beta: float, n: int, *, rng: np.random.Generator | Choices
) -> RowSample:
    """Draw rows with replacement, in proportion to their weights.

    Parameters
    ----------
    outcomes : Outcomes
        Of any evidence; draws may come from a proposal.
    beta : float
        KL coefficient, > 0, in reward per nat.
    n : int
        Draws per prompt.
    rng : numpy.random.Generator or Choices
        Source of randomness.

    Returns
    -------
    RowSample
        With ``tv = min(1, 6 / ess)``, a bound into which the estimated effective sample size was put, and no upper
        limit; 0 for complete tables.

    Notes
    -----
    Given the table the draws are independent; over all tables their law comes as near to the tilted one as the bound
    [1]_ says. A draw is never better than the best row.

    References
    ----------
    .. [1] S. Agapiou, O. Papaspiliopoulos, D. Sanz-Alonso, A. M. Stuart, *Importance sampling: intrinsic dimension and
       computational cost*, Statist. Sci. 32 (2017) 405-431, theorem 2.1.

    Examples
    --------
    >>> import numpy as np, tiltz
    >>> table = tiltz.Outcomes.sampled([0, 1, 0, 1, 1, 0, 0, 0])
    >>> tiltz.sampling.resample_rows(table, 0.2, 6, rng=np.random.default_rng(0)).rows
    array([3, 1, 1, 1, 4, 4])
    """
    choices = Choices.of(rng)
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise InputError(f"the number of draws must be a positive integer; found {n!r}.")
    tilted = tilt(outcomes, one_beta(beta))
    groups, shape = outcomes.groups, tilted.prompt.shape
    log_prob, index = groups.gather(tilted.log_prob.reshape(-1)), groups.gather(np.arange(len(outcomes)))
    rows = [
        index[first + choices.choose_from(log_prob[first:last], int(n))]
        for first, last in zip(groups.start[:-1], groups.start[1:], strict=True)
    ]
    exact, ess = outcomes.evidence == "complete", tilted.ess[:, 0]
    unknown = np.full(shape, float(not exact))
    return _result(
        outcomes, float(tilted.beta[0]), "resampling",
        rows=np.concatenate(rows), n=np.full(shape, int(n)), acceptance=np.ones(shape), ess=ess,
        tv=unknown * np.minimum(_RESAMPLING / ess, 1.0), tv_hi=unknown,
    )  # fmt: skip


def metropolis_rows(
    outcomes: Outcomes,
    beta: float,
    *,
    rng: np.random.Generator | Choices,
    burn_in: int = 0,
    reward_range: Range | None = None,
    level: float = 0.95,
) -> RowSample:
    """Run a chain through the rows of each prompt: the next row is accepted with probability min(1, ratio of weights).

    Parameters
    ----------
    outcomes : Outcomes
        Independent draws from the reference or from a proposal, in the order in which they are proposed.
    beta : float
        KL coefficient, > 0, in reward per nat.
    rng : numpy.random.Generator or Choices
        Source of randomness.
    burn_in : int, default 0
        States at the beginning that are left out.
    reward_range : (float, float), optional
        Lowest and highest possible reward; overrides what the table declares.
    level : float, default 0.95
        Of ``tv_hi``.

    Returns
    -------
    RowSample
        The states of the chain, repeated while it stays; those of weight zero are left out. ``ess`` is that of their
        rewards, by their autocorrelations (Geyer's initial positive sequence).

    Notes
    -----
    The weights of draws from the reference are at most exp(r_max / beta), so the law of the state after t proposals
    is within (1 - a)^(t + 1) of the tilted one, the first row being a proposal of its own and a = Z exp(-r_max / beta)
    the acceptance rate of exact rejection [1]_. ``tv`` puts in the estimated a at ``t = burn_in``, ``tv_hi`` its lower
    limit. Nothing limits them for draws from a proposal, or where no highest reward is declared.

    References
    ----------
    .. [1] K. L. Mengersen, R. L. Tweedie, *Rates of convergence of the Hastings and Metropolis algorithms*,
       Ann. Statist. 24 (1996) 101-121.

    Examples
    --------
    >>> import numpy as np, tiltz
    >>> table = tiltz.Outcomes.sampled([0, 1, 0, 1, 1, 0, 0, 0], reward_range=(0, 1))
    >>> tiltz.sampling.metropolis_rows(table, 0.5, rng=np.random.default_rng(0), burn_in=2).rows
    array([1, 3, 4, 4, 6, 7])
    """
    choices = Choices.of(rng)
    if outcomes.evidence != "sampled":
        raise InputError(f"a chain proposes draws; this table is {outcomes.evidence}. Use resample_rows.")
    fewest = int(np.min(outcomes.n))
    if isinstance(burn_in, bool) or burn_in != int(burn_in) or not 0 <= burn_in < fewest:
        raise InputError(
            f"burn_in must be a number of rows from 0 to below the fewest of a prompt, {fewest}; found {burn_in!r}."
        )
    high = possible_rewards(outcomes, reward_range)[1]
    limited = bool(np.isfinite(high)) and not outcomes.weighted
    top = high if limited else float(np.max(outcomes.reward))
    if np.isneginf(top):
        raise InputError("a chain needs a row of positive weight; every reward is -inf.")
    rate = expected_acceptance(outcomes, beta, ceiling=top, reward_range=reward_range, level=level)
    chains = list(_chains(outcomes, rate.beta, burn_in, choices))
    rows = [chain.rows for chain in chains]
    tv = np.clip(1 - rate.rate, 0.0, 1.0) ** (burn_in + 1)
    return _result(
        outcomes, rate.beta, "independent Metropolis",
        rows=np.concatenate(rows), n=np.array([len(kept) for kept in rows]), tv=tv,
        acceptance=np.array([chain.acceptance for chain in chains]), ess=np.array([chain.ess for chain in chains]),
         tv_hi=(1 - rate.lo) ** (burn_in + 1) if limited else np.ones_like(tv),
        limited=limited, flags=[("stuck",) if chain.stuck else () for chain in chains],
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chain:
    rows: Ints
    acceptance: float
    ess: float
    stuck: bool


def _chains(outcomes: Outcomes, beta: float, burn_in: int, choices: Choices) -> Iterator[_Chain]:
    """Yield the chain of each prompt, without its beginning and without states of weight zero."""
    groups = outcomes.groups
    log_weight = groups.gather(outcomes.log_weight + outcomes.reward / beta)
    index, reward = groups.gather(np.arange(len(outcomes))), groups.gather(outcomes.reward)
    for first, last in zip(groups.start[:-1], groups.start[1:], strict=True):
        states = first + _chain(log_weight[first:last], choices)
        moves = float(np.mean(states[1:] != states[:-1])) if len(states) > 1 else 1.0
        kept = states[burn_in:]
        kept = kept[log_weight[kept] > -np.inf]
        longest = int(np.bincount(kept - first).max()) if len(kept) else 0
        yield _Chain(
            rows=index[kept],
            acceptance=moves,
            ess=_chain_ess(reward[kept]),
            stuck=longest > max(_STUCK * len(kept), _FEW),
        )


def _chain(log_weight: Floats, choices: Choices) -> Ints:
    """Return the state after each proposal; the first row is where the chain begins."""
    states = np.zeros(len(log_weight), dtype=np.int64)
    for i in range(1, len(log_weight)):
        here = log_weight[states[i - 1]]
        better = log_weight[i] >= here
        moves = better or bool(choices.accept(np.array([log_weight[i] - here]))[0])
        states[i] = i if moves else states[i - 1]
    return states


def _chain_ess(values: Floats) -> float:
    """Return the number of independent draws that tell the mean as well as a chain of values does."""
    n = len(values)
    centred = values - np.mean(values) if n else values
    if n < 4 or not np.any(centred):
        return float(n > 0)
    spectrum = np.fft.rfft(centred, 2 * n)
    auto = np.fft.irfft(np.abs(spectrum) ** 2)[:n]
    pairs = (auto / auto[0])[: n - n % 2].reshape(-1, 2).sum(axis=1)
    stop = int(np.argmax(pairs <= 0)) if np.any(pairs <= 0) else len(pairs)
    return float(min(n, n / max(2 * pairs[:stop].sum() - 1, 1 / n)))


def _need_draws(outcomes: Outcomes, method: str) -> None:
    if not isinstance(outcomes, Outcomes) or outcomes.evidence != "sampled" or outcomes.weighted:
        found = getattr(outcomes, "evidence", type(outcomes).__name__)
        raise InputError(
            f"{method} needs draws from the reference; found {found}"
            f"{' from a proposal' if getattr(outcomes, 'weighted', False) else ''}. Use resample_rows."
        )


def _result(
    outcomes: Outcomes, beta: float, method: str, *, n: Ints, ess: Floats, limited: bool = True,
    flags: list[tuple[str, ...]] | None = None, **more: Any,
) -> RowSample:  # fmt: skip
    """Return a sample with its estimate of Z and the flags that every method shares."""
    warned = [
        (
            *([] if flags is None else flags[i]),
            *(["nothing"] if n[i] == 0 else ["few_effective"] if ess[i] < _FEW else []),
            *([] if limited else ["no_limit"]),
        )
        for i in range(len(n))
    ]
    unbiased = outcomes.evidence == "complete" or (
        outcomes.evidence == "sampled" and outcomes.stopping == "fixed"
    )
    log_z = reduce_groups(outcomes.columns(), np.array([[beta]])).log_z[:, 0]
    return RowSample(
        n=n, ess=ess, method=method, beta=beta, prompt=outcomes.prompt, flags=tuple(warned), log_z=log_z,
        unbiased=unbiased, **more,
    )  # fmt: skip
