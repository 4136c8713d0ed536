"""Where all randomness of a sampler comes from, so that a test can put every possible choice in its place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.lm import Completion, LanguageModel, TokenModel
from tiltz.lm.protocol import Prompt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Choices:
    """Every random step of a sampler: categorical choices, and completions from the reference.

    A subclass that returns each possible choice in turn walks all random paths of a sampler.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    @classmethod
    def of(cls, rng: np.random.Generator | Choices) -> Choices:
        """Return the choices that a generator makes, or refuse what is neither."""
        if isinstance(rng, Choices):
            return rng
        if not isinstance(rng, np.random.Generator):
            raise InputError(
                f"rng must be a numpy.random.Generator, such as numpy.random.default_rng(0); found {rng!r:.80}."
            )
        return cls(rng)

    def choose(self, log_weights: Floats) -> Ints:
        """Return a column for each row of log-weights, shape (n, k), with probability in proportion to its weight."""
        return _inverse(log_weights, self.rng.random(len(log_weights)))

    def choose_from(self, log_weights: Floats, n: int) -> Ints:
        """Return ``n`` independent choices by the same log-weights, shape (k,)."""
        weights = np.exp(log_weights - np.max(log_weights))
        cumulative, last = np.cumsum(weights), int(np.flatnonzero(weights)[-1])
        found = np.searchsorted(cumulative, self.rng.random(n) * cumulative[-1], side="right")
        return np.minimum(found, last)

    def draw(self, model: LanguageModel, prompt: Prompt, n: int) -> list[Completion]:
        """Return ``n`` completions from the reference."""
        return model.sample([prompt], n, self.rng)[0]

    def complete(
        self, model: TokenModel, prompt: Prompt, prefixes: Sequence[Sequence[int]]
    ) -> list[Completion]:
        """Return one completion from the reference for each prefix, given that it begins so."""
        return model.complete(prompt, prefixes, self.rng)

    def accept(self, log_prob: Floats) -> npt.NDArray[np.bool_]:
        """Return whether each event of these log-probabilities happens."""
        return self.choose(np.stack([log_prob, log1mexp(log_prob)], axis=1)) == 0

    def systematic(self, log_weights: Floats, n: int) -> Ints:
        """Return ``n`` indices, each index n times its share of the weight on average, and never off by one or more.

        Notes
        -----
        One uniform moves a comb of n teeth over the shares. Only the pieces of the unit interval between the points at
        which an index changes matter, and one of them is chosen.
        """
        weights = np.exp(log_weights - np.max(log_weights))
        ends = np.cumsum(weights) * (n / weights.sum())
        ends[np.flatnonzero(weights)[-1] :] = n
        edges = np.unique(np.concatenate([[0.0, 1.0], ends % 1.0]))
        with np.errstate(divide="ignore"):
            piece = int(self.choose(np.log(np.diff(edges))[None, :])[0])
        teeth = (edges[piece] + edges[piece + 1]) / 2 + np.arange(n)
        return np.searchsorted(ends, teeth, side="right")


def log1mexp(x: Floats) -> Floats:
    """Return log(1 - e^x) for x <= 0, to full precision at both ends."""
    with np.errstate(divide="ignore", under="ignore"):
        return np.where(
            x > -np.log(2.0), np.log(-np.expm1(x)), np.log1p(-np.exp(np.minimum(x, -np.log(2.0))))
        )


def log_mean_exp(log_weights: Floats) -> float:
    """Return the log of the mean weight; ``-inf`` where all are zero."""
    return float(np.logaddexp.reduce(log_weights) - np.log(len(log_weights)))


def kish(log_weights: Floats) -> float:
    """Return the effective sample size of weights, 0 where all are zero."""
    top = np.max(log_weights)
    if np.isneginf(top):
        return 0.0
    weights = np.exp(log_weights - top)
    return float(weights.sum() ** 2 / (weights**2).sum())


def _inverse(log_weights: Floats, uniform: Floats) -> Ints:
    """Return the column whose share of the unit interval holds each uniform; never one of weight zero."""
    weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
    cumulative = np.cumsum(weights, axis=1)
    found = (cumulative <= uniform[:, None] * cumulative[:, -1:]).sum(axis=1)
    last = weights.shape[1] - 1 - np.argmax((weights > 0)[:, ::-1], axis=1)
    return np.minimum(found, last)
