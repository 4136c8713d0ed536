"""The acceptance rate of rejection, known before it starts, and what a ceiling below the highest reward costs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.checks import check_declared, checked_range
from tiltz.errors import InputError
from tiltz.inference.betting import betting_one_sided
from tiltz.inference.request import check_table, checked_betas, checked_level
from tiltz.kernels import Columns, reduce_groups
from tiltz.outcomes import Outcomes
from tiltz.text import number, one_line

Floats = npt.NDArray[np.float64]
Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Acceptance:
    """How often rejection accepts a draw from the reference, and how far what it accepts is from the tilted law.

    Attributes
    ----------
    rate, lo, hi : array, shape (n_prompts,)
        E_ref[min(1, exp((r - ceiling) / beta))] and its limits. With the highest reward as ceiling it is
        Z exp(-r_max / beta).
    tv, tv_hi : array, shape (n_prompts,)
        Total-variation distance between the law of an accepted draw and the tilted distribution, estimated, and its
        upper limit: 0 where no reward exceeds the ceiling, 1 where no highest reward is declared.
    ceiling : float
        Reward from which on every draw is accepted.
    beta : float
        KL coefficient, in reward per nat.
    level : float
        Of the limits of the rate, and of the upper limit of the distance.
    prompt : array, shape (n_prompts,)
        Labels.
    """

    rate: Floats
    lo: Floats
    hi: Floats
    tv: Floats
    tv_hi: Floats
    ceiling: float
    beta: float
    level: float
    prompt: npt.NDArray[Any]

    @property
    def draws(self) -> Floats:
        """Expected number of reference draws for one that is accepted, shape (n_prompts,)."""
        with np.errstate(divide="ignore"):
            return 1 / self.rate

    def __repr__(self) -> str:
        lines = [f"Acceptance at beta {number(self.beta)}, ceiling {number(self.ceiling)}"]
        return "\n".join([*lines, *(f"  {self._line(i)}" for i in range(min(len(self.prompt), 10)))])

    def _line(self, i: int) -> str:
        limits = f"[{number(self.lo[i], 3)}, {number(self.hi[i], 3)}]"
        price = f"total variation {number(self.tv[i], 2)}, at most {number(self.tv_hi[i], 2)}"
        return f"{one_line(self.prompt[i])[:40]}: rate {number(self.rate[i], 3)} {limits}, {price}"


def expected_acceptance(
    outcomes: Outcomes,
    beta: float,
    *,
    ceiling: float | None = None,
    reward_range: Range | None = None,
    level: float = 0.95,
) -> Acceptance:
    """Return the acceptance rate of rejection before it starts, and the price of a ceiling.

    Parameters
    ----------
    outcomes : Outcomes
        Complete, or draws from the reference or a proposal.
    beta : float
        KL coefficient, > 0, in reward per nat.
    ceiling : float, optional
        Reward from which on every draw is accepted; by default the highest possible one, which makes rejection exact.
    reward_range : (float, float), optional
        Lowest and highest possible reward; overrides what the table declares.
    level : float, default 0.95
        Confidence level.

    Returns
    -------
    Acceptance
        Rate, limits and distance per prompt.

    Raises
    ------
    InputError
        If there is neither a ceiling nor a declared highest reward.

    Notes
    -----
    With w = exp(r / beta) and c = exp(ceiling / beta) the accepted law has density min(w, c) / E[min(w, c)] under the
    reference. Its distance from the tilted law is estimated from the rows, and bounded by E[(w - c)+] / Z, whose
    numerator and denominator get betting limits: they hold at every number of draws. Plug-in points: the rate is
    unbiased for a fixed number of draws, the distance only consistent.

    Examples
    --------
    >>> import numpy as np, tiltz
    >>> table = tiltz.Outcomes.complete(np.log([0.5, 0.4, 0.1]), [0.0, 1.0, 2.0])
    >>> tiltz.sampling.expected_acceptance(table, 0.5, ceiling=1.0)
    Acceptance at beta 0.5, ceiling 1
      0: rate 0.568 [0.568, 0.568], total variation 0.44, at most 0.44
    """
    check_table(outcomes)
    beta = one_beta(beta)
    betas = np.array([beta])
    checked_level(level)
    if outcomes.evidence == "partial":
        raise InputError("a rate of acceptance needs draws or the whole domain; this table is partial.")
    low, high = possible_rewards(outcomes, reward_range)
    top = checked_ceiling(ceiling, high)
    columns = outcomes.columns()
    gain = replace(columns, reward=columns.reward - top)  # so that the rate is a Z of its own
    clipped = replace(columns, reward=np.minimum(gain.reward, 0.0))
    log_z, log_rate = (reduce_groups(one, betas[None, :]).log_z[:, 0] for one in (gain, clipped))
    tv = _distance(gain, clipped, beta, log_z, log_rate)
    if outcomes.evidence == "complete":
        lo = hi = np.exp(log_rate)
        tv_hi = tv
    else:
        half = (1 - level) / 2
        bounds = betting_one_sided(
            clipped, betas[None, :], alpha_lower=half, alpha_upper=half, reward_range=(low - top, 0.0)
        )
        lo, hi = (np.exp(bound[:, 0]) for bound in bounds)
        tv_hi = np.maximum(tv, _distance_limit(gain, betas, (low - top, high - top), half))
    return Acceptance(
        rate=np.exp(log_rate), lo=lo, hi=hi, tv=tv, tv_hi=tv_hi,
        ceiling=top, beta=beta, level=level, prompt=outcomes.prompt,
    )  # fmt: skip


def one_beta(beta: float) -> float:
    """Return a beta as a float; refuse several, and one that is not positive and finite."""
    betas = checked_betas(beta)
    if len(betas) != 1:
        raise InputError(f"a sampler needs one beta at a time; found {len(betas)}.")
    return float(betas[0])


def possible_rewards(outcomes: Outcomes, reward_range: Range | None = None) -> Range:
    """Return the declared lowest and highest reward; infinite where nothing is declared, seen where all is."""
    if reward_range is not None:
        declared = checked_range(reward_range)
        check_declared(outcomes.reward, outcomes.groups, declared, None)
        return declared
    if outcomes.evidence == "complete":
        return float(np.min(outcomes.reward)), float(np.max(outcomes.reward))
    if outcomes.reward_range is not None:
        return outcomes.reward_range
    if outcomes.reward_values is not None:
        return outcomes.reward_values[0], outcomes.reward_values[-1]
    return -np.inf, np.inf


def checked_ceiling(ceiling: float | None, high: float) -> float:
    """Return the ceiling, at most the highest possible reward; refuse none where that is not known."""
    if ceiling is None:
        if not np.isfinite(high):
            raise InputError(
                "exact rejection needs the highest possible reward; none is declared. Pass reward_range, or a ceiling "
                "below the highest reward and accept its price."
            )
        return float(high)
    if isinstance(ceiling, bool) or not np.isfinite(ceiling):
        raise InputError(f"ceiling must be a finite reward; found {ceiling!r}.")
    return float(min(ceiling, high))


def _distance(gain: Columns, clipped: Columns, beta: float, log_z: Floats, log_rate: Floats) -> Floats:
    """Return the total-variation distance of the two laws over the rows of each prompt."""
    size = np.diff(gain.start)
    laws = []
    for columns, log_total in ((gain, log_z), (clipped, log_rate)):
        total = np.where(np.isneginf(log_total), 0.0, log_total)  # nothing possible: no distance either
        laws.append(np.exp(columns.log_mass + columns.reward / beta - np.repeat(total, size)))
    apart = np.add.reduceat(np.abs(laws[0] - laws[1]), gain.start[:-1])
    clips = np.logical_or.reduceat(gain.reward > 0, gain.start[:-1])  # else the laws differ by rounding alone
    return np.where(clips, np.minimum(0.5 * apart, 1.0), 0.0)


def _distance_limit(gain: Columns, betas: Floats, possible: Range, alpha: float) -> Floats:
    """Return an upper limit of the distance: of E[(w - c)+] / Z, each part with its own error ``alpha``."""
    high = possible[1]
    shape = len(gain.start) - 1
    if high <= 0:
        return np.zeros(shape)
    if not np.isfinite(high):
        return np.ones(shape)
    beta = float(betas[0])
    above = replace(gain, reward=_excess(gain.reward, beta))
    limits = (-np.inf, float(_excess(np.array([high]), beta)[0]))
    _, most = betting_one_sided(
        above, betas[None, :], alpha_lower=0.0, alpha_upper=alpha, reward_range=limits
    )
    least, _ = betting_one_sided(
        gain, betas[None, :], alpha_lower=alpha, alpha_upper=0.0, reward_range=possible
    )
    return np.exp(np.minimum(most[:, 0] - least[:, 0], 0.0))


def _excess(gain: Floats, beta: float) -> Floats:
    """Return the reward whose weight is that of ``gain`` less 1, -inf where there is none."""
    with np.errstate(divide="ignore"):
        return np.where(gain > 0, gain + beta * np.log(-np.expm1(-np.maximum(gain, 0.0) / beta)), -np.inf)
