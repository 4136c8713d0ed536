"""What speaks against the limits of V in a prompt: an upper one is then unknown."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tiltz.auditing.evidence import Batch
from tiltz.auditing.totals import THIN, Totals
from tiltz.inference.tails import khat
from tiltz.kernels import Columns

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

FLAGS = {
    "too_few": "fewer than 25 rows of the policy or of the reference",
    "no_overlap": "policy and reference share no outcomes, so that nothing shows what lies between them",
    "reach_unknown": "not checkable whether Z has parts that the rows never reach: score a --reference by the policy",
    "heavy_tail": "the largest weights have a tail index of 0.7 or more",
    "saturated": "one row holds more than half of Z",
    "thin": "the spread of the weights leaves a bulk effective sample size below 10",
    "no_reference": "too few rows of the reference, or rows like its own, to know E_ref[r]: give --reference",
    "all_equal": "all rows of the policy are alike: no spread is no certainty",
}
"""Every flag of a prompt and what it means."""

FEW, HEAVY, BROAD, MILD = 25, 0.7, 100.0, 0.7

ABOVE = ("too_few", "no_overlap", "reach_unknown", "heavy_tail", "saturated", "thin", "all_equal")
"""Flags that leave the ceiling without an upper limit."""


def raised(batch: Batch, totals: Totals, beta: float) -> dict[str, Flags]:
    """Return the flags of every prompt of a batch."""
    n_prompts, pooled = len(batch.prompt), np.bool_(batch.ref_log_ratio is not None)
    sizes = [n for n in (batch.n_policy, batch.n_reference) if n]
    score, ref_score = batch.reward / beta - batch.log_ratio, batch.ref_reward / beta
    bulk = np.max([n * np.exp(-s.var(axis=1)) for n, s in _sampled(score, ref_score)], axis=0)
    alike = (np.ptp(batch.reward, axis=1) == 0) & (np.ptp(batch.log_ratio, axis=1) == 0)
    own = totals.reference.shape[1] == 0
    return {
        "too_few": np.full(n_prompts, min(sizes) < FEW),
        "no_overlap": ~totals.reaches & pooled,
        "reach_unknown": ~totals.reaches & ~pooled,
        "heavy_tail": _khat(totals.log_share) >= HEAVY,
        "saturated": (totals.log_share.max(axis=1) > np.log(0.5)) & (totals.log_share.shape[1] > 2),
        # Few rows have a small bulk however alike they are.
        "thin": bulk < np.minimum(THIN, 0.25 * max(sizes)),
        "no_reference": _reference_unknown(batch, totals),
        "all_equal": alike & (own | np.any(batch.log_ratio != 0, axis=1)),
    }


def _reference_unknown(batch: Batch, totals: Totals) -> Flags:
    if batch.n_reference:
        return np.zeros(len(batch.prompt), dtype=bool)
    bulk = batch.n_policy * np.exp(-batch.log_ratio.var(axis=1))
    return ~totals.reaches | (bulk < min(BROAD, MILD * batch.n_policy))


def _sampled(score: Floats, ref_score: Floats) -> list[tuple[int, Floats]]:
    return [(rows.shape[1], rows) for rows in (score, ref_score) if rows.shape[1]]


def _khat(log_share: Floats) -> Floats:
    n_prompts, n = log_share.shape
    columns = Columns(
        reward=np.zeros(n_prompts * n),
        log_mass=log_share.reshape(-1),
        log_count=np.full(n_prompts, np.log(n)),
        start=n * np.arange(n_prompts + 1),
        normalised=False,
    )
    # Where there is no index, there is no comparison to fail.
    return np.nan_to_num(khat(columns, np.ones((1, 1)))[:, 0], nan=-1.0)
