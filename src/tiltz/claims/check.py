"""A claimed log Z or soft value against the table's: the difference, its limits, and which estimator was used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tiltz.checks import as_floats
from tiltz.claims.usual import DIGITS, SENTENCES, Match, matches, tolerance_scale
from tiltz.errors import InputError
from tiltz.inference import Estimate
from tiltz.inference.estimate import estimate
from tiltz.inference.overall import over_population, over_these
from tiltz.inference.request import check_table, checked_betas
from tiltz.kernels import Progress
from tiltz.outcomes import Outcomes
from tiltz.text import count, number, paragraph, table

Floats = npt.NDArray[np.float64]

READINGS = ("log_z", "soft_value")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ZCheck:
    """A claimed log Z of every prompt against the table's.

    Attributes
    ----------
    prompt : array, shape (n_prompts,)
        Labels.
    step : int array, shape (n_prompts,) or None
        Training step of each group, where the table has several.
    beta, level : float
        KL coefficient and confidence level.
    of : {"log_z", "soft_value"}
        What the claim was read as.
    claimed : array, shape (n_prompts,)
        Claimed log Z in nats; the mean over rows where it differs by row, as leave-one-out values do.
    estimate : Estimate
        Ours.
    difference, lo, hi : array, shape (n_prompts,)
        Claimed less ours in nats, and its limits from those of ours.
    verdict : array of str, shape (n_prompts,)
        "inside" our interval, "too_low", "too_high", or "unknown" without an interval.
    overall : tuple of float
        Mean difference over prompts and its limits, in nats: of the population of prompts, or of the prompt itself if
        there is one alone.
    matches : tuple of Match
        Usual estimators that the claim equals in some prompts, the most fitting first.
    other_matches : tuple of Match
        The same, had the claim been read as the other quantity.
    """

    prompt: npt.NDArray[Any]
    step: npt.NDArray[np.int64] | None
    beta: float
    level: float
    of: str
    claimed: Floats
    estimate: Estimate
    difference: Floats
    lo: Floats
    hi: Floats
    verdict: npt.NDArray[Any]
    overall: tuple[float, float, float]
    matches: tuple[Match, ...]
    other_matches: tuple[Match, ...]

    @property
    def recognised(self) -> tuple[str, ...]:
        """Names of the usual estimators that the claim equals in every prompt."""
        return tuple(match.name for match in self.matches if match.n_prompts == len(self.prompt))

    def to_dict(self) -> dict[str, list[Any]]:
        """Return one row per prompt, as a list per column."""
        columns: dict[str, Any] = {"prompt": self.prompt}
        if self.step is not None:
            columns["step"] = self.step
        columns |= {"beta": np.full(len(self.prompt), self.beta), "claimed": self.claimed}
        columns |= {name: getattr(self.estimate, name)[:, 0] for name in ("log_z", "lo", "hi")}
        columns |= {"level": np.full(len(self.prompt), self.level), "difference": self.difference}
        columns |= {"difference_lo": self.lo, "difference_hi": self.hi, "verdict": self.verdict}
        columns |= {"n": self.estimate.n, "kind": self.estimate.kind[:, 0]}
        return {name: column.tolist() for name, column in columns.items()}

    def overall_dict(self) -> dict[str, Any]:
        """Return the mean difference, how many claims are outside, and what was recognised."""
        difference, lo, hi = self.overall
        return {
            "beta": self.beta,
            "difference": difference,
            "lo": lo,
            "hi": hi,
            "level": self.level,
            "n_prompts": len(self.prompt),
            "n_too_low": int(np.sum(self.verdict == "too_low")),
            "n_too_high": int(np.sum(self.verdict == "too_high")),
            "read_as": self.of,
            "recognised": list(self.recognised),
        }

    def summary(self, *, max_rows: int | None = 40) -> str:
        """Return the check as text of at most 80 columns.

        Parameters
        ----------
        max_rows : int or None, default 40
            Lines for prompts; None shows all.

        Returns
        -------
        str
            One line per prompt, the mean over prompts, and what the claim is, in words.
        """
        shown = len(self.prompt) if max_rows is None else min(len(self.prompt), max_rows)
        headers = ["prompt", *([] if self.step is None else ["step"]), "claimed", "log Z"]
        headers += [f"{100 * self.level:g}% interval", "difference", "n", "verdict"]
        numbers = [k for k, header in enumerate(headers) if header not in ("prompt", "verdict")]
        lines = [table(headers, (self._row(i) for i in range(shown)), right=numbers)]
        if shown < len(self.prompt):
            lines.append(f"... {count(len(self.prompt) - shown, 'more prompt')}")
        return "\n".join([*lines, "", *(line for said in self._sentences() for line in paragraph(said))])

    def __repr__(self) -> str:
        difference, lo, hi = self.overall
        return (
            f"ZCheck({count(len(self.prompt), 'prompt')}, beta {number(self.beta)}, claimed less ours "
            f"{number(difference)} [{number(lo)}, {number(hi)}] nats, recognised: {', '.join(self.recognised) or 'no'})"
        )

    def _row(self, i: int) -> list[str]:
        est = self.estimate
        return [
            str(self.prompt[i]),
            *([] if self.step is None else [str(self.step[i])]),
            number(self.claimed[i]),
            number(est.log_z[i, 0]),
            f"[{number(est.lo[i, 0])}, {number(est.hi[i, 0])}]",
            number(self.difference[i]),
            str(est.n[i]),
            str(self.verdict[i]).replace("_", " "),
        ]

    def _sentences(self) -> list[str]:
        difference, lo, hi = self.overall
        mean = "mean difference" if len(self.prompt) > 1 else "difference"
        said = [
            f"{mean}, claimed less ours: {number(difference)} [{number(lo)}, {number(hi)}] nats, "
            f"{number(self.beta * difference)} in units of reward (beta {number(self.beta)}); a claim too low by d "
            "nats is what a policy at KL d from the tilted one achieves, one too high is more than any policy does"
        ]
        low, high = (int(np.sum(self.verdict == name)) for name in ("too_low", "too_high"))
        if np.any(self.verdict == "unknown"):
            said.append("no interval was asked for, so that no claim can be called outside of it")
        else:
            chance = "" if self.estimate.sure else f"; up to {1 - self.level:.0%} would be by chance"
            said.append(
                f"outside of our interval: {low + high:,} of {count(len(self.prompt), 'prompt')}, {low:,} too low and "
                f"{high:,} too high{chance}"
            )
        return said + self._recognition()

    def _recognition(self) -> list[str]:
        names = self.recognised
        if names:
            also = f" (here the same numbers: {', '.join(names[1:])})" if names[1:] else ""
            return [f"recognised: {SENTENCES[names[0]]}{also}"]
        n = len(self.prompt)
        said = "not recognised: none of the usual estimators gives these numbers"
        if self.matches and 2 * self.matches[0].n_prompts > n:
            best = self.matches[0]
            said = f"recognised in {best.n_prompts:,} of {count(n, 'prompt')}: {SENTENCES[best.name]}"
        others = [match.name for match in self.other_matches if match.n_prompts == n]
        if others:
            other = READINGS[1 - READINGS.index(self.of)]
            said += f"; read as {other} it is {SENTENCES[others[0]].partition(':')[0]}; is it a {other}?"
        return [said]


def check_z(
    outcomes: Outcomes,
    beta: float,
    claimed: npt.ArrayLike | Mapping[Any, float],
    *,
    of: Literal["log_z", "soft_value"] = "log_z",
    level: float = 0.95,
    interval: str | None = "auto",
    reward_range: tuple[float, float] | None = None,
    reward_values: Sequence[float] | None = None,
    progress: Progress | None = None,
) -> ZCheck:
    """Check somebody else's log Z or soft value against the table.

    Parameters
    ----------
    outcomes : Outcomes
        The evidence.
    beta : float
        KL coefficient of the claim, > 0, in reward per nat.
    claimed : array_like or mapping
        One number per prompt (in the order of ``outcomes.prompt``, or by label), one per row, or one for all.
    of : {"log_z", "soft_value"}
        What is claimed: log Z in nats, or beta log Z in units of reward.
    level, interval, reward_range, reward_values, progress
        As in :func:`tiltz.estimate`.

    Returns
    -------
    ZCheck
        Differences with the limits of ours, which claims are outside, and which estimator the claim is.

    Raises
    ------
    InputError
        If a claim is not finite, is missing, or differs within a prompt in no way that is known.

    Notes
    -----
    A claim L' implies the policy pi_ref exp(r / beta - L'), whose total mass is exp(log Z - L'). For every policy
    log Z - KL(policy || tilted) = E_policy[r] / beta - KL(policy || pi_ref), so a claim below log Z is what a policy so
    far from the optimum achieves. The mean reward is the claim of the reference itself, VarGrad's that of the policy
    that was trained.

    The limits are those of our log Z, turned over: they hold for a claim that does not depend on the same rows. A
    claim made from the same rows, such as their log-mean-exp, is nearer to ours than to the truth.

    Examples
    --------
    The mean reward over beta is low by KL(reference || tilted):

    >>> import numpy as np, tiltz
    >>> table = tiltz.Outcomes.complete(np.log([0.6, 0.4]), [2.0, 1.0])
    >>> found = tiltz.check_z(table, 1.0, [0.6 * 2 + 0.4 * 1])
    >>> found.recognised, found.difference.round(6), tiltz.tilt(table, 1.0).kl_reverse.round(6)
    (('mean_reward',), array([-0.108513]), array([[0.108513]]))
    """
    check_table(outcomes)
    betas = checked_betas(beta)
    if len(betas) != 1:
        raise InputError(f"a claim is about one beta; found {len(betas)}.")
    if of not in READINGS:
        raise InputError(f"of must be 'log_z' or 'soft_value'; found {of!r}.")
    beta = float(betas[0])
    given = _per_row(outcomes, claimed)
    rows = given / beta if of == "soft_value" else given
    found = tuple(matches(outcomes, beta, rows))
    per_prompt = _per_prompt(outcomes, beta, rows, given, found)
    est = estimate(
        outcomes,
        betas,
        level=level,
        interval=interval,
        reward_range=reward_range,
        reward_values=reward_values,
        progress=progress,
    )
    _refuse_impossible(outcomes, est)
    log_z, lo, hi = (array[:, 0] for array in (est.log_z, est.lo, est.hi))
    rounding = DIGITS * np.maximum(np.abs(per_prompt), tolerance_scale(outcomes.columns(), beta))
    arrays = {
        "claimed": per_prompt,
        "difference": per_prompt - log_z,
        "lo": per_prompt - hi,
        "hi": per_prompt - lo,
    }
    arrays["verdict"] = _verdict(per_prompt, lo, hi, rounding)
    for array in arrays.values():
        array.setflags(write=False)
    return ZCheck(
        prompt=outcomes.prompt,
        step=outcomes.step,
        beta=beta,
        level=level,
        of=of,
        estimate=est,
        overall=_overall(est, per_prompt),
        matches=found,
        other_matches=tuple(matches(outcomes, beta, given if of == "soft_value" else given / beta)),
        **arrays,
    )


def _per_row(outcomes: Outcomes, claimed: npt.ArrayLike | Mapping[Any, float]) -> Floats:
    """Return the claim as given, one number per row, or refuse it."""
    groups = outcomes.groups
    if isinstance(claimed, Mapping):
        missing = [i for i, label in enumerate(outcomes.prompt.tolist()) if label not in claimed]
        if missing:
            raise InputError(
                f"a claim by label must have one number for every prompt; none is there for {groups.name(missing[0])} "
                f"({len(missing):,} of {count(len(outcomes.prompt), 'prompt')} missing). Leave such prompts out with "
                "Outcomes.select."
            )
        claimed = [claimed[label] for label in outcomes.prompt.tolist()]
    values = as_floats(claimed, "claimed")
    if values.ndim == 0:
        values = np.full(len(outcomes), values)
    elif values.shape == outcomes.prompt.shape:
        values = values[groups.of_row]
    elif values.size == len(outcomes) and values.ndim <= 2:
        values = values.reshape(-1)
    else:
        raise InputError(
            f"claimed must hold one number for each of the {count(len(outcomes.prompt), 'prompt')}, one for each of "
            f"the {count(len(outcomes), 'row')}, or one for all; found shape {values.shape}."
        )
    wrong = ~np.isfinite(values)
    if np.any(wrong):
        first = int(np.argmax(wrong))
        raise InputError(
            f"a claimed value must be a finite number; found {values[first]} in row {first}, "
            f"{groups.name(int(groups.of_row[first]))} ({int(wrong.sum()):,} of {count(len(values), 'row')} like it). "
            "Leave such prompts out, or look for an overflow where the claim was made: exp(reward / beta) leaves "
            "single precision at reward / beta = 88."
        )
    return values


def _per_prompt(
    outcomes: Outcomes, beta: float, rows: Floats, given: Floats, found: tuple[Match, ...]
) -> Floats:
    """Return the claim of each prompt, which must be one number, unless its values by row are known ones."""
    groups = outcomes.groups
    first, grouped = groups.start[:-1], groups.gather(rows)
    low, high = np.minimum.reduceat(grouped, first), np.maximum.reduceat(grouped, first)
    scale = np.maximum(np.maximum(np.abs(low), np.abs(high)), tolerance_scale(outcomes.columns(), beta))
    varies = high - low > DIGITS * scale
    by_row = any(m.name.startswith("leave_one_out") and m.n_prompts == len(first) for m in found)
    if np.any(varies) and not by_row:
        worst = int(np.argmax(varies))
        values = groups.gather(given)[groups.start[worst] : groups.start[worst + 1]]
        raise InputError(
            f"log Z and the soft value are one number per prompt; the claim runs from {number(values.min(), 6)} to "
            f"{number(values.max(), 6)} in {groups.name(worst)} and differs within {int(varies.sum()):,} of "
            f"{count(len(varies), 'prompt')}, not as leave-one-out values do. Name a column that is constant within "
            "prompts, or choose one --step if several are mixed."
        )
    return np.where(varies, np.add.reduceat(grouped, first) / groups.size, 0.5 * (low + high))


def _refuse_impossible(outcomes: Outcomes, est: Estimate) -> None:
    impossible = np.isneginf(est.log_z[:, 0])
    if np.any(impossible):
        raise InputError(
            f"there is nothing to compare a claim with where every reward is -inf, as in "
            f"{outcomes.groups.name(int(np.argmax(impossible)))} ({int(impossible.sum()):,} of "
            f"{count(len(impossible), 'prompt')}): log Z is -inf there. Leave such prompts out with Outcomes.select."
        )


def _verdict(claimed: Floats, lo: Floats, hi: Floats, rounding: Floats) -> npt.NDArray[Any]:
    verdict = np.full(claimed.shape, "inside", dtype=object)
    verdict[claimed < lo - rounding] = "too_low"
    verdict[claimed > hi + rounding] = "too_high"
    verdict[np.isnan(lo)] = "unknown"
    return verdict


def _overall(est: Estimate, claimed: Floats) -> tuple[float, float, float]:
    """Return the mean difference and its limits, which rest on how far ours lies above the claim."""
    above = est.log_z - claimed[:, None]
    lower, upper = est.lo - claimed[:, None], est.hi - claimed[:, None]
    if len(claimed) == 1 or est.sure:
        whole = over_these(above, lower, upper, est.kind, sure=est.sure)
    else:
        whole = over_population(above, above, lower, upper, kind=est.kind, level=est.level)
    # From 0, so that no difference is called -0.
    return 0.0 - float(whole.soft_value[0]), 0.0 - float(whole.hi[0]), 0.0 - float(whole.lo[0])
