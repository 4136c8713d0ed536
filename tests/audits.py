"""Enumerable references with rewards, and policies trained exactly: what an audit should find."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import tiltz

QUANTITIES = (
    "reward",
    "kl",
    "achieved",
    "reference_reward",
    "ceiling",
    "gap",
    "share",
    "optimal_reward",
)


@dataclass(frozen=True, slots=True)
class World:
    """Prompts with outcomes of known probability, shape (n_prompts, n_outcomes)."""

    ref: np.ndarray
    reward: np.ndarray
    beta: float = 0.5

    @classmethod
    def drawn(cls, n_prompts: int, n_outcomes: int = 20, seed: int = 1) -> World:
        rng = np.random.default_rng(seed)
        ref = rng.dirichlet(np.ones(n_outcomes), size=n_prompts)
        return cls(ref, 2 * rng.random((n_prompts, n_outcomes)))

    def tilted(self, beta: float) -> np.ndarray:
        mass = self.ref * np.exp(self.reward / beta)
        return mass / mass.sum(axis=1, keepdims=True)

    def policies(self) -> dict[str, np.ndarray]:
        return {
            "optimum": self.tilted(self.beta),
            "near": self.tilted(0.9 * self.beta),
            "nearest": self.tilted(0.999 * self.beta),
            "under": self.tilted(4 * self.beta),
            "over": self.tilted(0.3 * self.beta),
            "reference": self.ref,
            "mixture": 0.5 * self.ref + 0.5 * self.tilted(0.4 * self.beta),
            "mistake": 0.7 * self.tilted(self.beta) + 0.3 * self.ref[:, ::-1],
        }

    def truth(self, policy: np.ndarray) -> dict[str, np.ndarray]:
        """Every quantity of every prompt, by its definition."""
        best = self.tilted(self.beta)
        reward = np.sum(policy * self.reward, axis=1)
        kl = np.sum(policy * np.log(policy / self.ref), axis=1)
        base = np.sum(self.ref * self.reward, axis=1)
        ceiling = self.beta * np.log(np.sum(self.ref * np.exp(self.reward / self.beta), axis=1))
        achieved = reward - self.beta * kl
        return {
            "reward": reward,
            "kl": kl,
            "achieved": achieved,
            "reference_reward": base,
            "ceiling": ceiling,
            "gap": self.beta * np.sum(policy * np.log(policy / best), axis=1),
            "share": (achieved - base) / (ceiling - base),
            "optimal_reward": np.sum(best * self.reward, axis=1),
        }

    def tables(
        self,
        policy: np.ndarray,
        n: int,
        rng: np.random.Generator,
        *,
        n_reference: int | None = None,
        scored: bool = True,
        drawn: np.ndarray | None = None,
        **declared: object,
    ) -> tuple[tiltz.Outcomes, tiltz.Outcomes | None]:
        """Rows of the policy and of the reference; ``drawn`` is what really drew the policy's rows."""
        own = draws(policy if drawn is None else drawn, n, rng)
        first = self.table(policy, own, **declared)
        if n_reference == 0:
            return first, None
        return first, self.ref_table(
            policy if scored else None, draws(self.ref, n_reference or n, rng), **declared
        )

    def table(self, policy: np.ndarray, rows: np.ndarray, **declared: object) -> tiltz.Outcomes:
        return tiltz.Outcomes.sampled(
            _at(self.reward, rows),
            log_ref=_at(np.log(self.ref), rows),
            log_proposal=_at(np.log(policy), rows),
            drawn_from="policy",
            **declared,
        )

    def ref_table(self, policy: np.ndarray | None, rows: np.ndarray, **declared: object) -> tiltz.Outcomes:
        scores = None if policy is None else {"policy": _at(np.log(policy), rows)}
        return tiltz.Outcomes.sampled(
            _at(self.reward, rows), log_ref=_at(np.log(self.ref), rows), log_densities=scores, **declared
        )

    def repeated(self, times: int) -> World:
        """The first prompt so many times."""
        return World(
            np.repeat(self.ref[:1], times, axis=0), np.repeat(self.reward[:1], times, axis=0), self.beta
        )


def draws(prob: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of n outcomes of each prompt."""
    cumulative = np.cumsum(prob, axis=1)
    uniforms = rng.random((len(prob), n))
    found = [np.searchsorted(c, u * c[-1], side="right") for c, u in zip(cumulative, uniforms, strict=True)]
    return np.array(found)


def _at(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, rows, axis=1)
