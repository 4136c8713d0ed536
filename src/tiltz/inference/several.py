"""Cells of pooled samples: balance-heuristic weights, corrected by controls, with errors stratified by sampler."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.inference.controls import Controls, controls_of
from tiltz.inference.intervals import normal_quantile
from tiltz.inference.request import Request
from tiltz.inference.sampled import BROAD, FEW, HEAVY, LIGHT, THIN, Flags, Limits, Look, SampledCells
from tiltz.kernels import Columns, Reduced, log_ratios
from tiltz.outcomes import Outcomes

Floats = npt.NDArray[np.float64]

N_RESAMPLES = 999
_AT_ONCE = 1 << 21  # resampled rows
_ROUNDING = 1e-12  # relative errors below this are rounding, not certainty
_ONE_SAMPLER = ("hall", "pareto-smoothed")


class PooledSamples(SampledCells):
    """Cells of draws from several samplers.

    Betting limits are those of the balance-heuristic weights, taken for draws from the mixture. They hold for the
    fixed numbers of draws, too: the capital is a product of non-negative terms whose means average to at most 1 over
    the rows, so that its own mean is at most 1 (geometric and arithmetic mean), and Markov's inequality does the rest.
    """

    def __init__(self, outcomes: Outcomes, beta: Floats, reduced: Reduced, request: Request) -> None:
        if request.interval in _ONE_SAMPLER:
            raise InputError(
                f"interval={request.interval!r} takes draws from one sampler; these rows come from several "
                f"({outcomes.drawn_from}). Use 'auto', 'bootstrap-t', 'delta' or 'betting'."
            )
        super().__init__(outcomes, beta, reduced, request)
        self.controls: list[Controls] = list(controls_of(outcomes))
        self.error = np.full(self.shape, np.nan)
        self.reduced = self._corrected(reduced)
        self.apart = np.array([[not controls.connected()] for controls in self.controls])

    def relative_weights(self, group: int) -> Floats:
        """Return the weights of a prompt over their mean, shape (n_rows, n_betas)."""
        first, last = self.columns.start[group : group + 2]
        log_count = self.columns.log_count
        rows = Columns(
            reward=self.columns.reward[first:last],
            log_mass=self.columns.log_mass[first:last],
            log_count=None if log_count is None else log_count[group : group + 1],
            start=np.array([0, last - first]),
            normalised=False,
        )
        log_tilted, _ = log_ratios(rows, self.beta[group][None, :])
        with np.errstate(under="ignore"):
            return len(log_tilted) * np.exp(log_tilted)

    def _corrected(self, reduced: Reduced) -> Reduced:
        """Return the reduction with the controls' correction of log Z; set its standard errors."""
        correction = np.zeros(self.shape)
        for i, controls in enumerate(self.controls):
            possible = reduced.log_z[i] > -np.inf
            weight = self.relative_weights(i)[:, possible]
            mean = (controls.factor[:, None] * weight).mean(axis=0)
            correction[i, possible] = np.log(mean)
            self.error[i, possible] = controls.standard_error(weight / mean)
        return replace(
            reduced,
            log_z=reduced.log_z + correction,
            soft_value=reduced.soft_value + self.beta * correction,
        )

    def _unknown(self, look: Look) -> tuple[Limits, npt.NDArray[Any]]:
        known = np.isfinite(self.error) & (self.error > _ROUNDING)
        harmless = (self.n >= FEW) & (look.bulk >= THIN) & ~(look.khat >= HEAVY) & ~self.apart
        two_sided = harmless & known & np.bool_(not self.request.simultaneous)
        promised = two_sided & (look.bulk >= BROAD) & (look.khat < LIGHT) & ~self._left_out()
        lo, hi = np.full(self.shape, -np.inf), np.full(self.shape, np.inf)
        self._fill((lo, hi), two_sided, self._bootstrap_t)
        self._fill_below((lo, hi), ~two_sided)
        return (lo, hi), np.where(promised, "calibrated", "approximate").astype(object)

    def _bootstrap_t(self, columns: Any, beta: Floats, groups: Flags) -> Limits:
        lo, hi = np.empty(beta.shape), np.empty(beta.shape)
        for at, i in enumerate(np.flatnonzero(groups)):
            wanted = np.isin(self.beta[i], beta[at])
            weight = self.relative_weights(int(i))[:, wanted]
            low, high = self._studentized(int(i), weight)
            error, log_z = self.error[i, wanted], self.reduced.log_z[i, wanted]
            with np.errstate(invalid="ignore"):
                lo[at], hi[at] = log_z - high * error, log_z - low * error
        return np.where(np.isnan(lo), -np.inf, lo), np.where(np.isnan(hi), np.inf, hi)

    def _studentized(self, group: int, weight: Floats) -> Limits:
        """Return the quantiles of (log mean* - log mean) / error*, resampled within samplers."""
        controls = self.controls[group]
        residual = controls.residuals(weight)
        with np.errstate(invalid="ignore"):
            residual = residual / residual.mean(axis=0)
        scale = len(residual) / (len(residual) - controls.centred.shape[1])
        rng = np.random.default_rng(self._seeds()[group])
        mean, variance = np.zeros((2, N_RESAMPLES, weight.shape[1]))
        for k, size in enumerate(controls.drawn):
            rows = residual[controls.sampler == k]
            for part in _parts(N_RESAMPLES, int(size)):
                times = _resampled(int(size), part.stop - part.start, rng)
                first, second = times @ rows / size, times @ rows**2 / size
                mean[part] += size / len(residual) * first
                spread = np.maximum(second - first**2, 0.0) / max(size - 1, 1)
                variance[part] += (size / len(residual)) ** 2 * spread
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.log(np.maximum(mean, 0.0)) * mean / np.sqrt(scale * variance)
        k = math.floor((N_RESAMPLES + 1) * (1 - self.request.level) / 2 + 1e-9)
        if k == 0:
            return np.full(len(t.T), -np.inf), np.full(len(t.T), np.inf)
        # 0 / 0 counts as whichever widens the interval.
        low = np.sort(np.where(np.isnan(t), -np.inf, t), axis=0)[k - 1]
        high = np.sort(np.where(np.isnan(t), np.inf, t), axis=0)[-k]
        return low, high

    def _delta(self) -> Limits:
        half = normal_quantile(self.request.level) * self.error
        return self.reduced.log_z - half, self.reduced.log_z + half

    def _without_zero_width(self, limits: Limits) -> Limits:
        flat = ~(self.error > _ROUNDING) | self.apart
        lo, hi = (np.array(limit) for limit in limits)
        self._fill_below((lo, hi), flat)
        hi[flat] = np.inf
        return lo, hi

    def _bias(self) -> Floats:
        return np.where(np.isfinite(self.error), -0.5 * self.error**2, np.nan)

    def _left_out(self) -> Flags:
        return np.array([[controls.left_out] for controls in self.controls])

    def _more_flags(self) -> dict[str, Flags]:
        return {
            "no_overlap": np.broadcast_to(self.apart, self.shape),
            "no_controls": np.broadcast_to(self._left_out(), self.shape),
        }


def _parts(total: int, size: int) -> list[slice]:
    step = max(_AT_ONCE // size, 1)
    return [slice(first, min(first + step, total)) for first in range(0, total, step)]


def _resampled(size: int, times: int, rng: np.random.Generator) -> Floats:
    """Return how often each of ``size`` rows is drawn in each of so many resamples."""
    drawn = rng.integers(size, size=(times, size)) + size * np.arange(times)[:, None]
    return np.bincount(drawn.reshape(-1), minlength=times * size).reshape(times, size).astype(np.float64)
