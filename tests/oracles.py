"""Independent answers for tests: closed forms at 50 digits, enumeration of every sample, exact coverage."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest

DATA = Path(__file__).parent / "data"


def exact(prob: Sequence[Any], reward: Sequence[Any], beta: Any, *, digits: int = 50) -> dict[str, Any]:
    """Everything about one finite set, by the definitions; numbers may be decimal strings, masses are normalised."""
    with mpmath.workdps(digits):
        mass = [mpmath.mpf(p) for p in prob]
        total = mpmath.fsum(mass)
        mass = [p / total for p in mass]
        rewards = [mpmath.mpf(r) for r in reward]
        beta = mpmath.mpf(beta)
        top = max(r for p, r in zip(mass, rewards, strict=True) if p > 0)
        weights = [
            p * mpmath.exp((r - top) / beta) if p > 0 else mpmath.mpf(0)
            for p, r in zip(mass, rewards, strict=True)
        ]
        z = mpmath.fsum(weights)
        tilted = [w / z for w in weights]
        log_z = top / beta + mpmath.log(z)
        squares = mpmath.fsum(w * w / p for w, p in zip(weights, mass, strict=True) if p > 0)
        mean = mpmath.fsum(q * r for q, r in zip(tilted, rewards, strict=True) if q > 0)
        mean_ref = mpmath.fsum(p * r for p, r in zip(mass, rewards, strict=True) if p > 0)
        kl = mpmath.fsum(q * mpmath.log(q / p) for p, q in zip(mass, tilted, strict=True) if q > 0)
        return {
            "log_z": log_z,
            "soft_value": beta * log_z,
            "mean_reward": mean,
            "kl": kl,
            "kl_reverse": log_z - mean_ref / beta,
            "rel_ess": z * z / squares,
            "prob": tilted,
        }


def finite_set(case: dict[str, Any]) -> tuple[np.ndarray, np.ndarray] | None:
    """Log-probabilities and rewards of a known case, or None if it has more than 1e5 outcomes."""
    params, family = case["params"], case["family"]
    if family == "bernoulli":
        p = float(params["p"])
        return np.array([math.log1p(-p), math.log(p)]), np.array([0.0, 1.0])
    if family == "uniform categorical":
        k = params["K"]
        return np.full(k, -math.log(k)), np.arange(float(k))
    if family == "categorical":
        return np.log(np.array(params["p"], dtype=float)), np.array(params["r"], dtype=float)
    if family == "any":
        return np.log([0.2, 0.3, 0.5]), np.full(3, float(params["c"]))
    if family == "uniform permutations x #fixed points":
        n = params["n"]
        fixed = [sum(i == y for i, y in enumerate(p)) for p in itertools.permutations(range(n))]
        return np.full(len(fixed), -math.log(len(fixed))), np.array(fixed, dtype=float)
    if family == "uniform spins x 2-D Ising torus" and params["n"] * params["m"] <= 16:
        rows, cols = params["n"], params["m"]
        bits = np.arange(1 << rows * cols)[:, None] >> np.arange(rows * cols) & 1
        spins = (2 * bits - 1).reshape(-1, rows, cols)
        energy = (spins * (np.roll(spins, 1, axis=1) + np.roll(spins, 1, axis=2))).sum(axis=(1, 2))
        return np.full(len(energy), -rows * cols * math.log(2)), energy.astype(float)
    return None


def known_cases() -> list[dict[str, Any]]:
    """The known cases with at most 1e5 outcomes."""
    cases = json.loads((DATA / "known_cases.json").read_text(encoding="utf-8"))["cases"]
    return [case for case in cases if case["finite"] and finite_set(case) is not None]


def binary_samples(n: int, p: float) -> tuple[np.ndarray, np.ndarray]:
    """Every sequence of n draws of a success of probability p, shape (2**n, n), and its probability."""
    draws = np.array(list(itertools.product((0.0, 1.0), repeat=n)))
    successes = draws.sum(axis=1)
    return draws, p**successes * (1 - p) ** (n - successes)


def all_draws(prob: Sequence[float], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Every sequence of n indices drawn from a categorical, shape (k**n, n), and its probability."""
    draws = np.array(list(itertools.product(range(len(prob)), repeat=n)))
    return draws, np.prod(np.asarray(prob)[draws], axis=1)


def compositions(n: int, parts: int) -> Iterator[tuple[int, ...]]:
    """Every way to write n as an ordered sum of so many non-negative integers."""
    if parts == 1:
        yield (n,)
        return
    for first in range(n + 1):
        for rest in compositions(n - first, parts - 1):
            yield (first, *rest)


def multinomial(counts: Sequence[int], prob: Sequence[float]) -> float:
    """The probability of these counts."""
    log_p = math.lgamma(sum(counts) + 1)
    for count, p in zip(counts, prob, strict=True):
        if count:
            log_p += count * math.log(p) - math.lgamma(count + 1) if p > 0 else -math.inf
    return math.exp(log_p)


def close(found: Any, wanted: Any, tolerance: float = 1e-12) -> bool:
    """Whether a number is right to a tolerance, relative or absolute, whichever is larger."""
    return abs(float(found) - float(wanted)) <= tolerance * max(1.0, abs(float(wanted)))


def covered_between(level: float, replications: int, z: float = 4.89) -> tuple[int, int]:
    """Fewest and most of so many independent intervals that may cover if the level is right: false alarm 1e-6."""
    sd = math.sqrt(replications * level * (1 - level))
    return math.floor(replications * level - z * sd), math.ceil(replications * level + z * sd)


def precisely(wanted: Any, rel: float) -> Any:
    """A number to a relative tolerance alone (``pytest.approx`` would also accept 1e-12 of absolute error)."""
    return pytest.approx(wanted if isinstance(wanted, np.ndarray | list) else float(wanted), rel=rel, abs=0.0)
