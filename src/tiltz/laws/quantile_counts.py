"""How many of m reference rewards are at most, or below, the reward of another draw."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tiltz.laws.finite_tilt import log_sum_exp

Floats = npt.NDArray[np.float64]

TIES = ("at-most", "below", "mid-rank")


def ranks(n_reference: int, ties: str) -> Floats:
    """Return the possible quantiles, ascending: multiples of 1/m, of 1/(2m) for mid-ranks."""
    n_steps = 2 * n_reference if ties == "mid-rank" else n_reference
    return np.arange(n_steps + 1.0) / n_steps


def rank_log_mass(n_reference: int, prob: Floats, ties: str) -> Floats:
    """Return the log of the probability of each quantile, over the reference draws and the ranked one.

    Parameters
    ----------
    n_reference : int
        m, how many reference rewards there are.
    prob : array, shape (n_atoms,)
        Masses of the possible rewards, which ascend, each above 0.
    ties : str
        One of ``TIES``.

    Returns
    -------
    array, shape (n_steps + 1,)
        In nats; they sum to 1.
    """
    below, above = _beside(prob)
    found = np.full(len(ranks(n_reference, ties)), -np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        for p, b, a in zip(prob.tolist(), below.tolist(), above.tolist(), strict=True):
            if ties == "mid-rank":
                mass = _log_mid_ranks(n_reference, b, p, a)
            elif ties == "at-most":
                mass = log_binomial(n_reference, b + p, a)
            else:
                mass = log_binomial(n_reference, b, p + a)
            found = np.logaddexp(found, np.log(p) + mass)
    return found - log_sum_exp(found)


def log_binomial(n: int, share: float, rest: float) -> Floats:
    """Return the log-probabilities of 0..n successes, in nats.

    Parameters
    ----------
    n : int
        How many trials.
    share, rest : float
        Rates of success and failure, which sum to 1: each is given, so that the smaller keeps its digits.
    """
    log_share = np.log1p(-rest) if rest < 0.5 else np.log(share)
    log_rest = np.log1p(-share) if share < 0.5 else np.log(rest)
    k = np.arange(n + 1.0)
    successes = np.where(k > 0, k * log_share, 0.0)
    return _log_choose(n) + successes + np.where(k < n, (n - k) * log_rest, 0.0)


def _beside(prob: Floats) -> tuple[Floats, Floats]:
    """Return the masses below and above each reward."""
    below = np.append(0.0, np.cumsum(prob)[:-1])
    above = np.append(np.cumsum(prob[:0:-1])[::-1], 0.0)
    return below, above


def _log_choose(n: int) -> Floats:
    """Return the logs of the binomial coefficients of n."""
    k = np.arange(1.0, n // 2 + 1)
    half = np.append(0.0, np.cumsum(np.log((n + 1.0 - k) / k)))
    return np.append(half, half[::-1][1 - n % 2 :])


def _log_mid_ranks(n: int, below: float, tied: float, above: float) -> Floats:
    """Return the log-probabilities of twice the number below plus the number tied, 0..2n."""
    found = np.full(2 * n + 1, -np.inf)
    beside = below + above
    for n_tied, mass in enumerate(log_binomial(n, tied, beside).tolist()):
        if mass == -np.inf:
            continue
        n_beside = n - n_tied
        split = log_binomial(n_beside, below / beside, above / beside) if n_beside else np.zeros(1)
        spots = slice(n_tied, n_tied + 2 * n_beside + 1, 2)
        found[spots] = np.logaddexp(found[spots], mass + split)
    return found
