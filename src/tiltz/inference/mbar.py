"""Normalisers of many states from rows of all of them, with covariance and overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.checks import as_floats
from tiltz.errors import InputError, OverlapError
from tiltz.inference.controls import connected
from tiltz.inference.states import Solver, covariance_of
from tiltz.text import number, table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEAST_OVERLAP = 0.03
"""Neighbours with less have too few rows in common for their ratio and its error to mean anything."""
CAUTION = 2.5
"""Standard errors by which an overlap must lie below the least one, so that chance refuses next to nobody."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class States:
    """Log normalisers of several states.

    Attributes
    ----------
    log_z : array, shape (n_states,)
        Log normaliser of each state over that of the first, in nats.
    covariance : array, shape (n_states, n_states)
        Of ``log_z``; row and column of the first state are 0.
    overlap : array, shape (n_states, n_states)
        Row j: probability that a row of state j would be put down to each state. Rows sum to 1.
    n : int array, shape (n_states,)
        Rows drawn from each.
    """

    log_z: Floats
    covariance: Floats
    overlap: Floats
    n: Ints

    @property
    def standard_error(self) -> Floats:
        """Standard error of each ``log_z``, in nats, shape (n_states,)."""
        return np.sqrt(np.maximum(np.diag(self.covariance), 0.0))

    def difference(self, state: int, other: int) -> tuple[float, float]:
        """Return how much larger one log normaliser is than another, and its standard error, in nats.

        Parameters
        ----------
        state, other : int
            Numbers of the states.
        """
        variance = self.covariance[state, state] + self.covariance[other, other]
        variance -= 2 * self.covariance[state, other]
        return float(self.log_z[state] - self.log_z[other]), float(np.sqrt(max(variance, 0.0)))

    def summary(self) -> str:
        """Return the states as text, one line each."""
        overlap = self.overlap - np.diag(np.diag(self.overlap))
        rows = [
            [str(k), str(self.n[k]), number(self.log_z[k]), number(self.standard_error[k], 2), f"{most:.3f}"]
            for k, most in enumerate(overlap.max(axis=1))
        ]
        return table(["state", "rows", "log Z", "error", "largest overlap"], rows, right=range(5))

    def __repr__(self) -> str:
        return self.summary()


def mbar(log_densities: npt.ArrayLike, n: npt.ArrayLike, *, least_overlap: float = LEAST_OVERLAP) -> States:
    """Estimate the normalisers of several unnormalised densities from draws of some or all of them.

    Parameters
    ----------
    log_densities : array_like, shape (n_states, n_rows)
        Log of every state's unnormalised density at every row, in nats. For tilted policies at several betas:
        ``log_ref + reward / beta``, and ``log_ref`` for the reference.
    n : array_like of int, shape (n_states,)
        How many of the rows were drawn from each state, summing to ``n_rows``; which ones does not matter. States
        with 0 are estimated too.
    least_overlap : float, default 0.03
        Least overlap that links two neighbours; 0 refuses nobody.

    Returns
    -------
    States
        Log normalisers over that of the first state, their covariance and the overlap of the states.

    Raises
    ------
    OverlapError
        If links do not join all sampled states: nothing then says how their normalisers compare, though an equation has
        a solution and a standard error.
    InputError
        If shapes or numbers do not fit, or a row is impossible under every sampled state.

    Notes
    -----
    MBAR [1]_: consistent, and of the least asymptotic variance among estimates that use the densities' ratios alone;
    for two states it is the optimal bridge [2]_. Two states are linked if a row of one is put down to the other with a
    mean probability of at least ``least_overlap``, or less by no more than 2.5 standard errors: of the two
    directions the larger counts, since unequal numbers of draws make one small. Rows are taken to be independent.

    References
    ----------
    .. [1] M. R. Shirts, J. D. Chodera, "Statistically optimal analysis of samples from multiple equilibrium states",
       J. Chem. Phys. 129 (2008) 124105.
    .. [2] X.-L. Meng, W. H. Wong, "Simulating ratios of normalizing constants via a simple identity", Statist. Sinica 6
       (1996) 831-860.

    Examples
    --------
    Two normal densities without their constants, of which the second is wider by a factor of 2:

    >>> import numpy as np, tiltz
    >>> rng = np.random.default_rng(0)
    >>> rows = np.concatenate([rng.normal(0, 1, 2000), rng.normal(0, 2, 2000)])
    >>> found = tiltz.mbar([-(rows**2) / 2, -(rows**2) / 8], [2000, 2000])
    >>> bool(abs(found.log_z[1] - np.log(2)) < 3 * found.standard_error[1])
    True
    """
    log_density, drawn = _checked(log_densities, n)
    sampled = drawn > 0
    solver = Solver(log_density[sampled], drawn[sampled].astype(np.float64))
    normalisers = solver.solve()
    found = solver.responsibilities()
    if not connected(_links(found, drawn[sampled], least_overlap)):
        raise _apart(found, drawn, least_overlap)
    log_z, weight = np.empty(len(drawn)), np.empty_like(log_density)
    log_z[sampled], weight[sampled] = normalisers, found / drawn[sampled][:, None]
    if not np.all(sampled):
        log_weight = log_density[~sampled] - solver.log_total()
        log_z[~sampled] = _log_sum(log_weight)
        with np.errstate(under="ignore", invalid="ignore"):
            weight[~sampled] = np.nan_to_num(np.exp(log_weight - log_z[~sampled][:, None]))
    covariance = covariance_of(weight, drawn.astype(np.float64))
    # Less the first state, whose normaliser is 1 by convention.
    covariance = covariance - covariance[:1] - covariance[:, :1] + covariance[0, 0]
    arrays = {
        "log_z": log_z - log_z[0],
        "covariance": covariance,
        "overlap": (weight @ weight.T) * drawn,
        "n": drawn,
    }
    for array in arrays.values():
        array.setflags(write=False)
    return States(**arrays)


def _links(found: Floats, drawn: Ints, least: float) -> npt.NDArray[np.bool_]:
    """Return which states overlap by at least so much, allowing for chance."""
    shared, squares = found @ found.T, found**2
    # In the direction of the state with fewer rows, where the overlap is the larger.
    few = np.minimum.outer(drawn, drawn)
    linked = (shared + CAUTION * np.sqrt(squares @ squares.T)) / few >= least
    return linked | np.eye(len(drawn), dtype=np.bool_)


def _apart(found: Floats, drawn: Ints, least: float) -> OverlapError:
    numbers = np.flatnonzero(drawn)
    shared = found @ found.T / np.minimum.outer(drawn[numbers], drawn[numbers])
    np.fill_diagonal(shared, 0.0)
    lone = int(np.argmin(shared.max(axis=1)))
    return OverlapError(
        f"states must be linked by overlaps of at least {least:g}, directly or by way of others; state {numbers[lone]} "
        f"overlaps with its nearest by {shared[lone].max():.2g}, and the normalisers of the pieces cannot be compared. "
        "Draw from states between them, such as tilted policies at betas in between."
    )


def _checked(log_densities: npt.ArrayLike, n: npt.ArrayLike) -> tuple[Floats, Ints]:
    log_density, drawn = as_floats(log_densities, "log_densities"), np.asarray(n)
    if log_density.ndim != 2 or len(log_density) == 0:
        raise InputError(
            f"log_densities must have shape (n_states, n_rows); found shape {log_density.shape}."
        )
    if drawn.shape != log_density.shape[:1] or drawn.dtype.kind not in "iu" or np.any(drawn < 0):
        raise InputError(
            f"n must hold the number of rows drawn from each of the {len(log_density)} states, integers of at least 0; "
            f"found {n!r}."
        )
    drawn = drawn.astype(np.int64)
    if drawn.sum() != log_density.shape[1] or drawn.sum() == 0:
        raise InputError(
            f"n must sum to the number of rows, {log_density.shape[1]}, of which there is one at least; found "
            f"{drawn.sum()}."
        )
    bad = np.isnan(log_density) | (log_density == np.inf)
    if np.any(bad):
        state, row = np.argwhere(bad)[0]
        raise InputError(
            f"log_densities must be numbers below +inf; found {log_density[state, row]} for state {state} in row {row}."
        )
    nowhere = np.all(np.isneginf(log_density[drawn > 0]), axis=0)
    if np.any(nowhere):
        raise InputError(
            "every row must be possible under a state that was drawn from; row "
            f"{int(np.argmax(nowhere))} is impossible under all of them."
        )
    return log_density, drawn


def _log_sum(values: Floats) -> Floats:
    """Return the log of the sum of exponentials over the last axis."""
    top = values.max(axis=-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(under="ignore", divide="ignore"):
        return np.log(np.exp(values - top).sum(axis=-1)) + top[..., 0]
