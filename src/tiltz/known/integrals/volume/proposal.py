"""The mixture from which weighted draws come in many dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from tiltz.known.integrals.integrand import Integrand
from tiltz.known.integrals.volume.charts import Chart
from tiltz.known.integrals.volume.landscape import Landscape, tilted
from tiltz.known.integrals.volume.modes import Mode, ranked
from tiltz.known.log_sum import log_sum

Floats = npt.NDArray[np.float64]

_REFERENCE = 0.4  # share of the draws from the reference itself
_DEGREES = 5.0  # of the Student t parts
_PER_COORDINATE = 20  # effective draws that a covariance needs
_TINY = 2.0**-52


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A mixture over unbounded coordinates.

    Attributes
    ----------
    integrand : Integrand
        Whose reference is the first part, if it can be drawn from.
    chart : Chart
        Of the unbounded coordinates.
    share : array, shape (n_parts,)
        Of the draws: reference (perhaps 0), Gaussians, Student t.
    at : array, shape (n_modes, d)
        Centres of the others.
    root : array, shape (n_modes, d, d)
        Triangular roots of their covariances.
    """

    integrand: Integrand
    chart: Chart
    share: Floats
    at: Floats
    root: Floats

    @classmethod
    def of(cls, landscape: Landscape, modes: tuple[Mode, ...]) -> Proposal:
        """Return the mixture for these modes."""
        at = np.array([mode.at for mode in modes])
        root = np.asarray(np.linalg.cholesky(np.array([mode.covariance for mode in modes])), dtype=np.float64)
        empty = cls(
            integrand=landscape.integrand, chart=landscape.chart, share=np.ones(1), at=at[:0], root=root[:0]
        )
        return empty._mixed(at, root)

    def draw(self, uniform: Floats) -> Floats:
        """Return unbounded coordinates from uniforms of shape (m, d + 2): which part, radius, direction."""
        uniform = np.clip(uniform, _TINY, 1 - _TINY)
        part = np.searchsorted(np.cumsum(self.share)[:-1], uniform[:, 0], side="right")
        normal = special.ndtri(uniform[:, 2:])
        v = np.empty_like(normal)
        n_modes = len(self.at)
        for k in np.unique(part):
            some = part == k
            if k == 0 and self.integrand.space.sample is not None:
                v[some] = self.chart.find(self.integrand.space.sample(uniform[some, 2:]))
                continue
            scale = 1.0
            if k > n_modes:
                scale = np.sqrt(_DEGREES / special.chdtri(_DEGREES, uniform[some, 1]))[:, None]
            mode = (k - 1) % n_modes
            v[some] = self.at[mode] + scale * (normal[some] @ self.root[mode].T)
        return v

    def log_parts(self, v: Floats, base: Floats) -> Floats:
        """Return log-densities of all parts, shape (m, n_parts); ``base`` is that of the reference."""
        d, n_modes = v.shape[1], len(self.at)
        heavy = (
            special.gammaln((_DEGREES + d) / 2)
            - special.gammaln(_DEGREES / 2)
            - d / 2 * np.log(_DEGREES * np.pi)
        )
        parts = np.empty((len(v), 1 + 2 * n_modes))
        parts[:, 0] = base
        for k in range(n_modes):
            square = np.sum(np.linalg.solve(self.root[k], (v - self.at[k]).T) ** 2, axis=0)
            log_volume = np.sum(np.log(np.diag(self.root[k])))
            parts[:, 1 + k] = -d / 2 * np.log(2 * np.pi) - log_volume - square / 2
            parts[:, 1 + n_modes + k] = heavy - log_volume - (_DEGREES + d) / 2 * np.log1p(square / _DEGREES)
        return parts

    def with_moments(self, v: Floats, log_weight: Floats, reward: Floats, level: float) -> Proposal:
        """Return a mixture that also has the mean and covariance that weighted draws show of every tilt."""
        at, root = list(self.at), list(self.root)
        for t in ranked(self.integrand.t):
            height = tilted(log_weight, reward, t, level)
            if not np.any(np.isfinite(height)):
                continue
            weight = np.exp(height - log_sum(height))
            if 1.0 / np.sum(weight**2) < _PER_COORDINATE * v.shape[1]:
                continue
            mean = weight @ v
            covariance = (weight[:, None] * (v - mean)).T @ (v - mean)
            values, vectors = np.linalg.eigh(covariance)
            if values[0] > 1e-12 * values[-1]:
                at.append(mean)
                root.append(np.linalg.cholesky((vectors * values) @ vectors.T))
        return self._mixed(np.array(at), np.array(root))

    def _mixed(self, at: Floats, root: Floats) -> Proposal:
        reference = _REFERENCE if self.integrand.space.sample is not None else 0.0
        rest = (1.0 - reference) / len(at)
        share = np.array([reference, *[0.6 * rest] * len(at), *[0.4 * rest] * len(at)])
        return Proposal(integrand=self.integrand, chart=self.chart, share=share, at=at, root=root)
