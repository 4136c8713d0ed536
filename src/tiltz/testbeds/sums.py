"""A small world of sums: every completion and its probability are known, so log Z is known exactly.

The rollouts that ship with the package are draws from it (:func:`demo_rollouts` is their recipe).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.files import write_columns
from tiltz.outcomes import Outcomes

DEMO_PROMPTS = 240
DEMO_SAMPLES = 16
DEMO_FILE = Path(str(files("tiltz.testbeds") / "demo.parquet"))
"""Rollouts that ship with the package, in the layout of tiltz."""

REWARDS = ("reward", "closeness")

_SLIPS = (1, -1, 2, -2, 10, -10, 9, -9, 11, -11, 20, -20)
_FORMS = ("{}", "It is {}.", "Let me add the tens first, then the ones: {}.")
_FORM_TOKENS = (1, 4, 13)
_FORM_SHARE = np.array([0.5, 0.3, 0.2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Questions "What is a + b?" and a reference policy over finitely many answers to each.

    Attributes
    ----------
    first, second : int array, shape (n_prompts,)
        The two numbers to add.
    skill : array, shape (n_prompts,)
        Probability of the right number under the reference; 0 for some prompts.
    """

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    skill: npt.NDArray[np.float64]

    @property
    def prompt(self) -> list[str]:
        """The questions, shape (n_prompts,)."""
        return [f"What is {a} + {b}?" for a, b in zip(self.first, self.second, strict=True)]

    def table(self, i: int) -> dict[str, Any]:
        """Return every completion of prompt ``i``: text, ``log_ref`` in nats, rewards and tokens."""
        slip = np.array((0, *_SLIPS))
        share = np.concatenate([[self.skill[i]], np.full(len(_SLIPS), (1 - self.skill[i]) / len(_SLIPS))])
        answer = int(self.first[i] + self.second[i]) + slip
        with np.errstate(divide="ignore"):
            log_ref = np.log(np.outer(share, _FORM_SHARE).reshape(-1))
        correct = np.repeat(slip == 0, len(_FORMS)).astype(np.float64)
        n_tokens = np.tile(_FORM_TOKENS, len(slip))
        return {
            "completion": [form.format(number) for number in answer for form in _FORMS],
            "log_ref": log_ref,
            "reward": correct,
            "closeness": np.repeat(np.exp(-np.abs(slip) / 5), len(_FORMS)) - 0.01 * n_tokens,
            "n_tokens": n_tokens,
        }

    def outcomes(self, reward: str = "reward") -> Outcomes:
        """Return all completions of all prompts, from which log Z is exact.

        Parameters
        ----------
        reward : {"reward", "closeness"}
            1 for the right number and 0 for others; or how near the number is, less a cent per token.
        """
        _check_reward(reward)
        tables = [self.table(i) for i in range(len(self.first))]
        return Outcomes.complete(
            np.array([table["log_ref"] for table in tables]),
            np.array([table[reward] for table in tables]),
            prompt=self.prompt,
        )

    def draw(self, n: int, *, rng: np.random.Generator) -> dict[str, list[Any]]:
        """Return ``n`` rollouts of each prompt as columns in the layout of tiltz."""
        columns: dict[str, list[Any]] = {
            name: []
            for name in ("prompt_id", "prompt", "completion", "reward", "closeness", "log_ref", "n_tokens")
        }
        for i, prompt in enumerate(self.prompt):
            table = self.table(i)
            cumulative = np.cumsum(np.exp(table["log_ref"]))
            picked = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
            columns["prompt_id"] += [f"sum-{i:03d}"] * n
            columns["prompt"] += [prompt] * n
            columns["completion"] += [table["completion"][k] for k in picked]
            for name in ("reward", "closeness", "log_ref", "n_tokens"):
                columns[name] += table[name][picked].tolist()
        return columns


def sums(n_prompts: int = DEMO_PROMPTS, *, rng: np.random.Generator | None = None) -> Sums:
    """Return a world of sums: mostly hard prompts, some easy, one in ten impossible.

    Parameters
    ----------
    n_prompts : int
        Different questions, at most 8,100.
    rng : numpy.random.Generator, optional
        Source of the numbers and skills; the demo's own if left out.

    Returns
    -------
    Sums
        The world.
    """
    if not 1 <= n_prompts <= 8100:
        raise InputError(f"a world of sums has 1 to 8,100 prompts; found {n_prompts!r}.")
    rng = np.random.default_rng(20240607) if rng is None else rng
    # Only uniforms are drawn, whose stream NumPy keeps stable.
    pair = np.argsort(rng.random(8100), kind="stable")[:n_prompts]
    skill = rng.random(n_prompts) ** 3
    skill[rng.random(n_prompts) < 0.1] = 0.0
    return Sums(first=10 + pair // 90, second=10 + pair % 90, skill=skill)


def demo_rollouts() -> dict[str, list[Any]]:
    """Return the rollouts that ship with the package: 16 draws for each of 240 prompts."""
    return sums().draw(DEMO_SAMPLES, rng=np.random.default_rng(7))


def write_demo(path: str | Path) -> None:
    """Write the demo's rollouts anew."""
    metadata = {"ref_id": "tiltz.testbeds.sums", "reward_id": "exact sum", "stopping": "fixed"}
    write_columns(demo_rollouts(), path, metadata=metadata)


def _check_reward(reward: str) -> None:
    if reward not in REWARDS:
        raise InputError(f"reward must be one of {', '.join(REWARDS)}; found {reward!r}.")
