"""Populations of prompts whose every log Z is known exactly, and single problems to try an estimator on.

A population draws one law of the reward per prompt and then rewards from each; :func:`cells` and
:func:`mixed_problem` name single laws with a beta.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.laws import (
    Beta,
    Categorical,
    Exponential,
    Gamma,
    Laplace,
    Law,
    LawStack,
    Mixture,
    Normal,
    NormalStack,
    Stack,
    TwoPoint,
    TwoPointStack,
    rare_mode,
)
from tiltz.laws.beta import logit_nodes
from tiltz.laws.closed_form import above
from tiltz.laws.parameters import a_law, interval, number, positive, probabilities, probability, store
from tiltz.laws.two_point import two_point_tilt
from tiltz.outcomes import Outcomes

Floats = npt.NDArray[np.float64]

_NEGLIGIBLE = 45.0  # nats: exp(-45) is far below one unit in the last place


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draw:
    """Rewards drawn for some prompts, and what is true of each.

    Attributes
    ----------
    reward : array, shape (n_prompts, n)
        Independent draws from the reference of each prompt.
    stack : Stack
        The laws of the prompts; ``stack.sample(n, rng)`` draws anew for the same prompts.
    """

    reward: Floats
    stack: Stack

    @property
    def laws(self) -> tuple[Law, ...]:
        """The law of the reward of each prompt."""
        return self.stack.laws

    def log_z(self, betas: npt.ArrayLike) -> Floats:
        """Return the exact log Z of each prompt, in nats, of shape (n_prompts, n_betas)."""
        return self.stack.log_z(betas)

    def soft_value(self, betas: npt.ArrayLike) -> Floats:
        """Return the exact beta log Z of each prompt, in units of reward, of shape (n_prompts, n_betas)."""
        return self.stack.soft_value(betas)

    def outcomes(self, **declare: Any) -> Outcomes:
        """Return the rewards as sampled evidence.

        Parameters
        ----------
        **declare
            What :meth:`tiltz.Outcomes.sampled` takes, such as ``reward_values=(0, 1)``.
        """
        return Outcomes.sampled(self.reward, **declare)


class Population(ABC):
    """A distribution over prompts, that is, over laws of the reward."""

    __slots__ = ()

    @abstractmethod
    def prompts(self, n_prompts: int, rng: np.random.Generator) -> Stack:
        """Return the laws of ``n_prompts`` independent prompts."""

    @abstractmethod
    def mean_soft_value(self, beta: npt.ArrayLike) -> Any:
        """Return the mean of beta log Z over the population, in units of reward, for each beta."""

    def draw(self, n_prompts: int, n: int, rng: np.random.Generator) -> Draw:
        """Return ``n`` rewards of each of ``n_prompts`` independent prompts."""
        for name, count in (("n_prompts", n_prompts), ("n", n)):
            if count < 1:
                raise InputError(f"{name} must be at least 1; found {count!r}.")
        stack = self.prompts(n_prompts, rng)
        return Draw(reward=stack.sample(n, rng), stack=stack)


@dataclass(frozen=True, slots=True)
class RatePopulation(Population):
    """Prompts that are solved or not, with success rates from a beta distribution and, if wanted, at 0 and 1.

    Attributes
    ----------
    a, b : float
        Shapes of the beta distribution, above 0.
    impossible, trivial : float
        Share of prompts whose success rate is exactly 0, exactly 1.
    low, high : float
        Rewards of failure and success.

    Examples
    --------
    Eight draws per prompt, and the mean of log-mean-exps, which is too low however many prompts there are:

    >>> import numpy as np, tiltz
    >>> from tiltz.testbeds.populations import RatePopulation
    >>> population = RatePopulation(0.5, 1.5)
    >>> draw = population.draw(2000, 8, np.random.default_rng(0))
    >>> est = tiltz.estimate(draw.outcomes(reward_values=(0, 1)), 0.1, interval=None)
    >>> print(f"{est.soft_value.mean():.2f} of {draw.soft_value(0.1).mean():.2f}")
    0.55 of 0.76
    >>> population.mean_soft_value(0.1).__round__(6)
    0.764052
    """

    a: float
    b: float
    impossible: float = 0.0
    trivial: float = 0.0
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        low, high = interval(self.low, self.high)
        impossible, trivial = probability("impossible", self.impossible), probability("trivial", self.trivial)
        if impossible + trivial > 1:
            raise InputError(f"impossible + trivial must be at most 1; found {impossible + trivial:g}.")
        store(self, a=positive("a", self.a), b=positive("b", self.b))
        store(self, impossible=impossible, trivial=trivial, low=low, high=high)

    def prompts(self, n_prompts: int, rng: np.random.Generator) -> TwoPointStack:
        """Return the laws of ``n_prompts`` independent prompts."""
        kind, rate = rng.random(n_prompts), rng.beta(self.a, self.b, n_prompts)
        rate[kind < self.impossible] = 0.0
        rate[kind >= 1.0 - self.trivial] = 1.0
        return TwoPointStack(rate, self.low, self.high)

    def mean_soft_value(self, beta: npt.ArrayLike) -> Any:
        """Return the mean of beta log Z over the population, in units of reward, for each beta.

        Notes
        -----
        A trapezoidal sum in the logit of the rate, right to 1e-12 of the reward range.
        """

        def curve(betas: Floats) -> Floats:
            share = np.array([self._mean_share((self.high - self.low) / b) for b in betas])
            between = 1.0 - self.impossible - self.trivial
            return self.low + (self.high - self.low) * (between * share + self.trivial)

        return above(0.0, beta, curve)

    def _mean_share(self, gain: float) -> float:
        """Return the mean of (V - low) / (high - low) over the beta distribution, at ``gain`` = (high - low) / beta."""
        # Rates down to exp(-gain) matter, unless they hardly occur.
        logit, log_mass = logit_nodes(
            self.a,
            self.b,
            left=-_NEGLIGIBLE - math.log1p(self.b) - min(gain, _NEGLIGIBLE / self.a),
            right=_NEGLIGIBLE + math.log1p(self.a),
        )
        log_p, log_q = -np.logaddexp(0.0, -logit), -np.logaddexp(0.0, logit)
        tilt = two_point_tilt(log_p, log_q, np.array(gain))
        share = np.where(tilt.near, np.exp(log_p) + tilt.log_from_mean / gain, 1.0 + tilt.log_from_top / gain)
        return float(np.exp(log_mass) @ share)


@dataclass(frozen=True, slots=True)
class NormalPopulation(Population):
    """Gaussian rewards whose mean and standard deviation differ from prompt to prompt.

    Attributes
    ----------
    mean, between : float
        Mean and standard deviation over prompts of the prompts' mean rewards, themselves Gaussian.
    sd : (float, float)
        The prompts' own standard deviations are uniform between these two.

    Examples
    --------
    >>> from tiltz.testbeds.populations import NormalPopulation
    >>> NormalPopulation(mean=0, between=1, sd=(1, 1)).mean_soft_value([0.5, 2.0])
    array([1.  , 0.25])
    """

    mean: float = 0.0
    between: float = 1.0
    sd: tuple[float, float] = (0.5, 1.5)

    def __post_init__(self) -> None:
        smallest, largest = (positive("each of sd", value) for value in self.sd)
        if smallest > largest:
            raise InputError(f"sd must be (smallest, largest); found {self.sd!r}.")
        between = number("between", self.between)
        if between < 0:
            raise InputError(f"between must not be negative; found {between:g}.")
        store(self, mean=number("mean", self.mean), between=between, sd=(smallest, largest))

    def prompts(self, n_prompts: int, rng: np.random.Generator) -> NormalStack:
        """Return the laws of ``n_prompts`` independent prompts."""
        mean = rng.normal(self.mean, self.between, n_prompts)
        return NormalStack(mean, rng.uniform(*self.sd, n_prompts))

    def mean_soft_value(self, beta: npt.ArrayLike) -> Any:
        """Return the mean of beta log Z over the population, in units of reward, for each beta."""
        smallest, largest = self.sd
        mean_square = (smallest**2 + smallest * largest + largest**2) / 3.0
        return above(0.0, beta, lambda b: self.mean + 0.5 * mean_square / b)


@dataclass(frozen=True, slots=True)
class LawPopulation(Population):
    """Each prompt has one of some laws; a single law makes all prompts alike.

    Attributes
    ----------
    laws : tuple of Law
        Any laws.
    weights : tuple of float
        Probabilities of the laws, equal if left out.

    Examples
    --------
    >>> from tiltz.laws import Exponential, Normal
    >>> from tiltz.testbeds.populations import LawPopulation
    >>> LawPopulation([Normal(0, 1), Exponential(1)]).mean_soft_value([2.0, 1.0]).round(4)
    array([0.8181,    inf])
    """

    laws: Sequence[Law]
    weights: Sequence[float] = ()

    def __post_init__(self) -> None:
        laws = tuple(a_law("each of laws", law) for law in self.laws)
        if not laws:
            raise InputError("a population needs at least one law.")
        weights = probabilities("weights", self.weights or [1.0 / len(laws)] * len(laws))
        if len(weights) != len(laws):
            raise InputError(
                f"weights and laws must have equal lengths; found {len(weights)} weights and {len(laws)} laws."
            )
        store(self, laws=laws, weights=weights)

    def prompts(self, n_prompts: int, rng: np.random.Generator) -> LawStack:
        """Return the laws of ``n_prompts`` independent prompts."""
        return LawStack(tuple(self.laws), rng.choice(len(self.laws), size=n_prompts, p=self.weights))

    def mean_soft_value(self, beta: npt.ArrayLike) -> Any:
        """Return the mean of beta log Z over the population, in units of reward, for each beta."""
        parts = [part for part in zip(self.weights, self.laws, strict=True) if part[0] > 0]
        return above(0.0, beta, lambda b: np.sum([w * law.soft_value(b) for w, law in parts], axis=0))


class Cell(NamedTuple):
    """A law and a beta at which a table of coverage has a line."""

    name: str
    law: Law
    beta: float


def cells() -> list[Cell]:
    """Return the problems that a table of coverage lists, from easy to hopeless.

    Returns
    -------
    list of Cell
        Each unpacks into a name, a law and a beta; log Z is finite in all (:class:`tiltz.laws.StudentT` is the law
        where it is not).

    Notes
    -----
    ``s`` is the standard deviation of a Gaussian reward over beta, ``k`` the tail index of the weights: from 1/2
    on they have no variance, and no large-sample interval holds. The rare mode is missed by nearly every sample;
    the hidden tail has weights of index 0.7 in one draw of fifty, under a body of light ones.

    Examples
    --------
    >>> from tiltz.testbeds.populations import cells
    >>> for name, law, beta in cells()[:2]:
    ...     print(name, law.log_z(beta).__round__(6))
    two-valued p=0.01 beta=1 0.017037
    two-valued p=0.01 beta=0.2 0.905889
    """
    few = Categorical((0.7, 0.2, 0.08, 0.02), (0.0, 0.25, 0.5, 1.0))
    hidden = Mixture((0.98, 0.02), (Normal(0.0, 0.5), Exponential(1.0)))
    return [
        *(
            Cell(f"two-valued p={p:g} beta={beta:g}", TwoPoint(p), beta)
            for p in (0.01, 0.1, 0.5)
            for beta in (1.0, 0.2, 0.1)
        ),
        *(Cell(f"few-valued beta={beta:g}", few, beta) for beta in (1.0, 0.2, 0.1)),
        *(Cell(f"beta(2,5) beta={beta:g}", Beta(2.0, 5.0), beta) for beta in (1.0, 0.3, 0.1)),
        *(Cell(f"gaussian s={s:g}", Normal(0.0, 1.0), 1.0 / s) for s in (0.5, 1.0, 2.0, 3.0)),
        *(Cell(f"exponential k={k:g}", Exponential(1.0), 1.0 / k) for k in (0.25, 0.5, 0.8)),
        *(Cell(f"gamma(2.5) k={k:g}", Gamma(2.5, 1.0), 1.0 / k) for k in (0.25, 0.5, 0.8)),
        Cell("laplace k=0.8", Laplace(0.0, 1.0), 1.25),
        Cell("hidden tail k=0.7", hidden, 1.0 / 0.7),
        Cell("rare mode", rare_mode(), 1.0),
    ]


class Problem(NamedTuple):
    """A law, a beta and a number of samples."""

    law: Law
    beta: float
    n: int


def mixed_problem(rng: np.random.Generator) -> Problem:
    """Return a random problem, as a user who knows nothing may meet it.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the problem.

    Returns
    -------
    Problem
        Unpacks into a law, a beta and a number of samples.

    Notes
    -----
    n is 64, 256 or 1,024, equally likely. Of the laws, 30% are Gaussian with s uniform on (0.2, 3); 20% exponential and
    15% gamma of a shape uniform on (0.5, 5), both with a tail index k uniform on (0.05, 0.95); 20% beta with shapes
    uniform on (0.5, 5) and 15% two-valued with a rate log-uniform on (0.01, 0.5), both with a beta log-uniform on
    (0.1, 1).
    """
    kind, n = rng.random(), int(rng.choice((64, 256, 1024)))
    if kind < 0.3:
        return Problem(Normal(0.0, 1.0), 1.0 / rng.uniform(0.2, 3.0), n)
    if kind < 0.5:
        return Problem(Exponential(1.0), 1.0 / rng.uniform(0.05, 0.95), n)
    if kind < 0.65:
        return Problem(Gamma(rng.uniform(0.5, 5.0), 1.0), 1.0 / rng.uniform(0.05, 0.95), n)
    beta = 10.0 ** rng.uniform(-1.0, 0.0)
    if kind < 0.85:
        return Problem(Beta(*rng.uniform(0.5, 5.0, 2)), beta, n)
    return Problem(TwoPoint(10.0 ** rng.uniform(-2.0, math.log10(0.5))), beta, n)
