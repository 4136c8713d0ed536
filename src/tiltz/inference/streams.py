"""One random stream per prompt, keyed by its label: what a prompt gets never depends on which others are there."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from tiltz.grouping import Groups

_FIXED = 0x7115_7A_D1CE


def stream_seeds(groups: Groups, rng: np.random.Generator | None) -> npt.NDArray[np.uint64]:
    """Return the seed of each group's stream, shape (n_groups,).

    Parameters
    ----------
    groups : Groups
        Prompts, and steps where there are any.
    rng : numpy.random.Generator or None
        Moves all streams; one number is drawn from it. None leaves them where they are, so that the same table
        gives the same interval.
    """
    moved = _FIXED if rng is None else int(rng.integers(1 << 63))
    key = moved.to_bytes(8, "little")
    steps = [0] * len(groups.prompt) if groups.step is None else groups.step.tolist()
    names = (f"{step}:{label}" for step, label in zip(steps, groups.prompt.tolist(), strict=True))
    digests = (blake2b(name.encode("utf-8", "replace"), digest_size=8, key=key).digest() for name in names)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)
