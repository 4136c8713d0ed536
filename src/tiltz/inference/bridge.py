"""log Z from draws of both ends: of the reference and of the tilted policy, whose normaliser nobody needs to know."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.inference.cells import Cells, flag_sets
from tiltz.inference.intervals import normal_quantile
from tiltz.inference.mbar import CAUTION, LEAST_OVERLAP
from tiltz.inference.request import check_table, checked_betas, checked_level
from tiltz.inference.result import Estimate
from tiltz.inference.sampled import FEW
from tiltz.kernels import Columns
from tiltz.outcomes import Outcomes

Floats = npt.NDArray[np.float64]

_BELOW = 50.0  # nats below every score, where each row counts as one of the tilted policy


def bridge(reference: Outcomes, tilted: Outcomes, beta: float, *, level: float = 0.95) -> Estimate:
    """Estimate log Z from draws of the reference and draws of the tilted policy at one beta.

    Parameters
    ----------
    reference : Outcomes
        Draws from the reference.
    tilted : Outcomes
        Draws from the tilted policy at ``beta`` for the same prompts, from whatever draws exactly from it, with their
        rewards and a name (``drawn_from="tilted"``). Their log-probabilities are not needed.
    beta : float
        KL coefficient, > 0, in reward per nat.
    level : float, default 0.95
        Confidence level of the intervals.

    Returns
    -------
    Estimate
        Of kind "approximate". Prompts whose draws have too little in common get no answer: ``log_z`` is NaN, ``lo`` the
        betting lower limit of the reference draws, ``hi`` infinite, and the flag is "no_overlap".

    Raises
    ------
    InputError
        If a table is not one of plain draws, prompts differ, or a tilted draw has reward ``-inf``.

    Notes
    -----
    The optimal bridge of Meng and Wong [1]_, Bennett's acceptance ratio: log Z is the root of an increasing function of
    the scores reward / beta. Consistent; its error is the asymptotic one, and its interval that of a normal law. Rows
    are taken to be independent, which those of a Markov chain are not. Draws have too little in common where a row of
    one end is put down to the other with a mean probability below 0.03 (by more than 2.5 standard errors): an answer
    and a small error would come out all the same. :func:`tiltz.mbar` bridges several densities, given as arrays.

    References
    ----------
    .. [1] X.-L. Meng, W. H. Wong, "Simulating ratios of normalizing constants via a simple identity", Statist. Sinica 6
       (1996) 831-860.

    Examples
    --------
    Normal rewards, whose tilted law at beta 1 is the normal law with mean 1; log Z is 0.5:

    >>> import numpy as np, tiltz
    >>> rng = np.random.default_rng(0)
    >>> reference = tiltz.Outcomes.sampled(rng.normal(0, 1, 2000))
    >>> tilted = tiltz.Outcomes.sampled(rng.normal(1, 1, 2000), drawn_from="tilted")
    >>> tiltz.bridge(reference, tilted, beta=1.0)
    Estimate of log Z (nats), 1 prompt x 1 beta, level 0.95
      0: beta 1: 0.4825 [0.4511, 0.5139] approximate
    """
    _check_tables(reference, tilted)
    betas = checked_betas(beta)
    checked_level(level)
    if len(betas) != 1:
        raise InputError(f"bridge takes draws from the tilted policy at one beta; found {len(betas)} betas.")
    columns, ends = reference.columns(), _scores(tilted, betas[0])
    starts = _scores(reference, betas[0])
    order = {label: i for i, label in enumerate(tilted.prompt.tolist())}
    found = np.array(
        [_solved(starts[i], ends[order[label]]) for i, label in enumerate(reference.prompt.tolist())]
    )
    log_z, error, apart = found[:, 0], found[:, 1], found[:, 2] > 0
    half = normal_quantile(level) * error
    lo, hi = log_z - half, log_z + half
    lo[apart], hi[apart], log_z[apart] = _below(columns, apart, betas, level), np.inf, np.nan
    n_tilted = np.array([len(ends[order[label]]) for label in reference.prompt.tolist()])
    few = np.minimum(reference.n, n_tilted) < FEW
    cells = Cells.of(
        log_z=log_z[:, None],
        soft_value=betas * log_z[:, None],
        limits=(lo[:, None], hi[:, None]),
        ess=np.full((len(log_z), 1), np.nan),
        kind=np.where(apart, "lower-only", "approximate").astype(object)[:, None],
        bias=np.full((len(log_z), 1), np.nan),
        flags=flag_sets((len(log_z), 1), no_overlap=apart[:, None], too_few=few[:, None]),
    )
    return Estimate(
        prompt=reference.prompt,
        step=reference.step,
        beta=betas,
        n=reference.n + n_tilted,
        level=level,
        evidence="sampled",
        sure=False,
        notes=(f"bridged between draws from the reference and from the {tilted.drawn_from}",),
        **cells.arrays(),
    )


def _scores(outcomes: Outcomes, beta: float) -> list[Floats]:
    """Return reward / beta of the rows of every prompt."""
    with np.errstate(over="ignore"):
        scores = outcomes.groups.gather(outcomes.reward) / beta
    return np.split(scores, outcomes.groups.start[1:-1])


def _solved(start: Floats, end: Floats) -> tuple[float, float, bool]:
    """Return log Z, its standard error, and whether the two ends have too little in common."""
    from scipy import optimize, special

    scores, tilted = np.concatenate([start, end]), len(end)
    odds = np.log(tilted / len(start))
    finite = scores[np.isfinite(scores)]
    if len(finite) == tilted:  # every draw of the reference has reward -inf
        return np.nan, np.inf, True
    centre = float(finite.mean())

    def excess(shift: float) -> float:
        return float(special.expit(scores - centre - shift + odds).sum()) - tilted

    low, high = float(finite.min()) - centre - _BELOW, float(finite.max()) - centre + _BELOW
    shift = float(np.asarray(optimize.brentq(excess, low, high, xtol=1e-13)))
    share = special.expit(scores - centre - shift + odds)
    common = share * special.expit(-(scores - centre - shift + odds))
    total, few = float(common.sum()), min(tilted, len(start))
    apart = total + CAUTION * float(np.sqrt(common @ common)) < LEAST_OVERLAP * few
    with np.errstate(divide="ignore"):
        variance = 1 / np.float64(total) - 1 / tilted - 1 / len(start)
    return centre + shift, float(np.sqrt(max(variance, 0.0))), apart


def _below(columns: Columns, wanted: npt.NDArray[np.bool_], beta: Floats, level: float) -> Floats:
    from tiltz.inference.betting import betting

    return (
        betting(columns.select(wanted), beta[None, :], level=level)[0][:, 0] if wanted.any() else np.empty(0)
    )


def _check_tables(reference: Outcomes, tilted: Outcomes) -> None:
    for name, outcomes in (("reference", reference), ("tilted", tilted)):
        check_table(outcomes)
        if outcomes.evidence != "sampled" or outcomes.weighted:
            what = "importance weights" if outcomes.weighted else f"a {outcomes.evidence} table"
            raise InputError(f"bridge needs plain draws in {name}=; found {what}.")
        if (outcomes.drawn_from == "reference") != (name == "reference"):
            raise InputError(
                "bridge takes draws from the reference first and draws from the tilted policy second, which its "
                f"drawn_from must tell apart (drawn_from='tilted'); {name}= was drawn from the {outcomes.drawn_from}."
            )
        if len(set(outcomes.prompt.tolist())) != len(outcomes.prompt):
            raise InputError(
                f"bridge joins tables by prompt; {name}= holds several steps of the same prompt."
            )
    if set(reference.prompt.tolist()) != set(tilted.prompt.tolist()):
        lone = sorted(set(reference.prompt.tolist()) ^ set(tilted.prompt.tolist()), key=str)[0]
        raise InputError(
            f"bridge joins tables of the same prompts; {lone!r} is in only one. Keep the shared ones with "
            "Outcomes.select."
        )
    impossible = np.isneginf(tilted.reward)
    if np.any(impossible):
        raise InputError(
            "a tilted policy never draws an outcome of reward -inf; found one in row "
            f"{int(np.argmax(impossible))} of tilted=."
        )
