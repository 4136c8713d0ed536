"""A move among completions: cut one somewhere, draw its rest anew, and accept so that the tilted law stays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tiltz.lm import Completion, TokenModel
from tiltz.lm.protocol import Prompt
from tiltz.sampling.choices import Choices, Floats, Ints
from tiltz.sampling.scoring import Scorer


@dataclass(slots=True, kw_only=True)
class Particles:
    """Completions and their rewards, and how many moves were tried and accepted."""

    completions: list[Completion]
    reward: Floats
    n_tried: int = 0
    n_accepted: int = 0

    def take(self, rows: Ints) -> Particles:
        """Return those of the rows."""
        return Particles(completions=[self.completions[i] for i in rows], reward=self.reward[rows])


def move_suffixes(
    particles: Particles, *, model: TokenModel, prompt: Prompt, score: Scorer, choices: Choices, beta: float
) -> None:
    """Move every particle once, leaving the tilted distribution at ``beta`` as it is.

    Notes
    -----
    Of a completion y with L tokens the number k of those that are kept is drawn uniformly from 0..L-1, and the rest
    from the reference: y' has probability pi_ref(y') / pi_ref(y[:k]), with pi_ref of a prefix its total probability.
    Both y and y' begin with y[:k] and go on beyond it, so that the way back with the same k is possible. For each k the
    two flows under the reference, pi_ref(y) pi_ref(y') / pi_ref(y[:k]) / L and the same over L', differ by their
    lengths alone, and accepting with probability min(1, exp((r' - r) / beta) L / L') satisfies detailed balance, k by
    k. Without L / L' the completions would be of the wrong length.
    """
    length = _lengths(particles.completions)
    cut = choices.choose(np.where(np.arange(length.max()) < length[:, None], 0.0, -np.inf))
    kept = [c.ids[:k] for c, k in zip(particles.completions, cut, strict=True)]
    proposed = choices.complete(model, prompt, kept)
    reward = score(proposed)
    accepted = choices.accept(log_acceptance(particles.reward, reward, length, _lengths(proposed), beta=beta))
    for i in np.flatnonzero(accepted):
        particles.completions[i] = proposed[i]
    particles.reward = np.where(accepted, reward, particles.reward)
    particles.n_tried += len(accepted)
    particles.n_accepted += int(np.count_nonzero(accepted))


def log_acceptance(
    reward: Floats, proposed: Floats, length: Ints, proposed_length: Ints, *, beta: float
) -> Floats:
    """Return the log of the probability that a move is accepted; ``reward`` is finite."""
    return np.minimum((proposed - reward) / beta + np.log(length) - np.log(proposed_length), 0.0)


def _lengths(completions: list[Completion]) -> Ints:
    return np.array([len(c.ids) for c in completions], dtype=np.int64)
