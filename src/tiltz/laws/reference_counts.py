"""log Z given one frozen set of reference rewards with atoms: its mean and spread over such sets."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.laws.finite_tilt import finite_tilt, log_sum_exp
from tiltz.laws.reference_spread import ReferenceSpread

Floats = npt.NDArray[np.float64]

_MOST_CELLS = 1_000_000  # sets times atoms


def counted_atoms(n_reference: int, prob: Floats, ties: str, beta: Floats) -> ReferenceSpread:
    """Return the spread of log Z, by going through every set of counts that the atoms may have.

    Parameters
    ----------
    n_reference : int
        How many reference rewards there are.
    prob : array, shape (n_atoms,)
        Masses of the possible rewards, which ascend, each above 0.
    ties : str
        One of :data:`tiltz.laws.quantile_counts.TIES`.
    beta : array, shape (n_betas,)
        KL coefficients.
    """
    count = _every_count(n_reference, len(prob))
    log_mass = _multinomial(count, np.log(prob))
    quantile = _quantile(count, ties)
    spread = [_spread(_log_z(quantile / b, prob), log_mass) for b in beta]
    below, sd = np.reshape(spread, (-1, 2)).T
    return ReferenceSpread(below=below, sd=sd)


def _every_count(n_reference: int, n_atoms: int) -> npt.NDArray[np.int64]:
    """Return all counts of so many atoms in so many draws, shape (n_sets, n_atoms)."""
    n_slots, n_bars = n_reference + n_atoms - 1, n_atoms - 1
    n_sets = math.comb(n_slots, n_bars)
    if n_sets * n_atoms > _MOST_CELLS:
        raise InputError(
            f"The mean and spread of log Z over frozen references go through every set of counts, of which there may "
            f"be {_MOST_CELLS // n_atoms} for {n_atoms} atoms; found {n_sets:.3g}. Merge atoms, take a smaller "
            "n_reference, or prob=None, which is for rewards without ties."
        )
    bars = np.array(list(itertools.combinations(range(n_slots), n_bars)), dtype=np.int64)
    ends = np.pad(bars.reshape(n_sets, n_bars), ((0, 0), (1, 1)), constant_values=((0, 0), (-1, n_slots)))
    return np.diff(ends, axis=-1) - 1


def _multinomial(count: npt.NDArray[np.int64], log_prob: Floats) -> Floats:
    """Return the log-probability of each set of counts, shape (n_sets,)."""
    n_reference = int(np.sum(count[0]))
    log_factorial = np.append(0.0, np.cumsum(np.log(np.arange(1.0, n_reference + 1))))
    log_mass = np.sum(count * log_prob - log_factorial[count], axis=-1)
    return log_mass - log_sum_exp(log_mass)


def _quantile(count: npt.NDArray[np.int64], ties: str) -> Floats:
    """Return the quantile of each atom, shape (n_sets, n_atoms)."""
    share_tied = {"at-most": 1.0, "mid-rank": 0.5, "below": 0.0}[ties]
    below = np.cumsum(count, axis=-1) - count
    return (below + share_tied * count) / np.sum(count, axis=-1, keepdims=True)


def _log_z(gain: Floats, prob: Floats) -> Floats:
    """Return log Z for rewards over beta, shape (n_sets, n_atoms), of known masses."""
    mean, top = np.sum(prob * gain, axis=-1), np.max(gain, axis=-1)
    tilt = finite_tilt(np.log(prob), gain=gain - mean[:, None], drop=gain - top[:, None])
    return np.where(tilt.near, mean + tilt.log_from_mean, top + tilt.log_from_top)


def _spread(log_z: Floats, log_mass: Floats) -> tuple[float, float]:
    mass = np.exp(log_mass)
    from_mean = log_z - np.sum(mass * log_z)
    tilt = finite_tilt(log_mass, gain=from_mean, drop=log_z - np.max(log_z))
    below = np.where(tilt.near, tilt.log_from_mean, np.max(from_mean) + tilt.log_from_top)
    return float(below), math.sqrt(np.sum(mass * from_mean**2))
