"""Quasi-Monte Carlo with importance sampling, from five dimensions on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.stats import qmc

from tiltz.known.integrals.integrand import Integrand, Nodes
from tiltz.known.integrals.volume.gathering import Part, error_of_log, gathered
from tiltz.known.integrals.volume.landscape import Landscape, tilted
from tiltz.known.integrals.volume.modes import find_modes
from tiltz.known.integrals.volume.proposal import Proposal
from tiltz.known.log_sum import log_sum

Floats = npt.NDArray[np.float64]

_SCRAMBLES = 16
_LEVEL = 0.999
_FIRST = 512  # points of every scramble, doubled until the error is small
_ATTAINABLE = 1e-4  # nats: more would take more than some seconds
_MOST = 1 << 21  # points
_MOST_NUMBERS = 1 << 24  # points times coordinates in memory
_MODES = 16  # at most so many have a part in the mixture
_CONTROLS = 16  # parts whose known integral corrects the weights


def quasi_nodes(integrand: Integrand, *, seed: int = 0) -> Nodes:
    """Return weighted draws for five and more dimensions.

    Parameters
    ----------
    integrand : Integrand
        Density and reward over a box with finite or infinite sides.
    seed : int
        Of the scrambles; the same one gives the same nodes.

    Returns
    -------
    Nodes
        ``statistical``; ``error`` is that of log Z after division by the nodes' own total mass.

    Raises
    ------
    InputError
        If a function of the user returns what is no number, or the wrong shape.

    Notes
    -----
    Sixteen independently scrambled Sobol sequences, mapped to a mixture of the reference (where it can be drawn from)
    and, for every mode of every tilt, of a Gaussian and a Student t of its place and shape; draws of a first round add
    the mean and covariance of every tilt. The weight of a draw is the density over that of the whole mixture (balance
    heuristic), at most 1 / 0.4 where the reference is a part, and is corrected so that every part has the integral 1
    that it is known to have. The estimate of the normalised Z is consistent. The error is the 99.9% quantile of
    Student's t with 15 degrees of freedom times the standard error over the scrambles, and so holds with about that
    probability.

    References
    ----------
    .. [1] A. B. Owen, Y. Zhou, "Safe and effective importance sampling", J. Amer. Statist. Assoc. 95 (2000), 135-143.
    """
    landscape = Landscape.of(integrand)
    modes = find_modes(landscape)
    level = landscape.level([mode.at for mode in modes])
    early, late = np.random.default_rng(seed).spawn(2)
    first = _Draws(proposal=Proposal.of(landscape, modes[:_MODES]), level=level, rng=early)
    first.extend(_FIRST)
    landscape.n_evaluations += first.reward.size
    draws = _Draws(proposal=first.adapted(), level=level, rng=late)
    d = len(integrand.space.sides)
    most = (
        min(integrand.max_evaluations, _MOST, _MOST_NUMBERS // (d + 4 + len(draws.controlled))) // _SCRAMBLES
    )
    tolerance = max(integrand.tolerance, _ATTAINABLE)
    draws.extend(_FIRST)
    while np.max(draws.errors()[0], initial=0.0) > tolerance and 2 * draws.n <= most:
        draws.extend(draws.n)
    return draws.nodes(landscape.n_evaluations)


class _Draws:
    """Draws of all scrambles so far, shapes (16, n, ...)."""

    def __init__(self, *, proposal: Proposal, level: float, rng: np.random.Generator) -> None:
        self.proposal, self.level = proposal, level
        self.integrand, self.chart = proposal.integrand, proposal.chart
        d = len(self.integrand.space.sides)
        streams = rng.spawn(_SCRAMBLES)
        self.engines = [qmc.Sobol(d + 2, bits=52, rng=stream) for stream in streams]
        self.controlled = np.flatnonzero(proposal.share[: 1 + len(proposal.at)])[:_CONTROLS]
        self.drawn, self.reward = np.empty((_SCRAMBLES, 0)), np.empty((_SCRAMBLES, 0))
        self.v, self.controls = np.empty((_SCRAMBLES, 0, d)), np.empty((_SCRAMBLES, 0, len(self.controlled)))
        self.log_weight = self.drawn

    @property
    def n(self) -> int:
        """Return the number of draws of every scramble."""
        return self.reward.shape[1]

    def extend(self, n: int) -> None:
        """Draw so many more of every scramble."""
        blocks = zip(*[self._block(engine.random(n)) for engine in self.engines], strict=True)
        new = [np.stack(column) for column in blocks]
        old = (self.drawn, self.reward, self.v, self.controls)
        self.drawn, self.reward, self.v, self.controls = (
            np.concatenate(pair, axis=1) for pair in zip(old, new, strict=True)
        )
        self.log_weight = self.drawn + np.stack([_calibration(part) for part in self.controls])

    def _block(self, uniform: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        v = self.proposal.draw(uniform)
        y, log_volume = self.chart.points(v)
        base = self.integrand.log_density_at(y) + log_volume
        base = np.where(base < np.inf, base, -np.inf)
        parts = self.proposal.log_parts(v, base)
        used = self.proposal.share > 0
        log_mixture = log_sum((parts[:, used] + np.log(self.proposal.share[used])).T)
        controls = np.exp(parts[:, self.controlled] - log_mixture[:, None])
        return base - log_mixture, self.integrand.reward_at(y), v, controls

    def adapted(self) -> Proposal:
        """Return a proposal that has learnt from these draws."""
        v = self.v.reshape(-1, self.v.shape[2])
        return self.proposal.with_moments(v, self.log_weight.ravel(), self.reward.ravel(), self.level)

    def errors(self) -> tuple[Floats, float]:
        """Return the relative error of every tilt's Z over the total mass, and that of the mass itself."""
        factor = float(stats.t.ppf((1 + _LEVEL) / 2, _SCRAMBLES - 1)) / np.sqrt(_SCRAMBLES)
        mass = self._shares(0.0)
        tilts = [self._shares(t) - mass for t in self.integrand.t]
        relative = np.array([factor * np.std(part, ddof=1) for part in tilts])
        return relative, factor * float(np.std(mass, ddof=1))

    def _shares(self, t: float) -> Floats:
        """Return the sum over each scramble, relative to the mean of these sums."""
        height = tilted(self.log_weight, self.reward, t, self.level)
        top = float(np.max(height))
        if not np.isfinite(top):
            return np.zeros(_SCRAMBLES)
        sums = np.sum(np.exp(height - top), axis=1)
        return sums / np.mean(sums)

    def nodes(self, n_before: int) -> Nodes:
        """Return all draws that carry anything."""
        tilts = self.integrand.tilts
        log_mass = self.log_weight - np.log(self.reward.size)
        heights = [tilted(log_mass, self.reward, t, self.level) for t in tilts]
        log_total = np.array([float(log_sum(height.ravel())) for height in heights])
        relative, mass_error = self.errors()
        kept, reward, at, noise = gathered(self._parts(log_mass), tilts, self.level, log_total)
        return Nodes(
            log_mass=kept,
            reward=reward,
            error=error_of_log(relative + noise[1:]),
            mass_error=float((mass_error + noise[0]) * np.exp(log_total[0])),
            at=at,
            n_evaluations=n_before + self.reward.size,
            statistical=True,
        )

    def _parts(self, log_mass: Floats) -> Iterator[Part]:
        for mass, reward, v in zip(log_mass, self.reward, self.v, strict=True):
            yield Part(
                log_mass=mass,
                reward=reward,
                rounding=np.zeros(len(mass)),
                places=lambda which, v=v: self.chart.points(v[which])[0],
            )


def _calibration(controls: Floats) -> Floats:
    """Return log factors of the draws, shape (m,), with which the mean of every control is 1, as is known.

    A control is the density of a part over that of the mixture. Corrections are small; should one not be, none is made.
    """
    offset = controls - np.mean(controls, axis=0)
    missing = 1.0 - np.mean(controls, axis=0)
    covariance = offset.T @ offset / len(controls)
    change = offset @ (np.linalg.pinv(covariance, rcond=1e-9, hermitian=True) @ missing)
    return np.log1p(change) if np.max(np.abs(change), initial=0.0) < 0.5 else np.zeros(len(controls))
