"""The betas between the reference and the tilted distribution, written as lambda = 1 / beta from 0 upwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.inference.request import checked_betas
from tiltz.sampling.choices import kish

Floats = npt.NDArray[np.float64]
NextLambda = Callable[[float, Floats], float]
"""From the present lambda and the rewards of the particles to the next one."""

_BISECTIONS = 25
_LEAST_STEP = 1e-3  # of the whole way: a run ends after so many steps


def fixed(ladder: Sequence[float], beta: float) -> NextLambda:
    """Return the steps of a ladder of betas in descending order that ends with ``beta``, or refuse it."""
    betas = checked_betas(ladder)
    if np.any(np.diff(betas) >= 0) or betas[-1] != beta:
        raise InputError(
            f"ladder must hold betas in descending order, the last of which is beta, {beta:g}; "
            f"found {betas.tolist()!r:.100}."
        )
    lambdas = 1 / betas
    return lambda here, _: float(lambdas[np.searchsorted(lambdas, here, side="right")])


def adaptive(beta: float, share: float) -> NextLambda:
    """Return steps as long as the weights of a step leave an effective share of the possible particles."""

    def following(here: float, reward: Floats) -> float:
        possible = reward[reward > -np.inf]
        last = 1 / beta
        if not len(possible):
            return last
        wanted = share * len(possible)

        def enough(step: float) -> bool:
            return kish(step * (possible - possible.max())) >= wanted

        least, most = 0.0, last - here
        if enough(most):
            return last
        for _ in range(_BISECTIONS):
            middle = 0.5 * (least + most)
            least, most = (middle, most) if enough(middle) else (least, middle)
        found = here + max(least, _LEAST_STEP * last)
        return last if found >= last * (1 - _LEAST_STEP) else found

    return following
