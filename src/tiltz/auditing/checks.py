"""What rows can prove wrong about their log-probabilities; what they cannot show is 'not checkable', never 'ok'."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tiltz.auditing.evidence import Batch
from tiltz.inference.betting import betting_one_sided
from tiltz.kernels import Columns
from tiltz.text import count, number

Floats = npt.NDArray[np.float64]

ALARM = 1e-3
"""How often a betting test may accuse honest rows."""
_ERRORS = 4.5  # of a sum whose mean is 0
OVERALL_ERRORS, PROMPT_ERRORS = 4.5, 7.0
"""Standard errors below 0 at which a mean gap, and one of many gaps of few rows each, is beyond chance."""
_ENOUGH = 20.0  # rows that may have come from either sampler
_SHOWS = 0.1  # relative error of a mean ratio that shows something


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One attempt to prove the log-probabilities wrong.

    Attributes
    ----------
    name : str
        What was looked at.
    status : {"passed", "failed", "not checkable"}
        Not checkable: these rows could not have shown a mistake.
    text : str
        What was found.
    """

    name: str
    status: Literal["passed", "failed", "not checkable"]
    text: str


def checks_of(batches: Sequence[Batch]) -> tuple[Check, ...]:
    """Return the checks that rewards and log-probabilities alone allow."""
    own = [-row for batch in batches for row in batch.log_ratio]
    scored = [batch for batch in batches if batch.ref_log_ratio is not None]
    theirs = [row for batch in scored for row in batch.ref_log_ratio]  # pyright: ignore[reportOptionalIterable]
    return (
        _mean_ratio("reference/policy ratios of the policy's rows", own),
        _mean_ratio("policy/reference ratios of the reference's rows", theirs),
        _calibration(scored),
        _kl_estimators(batches),
    )


def gap_check(gap: Floats, error: Floats, allowed: Floats) -> Check:
    """Return whether some gap is negative beyond so many standard errors."""
    if not len(gap):
        text = "no ceiling is known well enough for a sign to mean anything"
        return Check(name="sign of the gap", status="not checkable", text=text)
    scale = 1e-7 * (1 + np.abs(gap))
    with np.errstate(invalid="ignore"):
        bad = gap < -allowed * error - scale
    text = f"lowest {number(float(np.min(gap)), 3)}; beta KL(policy || tilted) cannot be negative"
    return Check(name="sign of the gap", status="failed" if bad.any() else "passed", text=text)


def _mean_ratio(name: str, log_ratios: Sequence[Floats]) -> Check:
    """Bet against a mean of at most 1, over all rows and prompt by prompt."""
    if not log_ratios:
        return Check(name=name, status="not checkable", text="the policy's score of such rows is not known")
    rows = np.concatenate(log_ratios)
    rows = np.maximum(rows, -700.0)
    each = _lower_bounds([np.maximum(row, -700.0) for row in log_ratios], 0.5 * ALARM / len(log_ratios))
    whole = _lower_bounds([rows], 0.5 * ALARM)
    top = float(rows.max())
    share = np.exp(rows - top)
    log_mean = top + float(np.log(share.mean()))
    error = float(share.std() / share.mean()) / np.sqrt(len(rows))
    found = (
        f"mean {number(float(np.exp(min(log_mean, 700.0))), 3)}, must be 1"
        if log_mean < 700
        else "mean beyond e^700"
    )
    if max(float(each.max()), float(whole.max())) > 0:
        return Check(name=name, status="failed", text=f"{found}, and is above it beyond chance")
    if error < _SHOWS and abs(log_mean) < 2 * error + 0.05:
        return Check(name=name, status="passed", text=found)
    return Check(
        name=name, status="not checkable", text=f"{found}; a mean below 1 shows too little overlap only"
    )


def _lower_bounds(log_ratios: Sequence[Floats], alpha: float) -> Floats:
    size = np.array([len(row) for row in log_ratios])
    columns = Columns(
        reward=np.zeros(size.sum()),
        log_mass=np.concatenate(log_ratios) - np.repeat(np.log(size), size),
        log_count=np.log(size),
        start=np.concatenate([[0], np.cumsum(size)]),
        normalised=False,
    )
    return betting_one_sided(columns, np.ones((1, 1)), alpha_lower=alpha, alpha_upper=0.0)[0][:, 0]


def _calibration(batches: Sequence[Batch]) -> Check:
    """Compare how often the policy drew rows with how often the log-probabilities say that it did.

    Of a row drawn by either, p = n_policy policy / (n_policy policy + n_reference reference) is the probability that
    the policy drew it. Sums of f (1 - p) over its rows less f p over those of the reference then have mean 0 for every
    f of the outcome, here 1, p, and the reward.
    """
    name = "which sampler drew a row, by its log-probabilities"
    total, variance, bridging = np.zeros(3), np.zeros(3), 0.0
    # Standardised over the whole table: by the few rows of a prompt, f would depend on them all and the mean not be 0.
    every = [rows.reshape(-1) for batch in batches for rows in (batch.reward, batch.ref_reward)]
    center, spread = (float(f(np.concatenate(every))) if every else 1.0 for f in (np.mean, np.std))
    for batch in batches:
        assert batch.ref_log_ratio is not None
        ratio = np.concatenate([batch.log_ratio, batch.ref_log_ratio], axis=1)
        reward = np.concatenate([batch.reward, batch.ref_reward], axis=1)
        p = _posterior(ratio + np.log(batch.n_policy / batch.n_reference))
        bridging += float(np.sum(p * (1 - p)))
        away = (reward - center) / (spread or 1.0)
        mine = np.arange(ratio.shape[1]) < batch.n_policy
        for k, f in enumerate((np.ones_like(p), p, away)):
            terms = f * np.where(mine, 1 - p, -p)
            total[k] += terms.sum()
            for some in (mine, ~mine):
                n = int(some.sum())
                if n > 1:
                    variance[k] += n * terms[:, some].var(axis=1, ddof=1).sum()
                else:  # a single row shows no spread; its square is no less on average
                    variance[k] += np.sum(terms[:, some] ** 2)
    if bridging < _ENOUGH:
        text = f"{number(bridging, 2)} rows may have come from either; {_ENOUGH:g} are needed"
        return Check(name=name, status="not checkable", text=text)
    z = total / np.sqrt(np.maximum(variance, 1e-9 * bridging))
    worst = float(z[np.argmax(np.abs(z))])
    text = f"largest of three departures {number(worst, 2)} standard errors"
    return Check(name=name, status="failed" if abs(worst) > _ERRORS else "passed", text=text)


def _posterior(log_odds: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-log_odds))


def _kl_estimators(batches: Sequence[Batch]) -> Check:
    """Give three estimators of KL(policy || reference) side by side."""
    rows = np.concatenate([row for batch in batches for row in batch.log_ratio])
    with np.errstate(over="ignore"):
        means = [rows.mean(), np.mean(0.5 * rows**2), np.mean(rows + np.expm1(-rows))]
    error = rows.std() / np.sqrt(len(rows))
    names = ("k1", "k2", "k3")
    text = ", ".join(f"{name} {number(float(mean), 3)}" for name, mean in zip(names, means, strict=True))
    text += f" nats over {count(len(rows), 'row')}, k1 with a standard error of {number(float(error), 2)}"
    if means[0] < -_ERRORS * error - 1e-9:
        text += "; a KL cannot be negative"
        return Check(name="estimators of KL", status="failed", text=text)
    alike = abs(means[2] - means[0]) <= 3 * error + 0.1 * abs(means[0])
    text += (
        "" if alike else "; k3 and k1 differ where the policy's rows do not hold all that the reference does"
    )
    return Check(name="estimators of KL", status="passed" if alike else "not checkable", text=text)


def failed(checks: Iterable[Check]) -> Iterator[Check]:
    """Yield the checks that failed."""
    return (check for check in checks if check.status == "failed")
