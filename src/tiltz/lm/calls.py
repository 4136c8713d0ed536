"""What a model is called with: a random stream for each prompt to draw, a prompt for each completion to score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tiltz.errors import InputError
from tiltz.lm.protocol import Prompt, Streams


def streams_of(rng: Streams, prompts: Sequence[Prompt]) -> list[np.random.Generator]:
    """Return one generator for each prompt.

    Parameters
    ----------
    rng : numpy.random.Generator, or one for each prompt
        A single one is split.
    prompts : sequence
        What is drawn after.

    Returns
    -------
    list of numpy.random.Generator
        As many as prompts.

    Raises
    ------
    InputError
        If there are several, and not as many as prompts.
    """
    streams = rng.spawn(len(prompts)) if isinstance(rng, np.random.Generator) else list(rng)
    if len(streams) != len(prompts):
        raise InputError(
            f"there must be one generator, or one for each of the {len(prompts)} prompts; found {len(streams)}."
        )
    return streams


def check_pairs(prompts: Sequence[Prompt], completions: Sequence[Any]) -> None:
    """Refuse completions that are not as many as prompts.

    Parameters
    ----------
    prompts : sequence
        One for each completion.
    completions : sequence
        What is scored.

    Raises
    ------
    InputError
        If they differ in number.
    """
    if len(prompts) != len(completions):
        raise InputError(
            f"there must be one prompt for each completion; found {len(prompts)} and {len(completions)}."
        )
