"""The smallest beta that the evidence supports."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tiltz.curves.curve import checked_width, reliable_cells
from tiltz.inference.estimate import checked_level, estimate_cells
from tiltz.inference.support import Support, support_of
from tiltz.kernels import reduce_groups, reward_spread
from tiltz.outcomes import Outcomes

Floats = npt.NDArray[np.float64]

_GRID = np.geomspace(1e4, 1e-9, 53)  # in units of the spread of the rewards
_BISECTIONS = 30  # of a step of the grid, on the log scale: to one part in 1e9


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
    Found on a grid of four betas per decade from the largest down, then bisected; exact wherever the interval
    widens as beta falls, which it does for draws from the reference.

    Examples
    --------
    >>> import tiltz
    >>> draws = tiltz.Outcomes.sampled([1, 0, 0, 1, 0, 0, 0, 0], reward_values=(0, 1))
    >>> tiltz.smallest_beta(draws).round(3)
    array([0.716])
    """
    checked_width(width)
    checked_level(level)
    support = support_of(outcomes, reward_range, reward_values)

    columns = outcomes.columns()

    def reliable(beta: Floats) -> npt.NDArray[np.bool_]:
        reduced = reduce_groups(columns, beta)
        cells = estimate_cells(outcomes, beta, reduced, level=level, interval=interval, support=support)
        return reliable_cells(cells.lo, cells.hi, cells.kind, width)

    spread = _spread(outcomes, support)[:, None]
    on_grid = reliable(spread * _GRID)
    n_reliable = np.argmin(np.c_[on_grid, np.zeros(len(on_grid), np.bool_)], axis=1)
    inner = np.clip(n_reliable, 1, len(_GRID) - 1)
    good, bad = spread * _GRID[inner - 1, None], spread * _GRID[inner, None]
    for _ in range(_BISECTIONS):
        middle = np.sqrt(good) * np.sqrt(bad)
        holds = reliable(middle)
        good, bad = np.where(holds, middle, good), np.where(holds, bad, middle)
    return np.where(n_reliable == 0, np.inf, np.where(n_reliable == len(_GRID), 0.0, good[:, 0]))


def _spread(outcomes: Outcomes, support: Support) -> Floats:
    """Return the spread of the rewards of each prompt; where they are equal, of the possible ones, or 1."""
    spread = reward_spread(outcomes.columns())
    low, high = support.values or support.range or (0.0, 1.0)
    possible = high - low if np.isfinite(high - low) and high > low else 1.0
    return np.where(spread > 0, spread, possible)
