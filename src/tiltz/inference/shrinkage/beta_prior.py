"""A Beta law of success rates, with or without atoms at 0 and 1: its parameters' posterior, and that of rates."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import special

from tiltz.inference.shrinkage.histogram import Histogram
from tiltz.inference.shrinkage.importance import WeightedPoints, posterior_points
from tiltz.inference.shrinkage.logit_grid import LOG_OTHER, LOG_RATE, LOGIT, WIDTH, RateMasses

Floats = npt.NDArray[np.float64]

LARGEST_PRECISION = 1000.0
"""Of a + b. Rates then differ by less than tables of a few samples per prompt can show."""

_SMALLEST = 4e-5  # of a and b: lighter tails than the grid reaches
_BETA_WEIGHT = 4.0  # of the Dirichlet prior on (mass at 0, mass at 1, rest), the atoms have 1 each
_N_POINTS = 512
_IGNORED = 1e-6  # weight relative to the largest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BetaParameters:
    """Parameters of Beta laws with atoms, each array of shape (n_points,).

    Attributes
    ----------
    a, b : array
        Parameters of the Beta part.
    mass_zero, mass_one : array
        Masses of the atoms at rates of exactly 0 and exactly 1.
    """

    a: Floats
    b: Floats
    mass_zero: Floats
    mass_one: Floats

    @property
    def rest(self) -> Floats:
        """Mass of the Beta part."""
        return np.maximum(1.0 - self.mass_zero - self.mass_one, 0.0)

    def within(self) -> BetaParameters:
        """Return the same with negative masses set to 0."""
        zero, one = (np.maximum(mass, 0.0) for mass in (self.mass_zero, self.mass_one))
        return BetaParameters(a=self.a, b=self.b, mass_zero=zero, mass_one=one)

    def probability(self, n: Floats, k: Floats) -> Floats:
        """Return the probability of k successes among n, shape (n_points, n_cells)."""
        return (
            self.rest[:, None] * np.exp(log_beta_binomial(self.a, self.b, n, k))
            + self.mass_zero[:, None] * (k == 0)
            + self.mass_one[:, None] * (k == n)
        )


def log_beta_binomial(a: Floats, b: Floats, n: Floats, k: Floats) -> Floats:
    """Return the log-probability of k successes among n, shape (n_points, n_cells).

    Notes
    -----
    Each gamma function is evaluated once per distinct count.
    """

    def rising(parameter: Floats, counts: Floats) -> Floats:
        distinct, where = np.unique(counts, return_inverse=True)
        ends = special.gammaln(parameter[:, None] + distinct) - special.gammaln(parameter)[:, None]
        return ends[:, where]

    log_choose = -special.betaln(k + 1, n - k + 1) - np.log(n + 1)
    return log_choose + rising(a, k) + rising(b, n - k) - rising(a + b, n)


def fit_parameters(table: Histogram, *, atoms: bool) -> tuple[BetaParameters, Floats]:
    """Return parameters and weights that stand for their posterior.

    Notes
    -----
    Hyperprior: the mean a/(a+b) and the intra-class correlation 1/(a+b+1) are uniform; each atom is absent with
    probability 1/2, and the masses of those present and of the Beta part are Dirichlet with 1 each and 4. An atom
    that n samples cannot tell from small rates is therefore neither excluded nor preferred.
    """
    presences = (
        [(zero, one) for zero in (False, True) for one in (False, True)] if atoms else [(False, False)]
    )
    models = [BetaModel(table=table, zero=zero, one=one) for zero, one in presences]
    fits = [model.posterior() for model in models]
    log_weight = np.concatenate([np.log(np.maximum(fit.weight, 1e-300)) + fit.log_evidence for fit in fits])
    weight = np.exp(log_weight - log_weight.max())
    kept = weight > _IGNORED
    parts = [model.parameters(fit.points)[0] for model, fit in zip(models, fits, strict=True)]
    joined = BetaParameters(
        a=np.concatenate([part.a for part in parts])[kept],
        b=np.concatenate([part.b for part in parts])[kept],
        mass_zero=np.concatenate([part.mass_zero for part in parts])[kept],
        mass_one=np.concatenate([part.mass_one for part in parts])[kept],
    )
    return joined, weight[kept] / weight[kept].sum()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BetaLaw:
    """Beta laws on the grid of logits, averaged over the posterior of their parameters.

    Attributes
    ----------
    parameters : BetaParameters
        Points that stand for the posterior of the parameters.
    weight : array, shape (n_points,)
        Their weights.
    density : array, shape (n_points, n_nodes)
        Mass of the Beta part of each at the nodes.

    Notes
    -----
    Given one set of parameters, the rate of a prompt is Beta(a + k, b + n - k) but for the atoms. On the grid that is
    the prompt's likelihood times one mixture of prior densities.
    """

    parameters: BetaParameters
    weight: Floats
    density: Floats
    logit: Floats = field(default_factory=lambda: LOGIT)
    smooth: bool = True

    @classmethod
    def of(cls, parameters: BetaParameters, weight: Floats) -> BetaLaw:
        """Return the law of weighted parameters."""
        a, b = parameters.a[:, None], parameters.b[:, None]
        density = np.exp(a * LOG_RATE + b * LOG_OTHER - special.betaln(a, b)) * WIDTH
        return cls(parameters=parameters, weight=weight, density=parameters.rest[:, None] * density)

    def masses(self, n: float, k: float) -> RateMasses:
        """Return the posterior of the rate of a prompt with k successes among n."""
        probability = self.parameters.probability(np.array([n]), np.array([k]))[:, 0]
        relative = self.weight / probability
        log_choose = -special.betaln(k + 1, n - k + 1) - np.log(n + 1)
        likelihood = np.exp(log_choose + k * LOG_RATE + (n - k) * LOG_OTHER)
        mass = likelihood * (relative @ self.density)
        at_zero = float(relative @ self.parameters.mass_zero) if k == 0 else 0.0
        at_one = float(relative @ self.parameters.mass_one) if k == n else 0.0
        # What the grid does not reach on the right is a rate of 1 to rounding, and on the left too small to matter.
        beyond = max(1.0 - float(mass.sum()) - at_zero - at_one, 0.0)
        right = mass[-1] > mass[0]
        return RateMasses(
            mass=mass,
            at_zero=at_zero + (0.0 if right else beyond),
            at_one=at_one + (beyond if right else 0.0),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BetaModel:
    """Beta law with the atoms that are present.

    Attributes
    ----------
    table : Histogram
        The prompts.
    zero, one : bool
        Whether there are atoms at 0 and at 1.

    Notes
    -----
    Coordinates: normal scores of the mean and of the intra-class correlation; then for each atom, of as many samples
    as is typical, the log-odds of all failing, or all succeeding, against the rest. The table pins those down, whereas
    an atom and a pile of rates near it trade off along a curve.
    """

    table: Histogram
    zero: bool
    one: bool

    def posterior(self) -> WeightedPoints:
        """Return points that stand for the posterior of the coordinates."""
        centre, covariance = self._start()
        return posterior_points(self.log_densities, centre, covariance, n_points=_N_POINTS)

    def _start(self) -> tuple[Floats, Floats]:
        """Return where the posterior is looked for: the prior, and log-odds as the table shows them.

        With two atoms there may be two hills, of which the posterior with one atom has found the higher.
        """
        if not (self.zero and self.one):
            log_odds, variance = self.table.log_odds(zero=self.zero, one=self.one)
            return np.concatenate([np.zeros(2), log_odds]), np.diag(np.concatenate([np.ones(2), variance]))
        models = [BetaModel(table=self.table, zero=zero, one=not zero) for zero in (True, False)]
        fits = [model.posterior() for model in models]
        model, fit = max(zip(models, fits, strict=True), key=lambda pair: pair[1].log_evidence)
        parameters = model.parameters(fit.points)[0]
        n = np.array([self.table.typical_n])
        ends = np.concatenate([parameters.within().probability(n, k) for k in (np.zeros(1), n)], axis=1)
        rest = np.maximum(1 - ends.sum(axis=1), 1e-300)[:, None]
        # An end without an atom yet has room for one that no prompt would have shown.
        one_prompt = 1 / self.table.n_prompts
        points = np.column_stack([fit.points[:, :2], np.log((ends + one_prompt) / rest)])
        centre = fit.weight @ points
        covariance = ((points - centre).T * fit.weight) @ (points - centre)
        typical = fit.weight @ ends
        return centre, 1.5 * covariance + np.diag(
            np.concatenate([np.zeros(2), one_prompt / (one_prompt + typical)])
        )

    def parameters(self, points: Floats) -> tuple[BetaParameters, Floats]:
        """Return parameters and the log of how densely the coordinates beyond the first two cover the masses."""
        a, b = _shape(points[:, 0], points[:, 1])
        n = np.array([self.table.typical_n])
        fail = np.exp(log_beta_binomial(a, b, n, np.zeros(1)))[:, 0] * self.zero
        succeed = np.exp(log_beta_binomial(a, b, n, n))[:, 0] * self.one
        odds = np.exp(np.clip(points[:, 2:], -300.0, 300.0))
        none = np.zeros(len(points))
        odds_fail = odds[:, 0] if self.zero else none
        odds_succeed = odds[:, -1] if self.one else none
        total = 1.0 + odds_fail + odds_succeed
        rest = 1.0 / total / np.maximum(1.0 - fail - succeed, 1e-300)
        parameters = BetaParameters(
            a=a,
            b=b,
            mass_zero=(odds_fail / total - rest * fail) * self.zero,
            mass_one=(odds_succeed / total - rest * succeed) * self.one,
        )
        log_jacobian = np.log(rest) * (self.zero or self.one)
        log_jacobian = log_jacobian + np.sum(np.log(odds) - np.log(total)[:, None], axis=1)
        return parameters, log_jacobian

    def log_densities(self, points: Floats) -> tuple[Floats, Floats]:
        """Return log-likelihood and log prior density of coordinates."""
        parameters, log_jacobian = self.parameters(points)
        legal = (parameters.mass_zero >= 0) & (parameters.mass_one >= 0) & (parameters.rest > 0)
        probability = np.maximum(parameters.within().probability(self.table.n, self.table.k), 1e-300)
        log_likelihood = np.log(probability) @ self.table.weight
        n_atoms = self.zero + self.one
        log_prior = (
            -0.5 * np.sum(points[:, :2] ** 2, axis=1)
            - np.log(2 * np.pi)
            + log_jacobian
            + (_BETA_WEIGHT - 1) * np.log(np.where(legal, parameters.rest, 1.0))
            + special.gammaln(n_atoms + _BETA_WEIGHT)
            - special.gammaln(_BETA_WEIGHT)
        )
        return log_likelihood, np.where(legal, log_prior, -np.inf)


def _shape(mean_score: Floats, correlation_score: Floats) -> tuple[Floats, Floats]:
    """Return a and b from normal scores of the mean and of the intra-class correlation."""
    smallest = 1.0 / (LARGEST_PRECISION + 1.0)
    correlation = smallest + (1.0 - smallest) * special.ndtr(correlation_score)
    precision = np.maximum(1.0 / correlation - 1.0, 1e-12)
    mean, other = special.ndtr(mean_score), special.ndtr(-mean_score)
    return np.maximum(mean * precision, _SMALLEST), np.maximum(other * precision, _SMALLEST)
