"""From intervals to words."""

from __future__ import annotations

import math
from collections.abc import Mapping

NEAR_SHARE, NEAR_NATS = 0.9, 0.1
"""A policy is near its optimum that surely collected this share, or surely is no further from it than this."""

UNDER, NEAR, OVER = "under-optimised", "near its optimum", "over-optimised"
UNKNOWN, REFUSED = "the data cannot tell", "refused"

Interval = tuple[float, float]


def verdict(limits: Mapping[str, Interval], beta: float) -> str:
    """Return the verdict that limits support.

    Parameters
    ----------
    limits : mapping of str to (lo, hi)
        Of the quantities.
    beta : float
        KL coefficient.

    Notes
    -----
    Over-optimised: reward above the reference's while J fell below, or off the optimum with a reward above the
    optimum's. Under-optimised: off the optimum with a reward below the optimum's.
    """
    if limits["reward_gain"][0] > 0 and limits["achieved_gain"][1] < 0:
        return OVER
    if limits["share"][0] >= NEAR_SHARE or limits["gap"][1] <= NEAR_NATS * beta:
        return NEAR
    most_collected = limits["share"][1]  # infinite where it is not known
    off = limits["gap"][0] > NEAR_NATS * beta and (most_collected < NEAR_SHARE or most_collected == math.inf)
    if off and limits["excess"][1] < 0:
        return UNDER
    if off and limits["excess"][0] > 0:
        return OVER
    return UNKNOWN
