"""Every random path of a sampler, each with its probability, and small worlds to walk in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tiltz.lm import Completion, LocalModel, SamplingSpec, Search, table_model
from tiltz.sampling import Choices

WORLDS = {
    "nested": {"one two three": 0.2, "one two": 0.3, "one": 0.5},
    "apart": {"heads": 0.5, "tails": 0.4, "lost it": 0.1},
    "pair": {"one": 0.7, "": 0.3},
}
REWARD = {
    "": -0.4, "one": 0.0, "one two": 1.0, "one two three": 1.6,
    "heads": 0.2, "tails": -0.5, "lost it": 1.0,
}  # fmt: skip


def reward(completions: list[str], **columns: Any) -> list[float]:
    return [REWARD[text] for text in completions]


def model_of(world: str, **spec: int) -> LocalModel:
    return table_model({world: WORLDS[world]}, spec=SamplingSpec(**spec) if spec else None)


def every_completion(model: LocalModel, prompt: str) -> list[Completion]:
    return sorted(Search(model=model, prompt=prompt).run().found, key=lambda c: c.ids)


class Walk(Choices):
    """Choices along one path: as far as it goes those given, beyond it the first possible ones."""

    def __init__(self, path: list[int]) -> None:
        self.path, self.trail, self.prob = path, [], 1.0
        self.known: dict[Any, list[Completion]] = {}

    def choose(self, log_weights):
        return np.array([self._one(row) for row in log_weights], dtype=np.int64)

    def choose_from(self, log_weights, n):
        return np.array([self._one(log_weights) for _ in range(n)], dtype=np.int64)

    def draw(self, model, prompt, n):
        return self.complete(model, prompt, [()] * n)

    def complete(self, model, prompt, prefixes):
        drawn = []
        for prefix in prefixes:
            possible = [c for c in self._all(model, prompt) if c.ids[: len(prefix)] == tuple(prefix)]
            drawn.append(possible[self._one(np.array([c.log_prob for c in possible]))])
        return drawn

    def _all(self, model, prompt):
        if prompt not in _FOUND.setdefault(id(model), {}):
            _FOUND[id(model)][prompt] = (model, every_completion(model, prompt))
        return _FOUND[id(model)][prompt][1]

    def _one(self, log_weights) -> int:
        weights = np.exp(log_weights - np.max(log_weights)).tolist()
        possible = [i for i, weight in enumerate(weights) if weight > 0]
        at = len(self.trail)
        chosen = self.path[at] if at < len(self.path) else possible[0]
        self.trail.append((possible, chosen))
        self.prob *= weights[chosen] / sum(weights)
        return chosen


_FOUND: dict[int, dict[str, tuple[LocalModel, list[Completion]]]] = {}


def all_paths(run: Callable[[Choices], Any]) -> Iterator[tuple[float, Any]]:
    """Yield the probability and the result of every path, depth first."""
    path: list[int] | None = []
    while path is not None:
        walk = Walk(path)
        result = run(walk)
        yield walk.prob, result
        path = _next(walk.trail)


def _next(trail: list[tuple[list[int], int]]) -> list[int] | None:
    while trail:
        possible, chosen = trail.pop()
        later = [i for i in possible if i > chosen]
        if later:
            return [*(taken for _, taken in trail), later[0]]
    return None


def mean_over_paths(run: Callable[[Choices], Any], value: Callable[[Any], Any]) -> Any:
    """The exact mean of a value over all paths."""
    total, mean = 0.0, 0.0
    for prob, result in all_paths(run):
        total += prob
        mean = mean + prob * np.asarray(value(result))
    assert abs(total - 1) < 1e-12
    return mean


def tilted_law(model: LocalModel, prompt: str, beta: float) -> tuple[float, dict[tuple[int, ...], float]]:
    """Z and the tilted probability of every completion, by the definition."""
    found = every_completion(model, prompt)
    weights = {c.ids: np.exp(c.log_prob + REWARD[c.text] / beta) for c in found}
    z = sum(weights.values())
    return z, {ids: weight / z for ids, weight in weights.items()}
