"""The smallest beta that the evidence supports."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tiltz.curves.curve import reliable_cells
from tiltz.errors import InputError
from tiltz.inference.estimate import estimate_cells
from tiltz.inference.request import Request, check_table, checked_width
from tiltz.inference.support import Support, support_of
from tiltz.kernels import Columns, reduce_groups, reward_spread
from tiltz.outcomes import Outcomes

Floats = npt.NDArray[np.float64]

_GRID = 24  # betas
_FAR = 1e4  # in units of the spread, or of the gap
_ROUNDS, _CUTS = 6, 8  # each round cuts a step into nine


def smallest_beta(
    outcomes: Outcomes,
    *,
    width: float = 1.0,
    level: float = 0.95,
    interval: str = "auto",
    reward_range: tuple[float, float] | None = None,
    reward_values: Sequence[float] | None = None,
) -> Floats:
    """Return the least beta that is reliable together with every larger one.

    Parameters
    ----------
    outcomes : Outcomes
        The evidence.
    width : float, default 1.0
        Widest interval, in nats, that counts as reliable.
    level, interval, reward_range, reward_values
        As in :func:`tiltz.estimate`.

    Returns
    -------
    array, shape (n_prompts,)
        In reward per nat. 0 where every beta is reliable, ``inf`` where none is.

    Notes
    -----
    Found on a grid from betas that dwarf the spread of the rewards down to betas below the gap between the two largest
    ones, then refined to two parts in a million of a step; exact wherever the interval widens as beta falls, as it
    does for declared values of draws from the reference. A beta in between the grid at which it does not is not seen.

    Examples
    --------
    >>> import tiltz
    >>> draws = tiltz.Outcomes.sampled([1, 0, 0, 1, 0, 0, 0, 0], reward_values=(0, 1))
    >>> tiltz.smallest_beta(draws).round(3)
    array([0.716])
    """
    check_table(outcomes)
    checked_width(width)
    if interval is None:
        raise InputError(
            "smallest_beta asks where intervals are narrow; interval=None leaves none to look at."
        )
    support = support_of(outcomes, reward_range, reward_values)
    request = Request(level=level, interval=interval, support=support)
    columns = outcomes.columns()

    def reliable(beta: Floats) -> npt.NDArray[np.bool_]:
        cells = estimate_cells(outcomes, beta, reduce_groups(columns, beta), request)
        return reliable_cells(cells.lo, cells.hi, cells.kind, width)

    greatest, least = _ends(columns, support, width)
    steps = np.geomspace(greatest, least, _GRID, axis=1)
    n_reliable = _leading(reliable(steps))
    never, always = n_reliable == 0, n_reliable == _GRID
    rows = np.arange(len(steps))
    inner = np.clip(n_reliable, 1, _GRID - 1)
    good, bad = steps[rows, inner - 1], steps[rows, inner]
    for _ in range(_ROUNDS):
        steps = np.geomspace(good, bad, _CUTS + 2, axis=1)
        held = _leading(reliable(steps[:, 1:-1]))
        good, bad = steps[rows, held], steps[rows, held + 1]
    return np.where(never, np.inf, np.where(always, 0.0, good))


def _leading(reliable: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return how many of the largest betas are reliable without a gap."""
    return np.argmin(np.c_[reliable, np.zeros(len(reliable), np.bool_)], axis=1)


def _ends(columns: Columns, support: Support, width: float) -> tuple[Floats, Floats]:
    """Return a beta at which all rewards of a prompt look alike, and one below which only the largest one counts."""
    first, size = columns.start[:-1], np.diff(columns.start)
    top = np.maximum.reduceat(columns.reward, first)
    second = np.maximum.reduceat(
        np.where(columns.reward < np.repeat(top, size), columns.reward, -np.inf), first
    )
    ends = [np.full_like(top, end) for end in support.range or ()]
    marks = np.stack([top, second, *ends])
    # Differences of all pairs, so that marks of -inf drop out.
    apart = marks[:, None] - np.where(np.isfinite(marks), marks, np.inf)[None]
    apart = np.where(np.isfinite(apart) & (apart > 0), apart, 0.0).reshape(-1, len(top))
    spread = np.maximum(reward_spread(columns), apart.max(axis=0))
    gap = np.min(np.where(apart > 0, apart, np.inf), axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    floats = np.finfo(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        greatest = np.minimum(spread * (_FAR / min(width, 1.0)), floats.max)
        least = np.where(np.isfinite(gap), gap, spread) / (_FAR * max(width, 1.0))
    return np.maximum(greatest, floats.tiny), np.maximum(least, floats.tiny)
