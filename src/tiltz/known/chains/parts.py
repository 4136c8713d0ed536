"""The arrays that make a chain, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.known.chains.checks import checked_count, checked_probabilities, summing_to
from tiltz.known.chains.process import Process

Floats = npt.NDArray[np.float64]


def checked_parts(
    initial: npt.ArrayLike, transition: npt.ArrayLike, *, length: Any, end: Any, empty: npt.ArrayLike
) -> dict[str, Any]:
    """Return the parts of a chain, checked and divided by their sums."""
    first = checked_probabilities(initial, "initial")
    follows = checked_probabilities(transition, "transition")
    n_steps = None if length is None else checked_count(length, "length") - 1
    _check_shapes(first, follows, n_steps)
    none = checked_probabilities(empty, "empty")
    if none.ndim > first.ndim - 1 or (none.ndim == 1 and none.shape != first.shape[:-1]):
        raise InputError(f"empty must be one probability, or one per chain; found shape {none.shape}.")
    none = np.broadcast_to(none, first.shape[:-1])
    if end is None and length is None:
        raise InputError(
            "a chain must have a length, or end, the probability that a sequence ends after each symbol; found neither."
        )
    ends = None if end is None else _checked_ends(end, follows)
    if ends is None and np.any(none > 0):
        raise InputError("empty is for sequences of random length; give end too, or leave it out.")
    missing = np.zeros(follows.shape[:-1]) if ends is None else ends
    first, none = summing_to(first, none, "initial", "1 less empty")
    follows, missing = summing_to(follows, missing, "transition", "1 less end")
    return {
        "initial": read_only(first),
        "transition": read_only(follows),
        "length": None if n_steps is None else n_steps + 1,
        "end": None if ends is None else read_only(missing),
        "empty": read_only(none),
    }


def _check_shapes(first: Floats, follows: Floats, n_steps: int | None) -> None:
    n = first.shape[-1] if first.ndim else 0
    if first.ndim not in (1, 2) or first.size == 0:
        raise InputError(
            f"initial must have shape (n,) or (n_chains, n), with at least one state; found {first.shape}."
        )
    chains = first.shape[:-1]
    legal = {(n, n), (*chains, n, n)}
    if n_steps is not None:
        legal.add((*chains, n_steps, n, n))
    if follows.shape not in legal:
        shapes = " or ".join(map(str, sorted(legal, key=len)))
        raise InputError(
            f"transition must have shape {shapes} for initial of shape {first.shape}"
            f"{'' if n_steps is None else f' and length {n_steps + 1}'}; found shape {follows.shape}."
        )


def _checked_ends(end: Any, follows: Floats) -> Floats:
    ends = checked_probabilities(end, "end")
    wanted = follows.shape[:-1]
    if ends.shape not in (wanted, wanted[-1:]):
        raise InputError(f"end must have shape {wanted[-1:]}, one probability per state; found {ends.shape}.")
    return np.broadcast_to(ends, wanted)


def check_ends(process: Process) -> None:
    """Refuse a chain in which a sequence can go on for ever."""
    follows, ends = process.transition > 0, process.end_at(0) > 0
    reached = process.initial > 0
    for _ in range(len(reached)):
        reached, ends = reached | (reached @ follows), ends | (follows @ ends)
    if np.any(reached & ~ends):
        state = int(np.argmax(reached & ~ends))
        raise InputError(
            f"without a length, a sequence must end at last from every state; from state {state} no state with end > 0 "
            "can be reached. Give end there, or a length."
        )


def read_only(array: Floats) -> Floats:
    """Return an array, copied where it is not contiguous, that cannot be written to."""
    array = np.ascontiguousarray(array) if array.ndim else np.array(array)
    array.setflags(write=False)
    return array
