"""A Beta law of success rates, with or without atoms at 0 and 1: its parameters' posterior, and that of rates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

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
    fits = models_with_atoms(table) if atoms else [_near_table(BetaModel(table=table, zero=False, one=False))]
    log_weight = np.concatenate(
        [np.log(np.maximum(fit.posterior.weight, 1e-300)) + fit.posterior.log_evidence for fit in fits]
    )
    weight = np.exp(log_weight - log_weight.max())
    kept = weight > _IGNORED
    parts = [fit.model.parameters(fit.posterior.points)[0] for fit in fits]
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


class FittedModel(NamedTuple):
    """A model and the posterior of its coordinates."""

    model: BetaModel
    posterior: WeightedPoints


def models_with_atoms(table: Histogram) -> list[FittedModel]:
    """Return the models without, with one and with both atoms; each is as likely a priori."""
    fewer = [
        _near_table(BetaModel(table=table, zero=zero, one=one))
        for zero, one in ((False, False), (True, False), (False, True))
    ]
    # With two atoms there may be two hills, of which the posterior with one atom has found the higher.
    better = max(fewer[1:], key=lambda fit: fit.posterior.log_evidence)
    return [*fewer, _near_posterior(BetaModel(table=table, zero=True, one=True), better)]


def _near_table(model: BetaModel) -> FittedModel:
    """Fit a model, beginning with the prior of its shape and with log-odds as the table shows them."""
    log_odds, variance = model.table.log_odds(zero=model.zero, one=model.one)
    centre = np.concatenate([np.zeros(2), log_odds])
    covariance = np.diag(np.concatenate([np.ones(2), variance]))
    return FittedModel(model, posterior_points(model.log_densities, centre, covariance, n_points=_N_POINTS))


def _near_posterior(model: BetaModel, simpler: FittedModel) -> FittedModel:
    """Fit a model with both atoms, beginning with the posterior of one that has fewer."""
    parameters = simpler.model.parameters(simpler.posterior.points)[0].within()
    weight, one_prompt = simpler.posterior.weight, 1 / model.table.n_prompts
    n = np.array([model.table.typical_n])
    ends = np.concatenate([parameters.probability(n, k) for k in (np.zeros(1), n)], axis=1)
    rest = np.maximum(1 - ends.sum(axis=1), 1e-300)[:, None]
    # An end without an atom yet has room for one that no prompt would have shown.
    points = np.column_stack([simpler.posterior.points[:, :2], np.log((ends + one_prompt) / rest)])
    centre = weight @ points
    covariance = 1.5 * ((points - centre).T * weight) @ (points - centre)
    covariance[2:, 2:] += np.diag(one_prompt / (one_prompt + weight @ ends))
    return FittedModel(model, posterior_points(model.log_densities, centre, covariance, n_points=_N_POINTS))


def _shape(mean_score: Floats, correlation_score: Floats) -> tuple[Floats, Floats]:
    """Return a and b from normal scores of the mean and of the intra-class correlation."""
    smallest = 1.0 / (LARGEST_PRECISION + 1.0)
    correlation = smallest + (1.0 - smallest) * special.ndtr(correlation_score)
    precision = np.maximum(1.0 / correlation - 1.0, 1e-12)
    mean, other = special.ndtr(mean_score), special.ndtr(-mean_score)
    return np.maximum(mean * precision, _SMALLEST), np.maximum(other * precision, _SMALLEST)
