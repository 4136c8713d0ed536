"""Normalisers of several sampled densities at once, from every density at every row: the MBAR equations.

The self-consistent equations are the stationary point of one convex function, so a few plain steps and then Newton's
method solve them from anywhere.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tiltz.errors import OverlapError

Floats = npt.NDArray[np.float64]

SOLVED = 1e-12
"""Largest relative difference between a state's draws and what the solution makes of them."""
_PLAIN_STEPS, _STEPS = 5, 200
_FAR = 30.0  # nats that normalisers may move before densities are scaled anew
_LOST = 1e-200  # rows that a state is given; fewer have no digits
_DIGITS = 1e-13  # of the normalisers, below which a step is rounding
_SINGULAR = 1e-12


class Solver:
    """The equations of sampled states, with densities scaled once so that no step needs an exponential.

    Parameters
    ----------
    log_density : array, shape (n_states, n_rows)
        Of every row under every sampled state, up to a constant per state, in nats.
    drawn : array, shape (n_states,)
        Rows drawn from each, all positive.
    """

    def __init__(self, log_density: Floats, drawn: Floats) -> None:
        # Whatever constants the densities carry; the largest density is near the normaliser where there is one mode.
        self.constant = log_density.max(axis=1)
        self.log_density, self.drawn = log_density - self.constant[:, None], drawn
        self.log_z = np.zeros(len(drawn))
        self._scale()

    def _scale(self) -> None:
        self.at = self.log_z.copy()
        score = self.log_density - self.at[:, None]
        self.top = score.max(axis=0)
        score -= self.top
        with np.errstate(under="ignore"):
            self.density = np.exp(score, out=score)

    def _weights(self, log_z: Floats) -> tuple[Floats, Floats]:
        """Return drawn / z per state, relative to the scale, and the total density of each row."""
        factor = self.drawn * np.exp(self.at - log_z)
        return factor, factor @ self.density

    def objective(self, log_z: Floats) -> float:
        """Return the convex function, per row."""
        return float((np.log(self._weights(log_z)[1]).sum() + self.drawn @ log_z) / self.drawn.sum())

    def responsibilities(self) -> Floats:
        """Return the probability that each row comes from each state, shape (n_states, n_rows)."""
        factor, total = self._weights(self.log_z)
        return factor[:, None] * self.density / total

    def log_total(self) -> Floats:
        """Return the log of the sum of drawn times density over normaliser of every row, that of the first state 1."""
        return self._log_total() + self.constant[0] + self.log_z[0]

    def _log_total(self) -> Floats:
        return np.log(self._weights(self.log_z)[1]) + self.top

    def solve(self) -> Floats:
        """Return log normalisers, that of the first state 0."""
        for step in range(_STEPS):
            if np.max(np.abs(self.log_z - self.at)) > _FAR:
                self._scale()
            found = self.responsibilities()
            sums = found.sum(axis=1)
            if np.max(np.abs(sums / self.drawn - 1)) < SOLVED:
                break
            if np.min(sums) < _LOST:
                self._move(self._log_sums() - self.log_z)
            elif step < _PLAIN_STEPS:
                self._move(np.log(sums / self.drawn))
            elif not self._newton(found, sums):
                break
        else:
            raise _unsolved()
        if np.max(np.abs(sums / self.drawn - 1)) > 1e-8:
            raise _unsolved()
        found = self.constant + self.log_z
        return found - found[0]

    def _log_sums(self) -> Floats:
        """Return what a plain step makes of the log normalisers, where probabilities leave the floats."""
        score = self.log_density - self._log_total()
        top = score.max(axis=1)
        with np.errstate(under="ignore"):
            return top + np.log(np.exp(score - top[:, None]).sum(axis=1))

    def _move(self, step: Floats) -> None:
        self.log_z = self.log_z + step - step[0]

    def _newton(self, found: Floats, sums: Floats) -> bool:
        """Take a step that lowers the objective; say whether there is one."""
        gradient = (self.drawn - sums)[1:]
        curvature = (np.diag(sums) - found @ found.T)[1:, 1:]
        step = np.zeros(len(sums))
        try:
            step[1:] = -np.linalg.solve(curvature, gradient)
        except np.linalg.LinAlgError:
            step[1:] = -np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        size = np.max(np.abs(step))
        if size < 1e-6:  # where the objective has no digits left to compare
            self._move(step)
            return bool(size > _DIGITS * max(1.0, np.max(np.abs(self.log_z))))
        step *= min(1.0, _FAR / size)
        before = self.objective(self.log_z)
        for _ in range(40):
            if self.objective(self.log_z + step) <= before:
                self._move(step)
                return True
            step = step / 2
        return False


def covariance_of(weight: Floats, drawn: Floats) -> Floats:
    """Return the asymptotic covariance of log normalisers, of which differences alone mean something.

    Parameters
    ----------
    weight : array, shape (n_states, n_rows)
        Density over its normaliser and over the sum of drawn times density; rows of it sum to 1.
    drawn : array, shape (n_states,)
        Rows drawn from each state; 0 is allowed.

    Notes
    -----
    Consistent. W' (1 - W N W')^+ W of Shirts and Chodera's equation (D6), on the singular vectors of W.
    """
    square, direction = np.linalg.eigh(weight @ weight.T)
    root = np.sqrt(np.maximum(square, 0.0))
    half: Floats = direction * root
    inner = np.eye(len(root)) - half.T @ (drawn[:, None] * half)
    middle = np.linalg.pinv(inner, rcond=_SINGULAR * len(root), hermitian=True)
    return np.asarray(half @ middle @ half.T, dtype=np.float64)


def _unsolved() -> OverlapError:
    return OverlapError(
        "normalisers of states that share rows with each other have one solution; the equations of these states have "
        "none to double precision. Add states between those that are furthest apart."
    )
