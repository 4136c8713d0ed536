"""The prior on means and spreads of continuous rewards that a table shows, and posteriors of soft values under it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from tiltz.errors import InputError
from tiltz.inference.shrinkage.cumulant_function import CumulantFunction
from tiltz.inference.shrinkage.normal_mixture import mixture_quantiles
from tiltz.inference.shrinkage.prompt_moments import PromptMoments, prompt_moments
from tiltz.inference.shrinkage.result import PooledRewards
from tiltz.text import count, number

Floats = npt.NDArray[np.float64]

FEWEST_PROMPTS = 200
"""Below this, a table says too little about the shape of its rewards."""

FEWEST_SAMPLES = 4
"""Fewer samples of a prompt have no fourth cumulant."""

_MOST_EQUAL = 0.01  # share of prompts whose rewards are all equal
_TAIL_SHARE = 0.6  # of 1 - level, left outside: laws that are not normal cost up to two points in a hundred
_LEAST_KURTOSIS = -1.9  # two equally likely rewards have -2
_SCORES = np.linspace(-4.0, 4.0, 17)
_AT_ONCE = 250  # prompts per block
_LEAST_SPREAD = 0.02  # of the log standard deviation over prompts


def fit_rewards(reward: npt.ArrayLike, start: npt.ArrayLike) -> RewardPrior:
    """Fit how means and spreads of continuous rewards vary over prompts.

    Parameters
    ----------
    reward : array_like, shape (n_rows,)
        Finite rewards drawn from the reference, one prompt after another.
    start : array_like of int, shape (n_prompts + 1,)
        Where each prompt's rows begin, and the number of rows.

    Returns
    -------
    RewardPrior
        With posteriors of soft values, which depend on a prompt through its n, mean and standard deviation.

    Raises
    ------
    InputError
        If fewer than 200 prompts have four samples or more, a reward is not finite, or more than one prompt in
        a hundred has rewards that are all equal.

    Notes
    -----
    Model: the rewards of a prompt are mean + spread times a law of one shape for all prompts; mean and log spread are
    bivariate normal over prompts. The shape enters through skewness and kurtosis alone. All parameters come from
    products of disjoint samples of a prompt, which are unbiased whatever the shape; variances between prompts get
    a standard error added, so that a table without visible differences is not taken to have none.

    References
    ----------
    .. [1] C. N. Morris, Journal of the American Statistical Association 78 (1983) 47-55.
    """
    rewards, starts = _checked_groups(reward, start)
    enough = np.diff(starts) >= FEWEST_SAMPLES
    if np.count_nonzero(enough) < FEWEST_PROMPTS:
        raise InputError(
            f"pooling continuous rewards needs at least {FEWEST_PROMPTS} prompts with {FEWEST_SAMPLES} samples or "
            f"more, to see the shape of their law; found {np.count_nonzero(enough)}. Leave the prompts apart: "
            "interval='auto'."
        )
    kept = np.repeat(enough, np.diff(starts))
    centre = float(np.mean(rewards[kept]))
    kept_starts = np.concatenate([[0], np.cumsum(np.diff(starts)[enough])])
    unit = _typical_sd(rewards[kept], kept_starts)
    moments = prompt_moments((rewards[kept] - centre) / unit, kept_starts)
    return _fitted(moments, centre, unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardPrior:
    """How means and spreads of continuous rewards vary over prompts.

    Attributes
    ----------
    centre, unit : float
        Mean over prompts and typical standard deviation within prompts, in units of reward; what follows is in these.
    mean_variance : float
        Variance of the prompts' means.
    log_spread, log_spread_variance : float
        Mean and variance of the log of the prompts' standard deviations.
    covariance : float
        Of mean and log standard deviation over prompts.
    spread_kurtosis : float
        Kurtosis at which the standard deviations of samples vary about the prompts' own as the table shows.
    shape : CumulantFunction
        Of the standardised rewards.
    n_prompts : int
        Prompts of the table.

    Notes
    -----
    Posterior means are biased towards the table's mean; the intervals cover on average over prompts. At level .95, with
    means normal and spreads lognormal over prompts (factor 1.1 to 1.5) and n = 4, 8 and 16, the cells that are answered
    cover .93 to .99 in tables of 2,000 prompts and .92 to .99 in tables of 200: normal, Laplace, gamma, arcsine and
    exponential (to either side) rewards, and Beta laws whose shape differs too. With spreads apart by a factor of 1.5,
    typical spreads of .5 beta are answered for normal and bounded rewards and .25 beta for exponential ones; with
    spreads that differ little, 1 beta and .5 beta. A typical spread of two beta is never answered.
    """

    centre: float
    unit: float
    mean_variance: float
    log_spread: float
    log_spread_variance: float
    covariance: float
    spread_kurtosis: float
    shape: CumulantFunction
    n_prompts: int

    def posterior(
        self, reward: npt.ArrayLike, start: npt.ArrayLike, beta: npt.ArrayLike, *, level: float = 0.95
    ) -> PooledRewards:
        """Return posterior means and limits of the soft value of prompts.

        Parameters
        ----------
        reward : array_like, shape (n_rows,)
            Rewards, one prompt after another.
        start : array_like of int, shape (n_prompts + 1,)
            Where each prompt's rows begin, and the number of rows.
        beta : array_like, shape (n_betas,)
            KL coefficients, in reward per nat.
        level : float, default 0.95
            Nominal level; the limits leave three fifths of 1 - level outside, because the model is never exact.

        Returns
        -------
        PooledRewards
            A cell is answered at a beta of at least ``smallest_beta`` where the prompt's own spread is at most
            ``shape.reach`` times beta, at a posterior probability of (1 + level) / 2, and the prompt has four samples
            that are not all equal. Otherwise the upper limit is infinite.
        """
        rewards, starts = _checked_groups(reward, start)
        n, first = np.diff(starts).astype(np.float64), starts[:-1]
        shifted = (rewards - self.centre) / self.unit
        mean = np.add.reduceat(shifted, first) / n
        squares = np.add.reduceat((shifted - np.repeat(mean, np.diff(starts))) ** 2, first)
        sd = np.sqrt(squares / np.maximum(n - 1, 1))
        betas = np.atleast_1d(np.asarray(beta, dtype=np.float64)) / self.unit
        parts = [
            self._block(n[i : i + _AT_ONCE], mean[i : i + _AT_ONCE], sd[i : i + _AT_ONCE], betas, level)
            for i in range(0, len(n), _AT_ONCE)
        ]
        value, lo, hi, answered = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return PooledRewards(
            soft_value=np.where(answered, self.centre + self.unit * value, np.nan),
            lo=self.centre + self.unit * lo,
            hi=np.where(answered, self.centre + self.unit * hi, np.inf),
            answered=answered,
        )

    def sentence(self) -> str:
        """Return the fitted law in words, and how far it reaches."""
        within, factor = self.unit * np.exp(self.log_spread), np.exp(np.sqrt(self.log_spread_variance))
        between = self.unit * np.sqrt(self.mean_variance)
        return (
            f"rewards over {count(self.n_prompts, 'prompt')}: standard deviation {number(between)} between and "
            f"{number(within)} within prompts (times or over {factor:.2f}), skewness {self.shape.skewness:.2f}, "
            f"kurtosis {self.shape.kurtosis:.2f}; assumed: one shape for all prompts. Answers at beta "
            f"{number(self.smallest_beta)} or more, where a prompt's standard deviation is at most "
            f"{self.shape.reach:.2f} beta"
        )

    @property
    def smallest_beta(self) -> float:
        """The least beta that is answered: 39 of 40 prompts have a spread within reach there.

        Answers where few prompts are within reach would be about those whose samples happen to lie close together.
        """
        return self.unit * float(
            np.exp(self.log_spread + 1.96 * np.sqrt(self.log_spread_variance)) / self.shape.reach
        )

    def degrees(self, n: Floats) -> Floats:
        """Return the degrees of freedom of the chi-square law that the variance of n samples follows nearly."""
        return _degrees(self.spread_kurtosis, n)

    def _block(
        self, n: Floats, mean: Floats, sd: Floats, beta: Floats, level: float
    ) -> tuple[Floats, Floats, Floats, npt.NDArray[np.bool_]]:
        """Return posterior mean, limits and whether they can be trusted, shape (n_prompts, n_betas)."""
        usable = (n >= FEWEST_SAMPLES) & (sd > 0)
        weight, spread, centre, sd_mean = self._given_spread(
            np.maximum(n, 2.0)[:, None], mean[:, None], np.maximum(sd, 1e-6)[:, None]
        )
        largest = _weighted_quantile(weight, spread, (1 + level) / 2)
        answered = (
            usable[:, None]
            & (largest[:, None] <= self.shape.reach * beta)
            & (self.smallest_beta / self.unit <= beta)
        )
        tilt = np.minimum(spread[:, None, :] / beta[:, None], self.shape.reach)
        weight, scale = weight[:, None, :], beta[:, None]
        value, error, apart = self.shape.at(tilt)
        means = centre[:, None, :] + scale * value
        # A node stands for the stretch around it, whose variance is a twelfth of its squared length.
        sds = np.sqrt(sd_mean[:, None, :] ** 2 + (scale * error) ** 2 + np.gradient(means, axis=-1) ** 2 / 12)
        doubt = beta * np.sum(weight * apart, axis=-1)
        outside = _TAIL_SHARE * (1 - level) / 2
        lo, hi = mixture_quantiles((outside, 1 - outside), weight, means, sds)
        mean_value = np.sum(weight * means, axis=-1)
        lo, hi = np.minimum(lo - doubt, mean_value), np.maximum(hi + doubt, mean_value)
        return mean_value, np.where((n >= FEWEST_SAMPLES)[:, None], lo, -np.inf), hi, answered

    def _given_spread(self, n: Floats, mean: Floats, sd: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the posterior of a prompt's spread on nodes, and mean and sd of its mean given the spread.

        Notes
        -----
        The variance of the samples is nearly a scaled chi-square, whose degrees the table shows. Skewness ties the
        mean of the samples to their standard deviation (covariance: half the skewness over n, in units of variance), so
        the mean is first freed of what the standard deviation explains of its error; what is left is taken as normal
        and combined with the prior.
        """
        degrees = self.degrees(n)
        typical = _chi_mean(degrees)
        variance = 1 - typical**2
        most = 0.9 * np.sqrt(variance / n)
        tie = np.clip(0.5 * self.shape.skewness * typical / n, -most, most)
        log_variance = special.polygamma(1, degrees / 2) / 4
        width = 1 / np.sqrt(1 / self.log_spread_variance + 1 / log_variance)
        near = self.log_spread + width**2 / log_variance * (
            np.maximum(np.log(sd), self.log_spread - 4) - self.log_spread
        )
        log_spread = near + 1.2 * width * _SCORES
        spread = np.exp(log_spread)
        ratio = 2 * (np.log(sd) - log_spread)
        freed = mean - tie / variance * (sd - typical * spread)
        error = spread**2 * (1 / n - tie**2 / variance)
        prior_mean = self.covariance / self.log_spread_variance * (log_spread - self.log_spread)
        prior_variance = self.mean_variance - self.covariance**2 / self.log_spread_variance
        log_weight = (
            degrees / 2 * (ratio - np.exp(ratio))
            - (log_spread - self.log_spread) ** 2 / (2 * self.log_spread_variance)
            - 0.5 * np.log(prior_variance + error)
            - (freed - prior_mean) ** 2 / (2 * (prior_variance + error))
        )
        weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
        kept = prior_variance / (prior_variance + error)
        return (
            weight / weight.sum(axis=1, keepdims=True),
            spread,
            prior_mean + kept * (freed - prior_mean),
            np.sqrt(kept * error),
        )


def _fitted(moments: PromptMoments, centre: float, unit: float) -> RewardPrior:
    """Return the prior from moments in units centred and scaled by the table."""
    n, sd = moments.n, moments.sd
    variance = float(np.mean(sd**2))
    difference, products = float(np.mean(moments.difference)), float(np.mean(moments.difference_squared))
    plain = max(np.log(products / difference**2), _LEAST_SPREAD**2)
    log_spread_variance = _kept_above_zero(
        plain,
        moments.difference_squared / products - 2 * moments.difference / difference,
        least=_LEAST_SPREAD**2,
    )
    log_spread = 0.5 * np.log(variance) - plain
    mean_spread = np.exp(log_spread + plain / 2)
    off_centre = moments.mean - np.mean(moments.mean)
    excess = off_centre**2 - sd**2 / n
    mean_variance = _kept_above_zero(float(np.mean(excess)), excess, least=1e-6 * variance)
    covariance = _covariance(moments, 0.9 * np.sqrt(mean_variance * log_spread_variance))
    shape = _shape(moments, variance, plain)
    # Standard deviations that seem steadier than the rewards' own kurtosis allows are not believed.
    spread_kurtosis = max(_spread_kurtosis(float(np.mean(sd)) / mean_spread, n), min(shape.kurtosis, 0.0))
    return RewardPrior(
        centre=centre + unit * float(np.mean(moments.mean)),
        unit=unit,
        mean_variance=mean_variance,
        log_spread=float(log_spread),
        log_spread_variance=log_spread_variance,
        covariance=covariance,
        spread_kurtosis=spread_kurtosis,
        shape=shape,
        n_prompts=len(n),
    )


def _covariance(moments: PromptMoments, largest: float) -> float:
    """Return the covariance of mean and log spread over prompts, drawn to 0 where two standard errors reach it.

    A large one by chance would take the means of prompts for known from their spreads.
    """
    difference, grand = float(np.mean(moments.difference)), float(np.mean(moments.mean))
    terms = (moments.mean_by_difference - grand * moments.difference) / difference
    estimate, error = float(np.mean(terms)), float(np.std(terms)) / np.sqrt(len(terms))
    return float(
        np.clip(estimate * max(0.0, 1 - (2 * error / max(abs(estimate), 1e-300)) ** 2), -largest, largest)
    )


def _shape(moments: PromptMoments, variance: float, log_spread_variance: float) -> CumulantFunction:
    """Return skewness and kurtosis as ratios of means over prompts, whose spreads are lognormal."""
    cubes = variance**1.5 * np.exp(1.5 * log_spread_variance)
    fourths = variance**2 * np.exp(4 * log_spread_variance)
    relative = moments.sd**2 / variance
    skewness = float(np.mean(moments.third)) / cubes
    kurtosis = max(float(np.mean(moments.fourth)) / fourths, skewness**2 - 2)
    root = np.sqrt(len(moments.n))
    return CumulantFunction(
        skewness=skewness,
        kurtosis=kurtosis,
        skewness_error=float(np.std(moments.third / cubes - skewness * relative)) / root,
        kurtosis_error=float(np.std(moments.fourth / fourths - kurtosis * relative)) / root,
    )


def _kept_above_zero(estimate: float, influence: Floats, *, least: float) -> float:
    """Return mean plus standard deviation of the normal law of an estimate's error, cut off at 0.

    Notes
    -----
    The posterior of a variance under a flat prior. The estimate itself may be negative, and 0 would say that all
    prompts are alike; the standard deviation stands in for an average over the posterior, and matters in small tables.
    """
    error = max(float(np.std(influence)) / np.sqrt(len(influence)), 1e-300)
    score = estimate / error
    hazard = np.exp(-0.5 * score**2 - 0.5 * np.log(2 * np.pi) - special.log_ndtr(score))
    spread = error * np.sqrt(max(1 - score * hazard - hazard**2, 0.0))
    return max(float(estimate + error * hazard + spread), least)


def _degrees(spread_kurtosis: float, n: Floats) -> Floats:
    return 2 / (np.maximum(spread_kurtosis, _LEAST_KURTOSIS) / n + 2 / (n - 1))


def _chi_mean(degrees: Floats) -> Floats:
    """Return the mean of the root of a chi-square over its degrees."""
    return np.exp(special.gammaln((degrees + 1) / 2) - special.gammaln(degrees / 2)) * np.sqrt(2 / degrees)


def _spread_kurtosis(mean_ratio: float, n: Floats) -> float:
    """Return the kurtosis at which standard deviations of n samples are on average so much below the prompts' own."""
    sizes, prompts = np.unique(n, return_counts=True)
    lowest, highest = _LEAST_KURTOSIS, 50.0
    for _ in range(60):
        middle = (lowest + highest) / 2
        if float(prompts @ _chi_mean(_degrees(middle, sizes))) > mean_ratio * len(n):
            lowest = middle
        else:
            highest = middle
    return lowest


def _weighted_quantile(weight: Floats, values: Floats, probability: float) -> Floats:
    """Return quantiles of laws on ascending nodes, each node's mass spread evenly around it."""
    below = np.cumsum(weight, axis=1) - weight / 2
    last = values.shape[1] - 1
    upper = np.clip(np.sum(below < probability, axis=1), 1, last)
    row = np.arange(len(values))
    before, after = below[row, upper - 1], below[row, upper]
    part = np.clip((probability - before) / np.maximum(after - before, 1e-300), 0.0, 1.0)
    return values[row, upper - 1] + part * (values[row, upper] - values[row, upper - 1])


def _typical_sd(reward: Floats, start: npt.NDArray[np.int64]) -> float:
    """Return the root mean variance within prompts, or refuse prompts whose rewards hardly differ."""
    size, first = np.diff(start), start[:-1]
    equal = np.minimum.reduceat(reward, first) == np.maximum.reduceat(reward, first)
    if np.mean(equal) > _MOST_EQUAL:
        raise InputError(
            "pooling continuous rewards needs rewards that differ within prompts; in "
            f"{np.count_nonzero(equal):,} of {len(size):,} prompts with {FEWEST_SAMPLES} samples or more all are "
            "equal. If two rewards are possible, declare reward_values=(low, high)."
        )
    mean = np.add.reduceat(reward, first) / size
    largest = float(np.max(np.abs(reward - np.repeat(mean, size))))
    squares = np.add.reduceat(((reward - np.repeat(mean, size)) / largest) ** 2, first)
    return largest * float(np.sqrt(np.mean(squares / (size - 1))))


def _checked_groups(reward: npt.ArrayLike, start: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return rewards and the starts of their groups, or refuse them."""
    rewards, starts = np.asarray(reward, dtype=np.float64), np.asarray(start, dtype=np.int64)
    if (
        rewards.ndim != 1
        or starts.ndim != 1
        or len(starts) < 2
        or starts[0] != 0
        or starts[-1] != len(rewards)
    ):
        raise InputError(
            "start must say where each prompt's rows begin, from 0 to the number of rows; found shapes "
            f"{rewards.shape} and {starts.shape}."
        )
    if np.any(np.diff(starts) < 1):
        raise InputError(
            f"every prompt must have a row; prompt {int(np.argmax(np.diff(starts) < 1))} has none."
        )
    if not np.all(np.isfinite(rewards)):
        first = int(np.argmin(np.isfinite(rewards)))
        raise InputError(
            f"pooling continuous rewards needs finite ones; found {rewards[first]} in row {first}. Leave the prompts "
            "apart: interval='auto'."
        )
    return rewards, starts
