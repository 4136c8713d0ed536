"""Rewards of completions of one prompt; each text is rewarded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.lm import Completion
from tiltz.lm.protocol import Prompt
from tiltz.rewards import Reward, evaluate

Floats = npt.NDArray[np.float64]


class Scorer:
    """The reward of each text of one prompt, kept: a reward that varies from call to call is fixed by its first call.

    Parameters
    ----------
    reward : Reward
        In TRL's signature.
    prompt : str or list
        The prompt.
    columns : mapping of str to object, optional
        What else the reward needs to know of the prompt, such as an answer.
    """

    def __init__(self, reward: Reward, prompt: Prompt, columns: Mapping[str, Any] | None = None) -> None:
        self.reward, self.prompt, self.columns = reward, prompt, dict(columns or {})
        self.known: dict[str, float] = {}

    @property
    def n_rewards(self) -> int:
        """Texts that were rewarded."""
        return len(self.known)

    def __call__(self, completions: Sequence[Completion]) -> Floats:
        """Return the reward of each completion, or refuse one that has none."""
        new = list(dict.fromkeys(c.text for c in completions if c.text not in self.known))
        if new:
            columns = {name: [value] * len(new) for name, value in self.columns.items()}
            found = evaluate({"reward": self.reward}, [self.prompt] * len(new), new, columns)
            for text, value, error in zip(new, found.values["reward"], found.errors["reward"], strict=True):
                if error is not None:
                    raise InputError(
                        f"a sampler needs the reward of every completion; {text!r:.80} has none ({error:.200})."
                    )
                self.known[text] = float(value)
        return np.array([self.known[c.text] for c in completions], dtype=np.float64)
