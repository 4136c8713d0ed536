"""One cell per prompt and beta: a point, its limits, what they promise, and why to doubt them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FLAGS = {
    "all_equal": "all rewards of the prompt are equal",
    "too_few": "fewer than 25 samples",
    "saturated": "one sample holds more than half of the weight",
    "thin": "the spread of the rewards leaves a bulk effective sample size below 10",
    "heavy_tail": "the largest weights have a tail index of 0.7 or more",
    "two_valued": "rests on only two rewards being possible",
    "no_equal_groups": "groups of equal rewards seem to have been filtered out",
    "adaptive": "the number of samples depended on the rewards",
    "no_overlap": "the samplers share no outcomes, so that nothing shows what lies between them",
    "no_controls": "too few rows of a sampler, or too odd ones, to use that its density integrates to 1",
    "on_atom": "rests on a mass at a success rate of exactly 0 or 1, which so few samples cannot identify",
}
"""Every flag of a cell and what it means, in the order in which they are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """Arrays of shape (n_prompts, n_betas)."""

    log_z: Floats
    lo: Floats
    hi: Floats
    soft_value: Floats
    ess: Floats
    khat: Floats
    kind: npt.NDArray[Any]
    flags: npt.NDArray[Any]
    bias: Floats

    @classmethod
    def of(
        cls,
        *,
        log_z: Floats,
        soft_value: Floats,
        limits: tuple[Floats, Floats] | None,
        ess: Floats,
        kind: str | npt.NDArray[Any],
        bias: Floats,
        khat: Floats | None = None,
        flags: npt.NDArray[Any] | None = None,
    ) -> Self:
        """Return cells; no limits make them points."""
        unknown = np.full_like(log_z, np.nan)
        lo, hi = limits or (unknown, unknown)
        return cls(
            log_z=log_z,
            lo=lo,
            hi=hi,
            soft_value=soft_value,
            ess=np.broadcast_to(ess, log_z.shape),
            khat=unknown.copy() if khat is None else khat,
            kind=np.broadcast_to(np.asarray("point" if limits is None else kind, dtype=object), log_z.shape),
            flags=flag_sets(log_z.shape) if flags is None else flags,
            bias=bias,
        )

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays by name, read-only."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        for array in arrays.values():
            array.setflags(write=False)
        return arrays


def flag_sets(shape: tuple[int, ...], **raised: npt.NDArray[np.bool_] | np.bool_) -> npt.NDArray[Any]:
    """Return a tuple of flag names per cell, from one boolean array per flag."""
    bits = np.zeros(shape, dtype=np.int64)
    for i, flag in enumerate(FLAGS):
        bits += np.asarray(raised.get(flag, np.False_)).astype(np.int64) << i
    names = np.empty(1 << len(FLAGS), dtype=object)
    for code in range(len(names)):
        names[code] = tuple(flag for i, flag in enumerate(FLAGS) if code >> i & 1)
    return names[bits]
