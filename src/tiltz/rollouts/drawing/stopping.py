"""How many completions a prompt gets: a fixed number, or as many as its interval needs to be narrow."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tiltz.checks import checked_range, checked_values
from tiltz.errors import InputError
from tiltz.files import json_ready
from tiltz.inference.monitor import Monitor
from tiltz.inference.request import checked_betas, checked_level, checked_width
from tiltz.rewards import Reward, name_of
from tiltz.rewards.protocol import range_of, values_of

Floats = npt.NDArray[np.float64]

_AT_MOST = 4096
_GROWTH = 8  # a later round adds an eighth of what is there, so that hard prompts need few rounds
_GRID_COST = 64  # the grid of a monitor costs at most a 64th of the wanted width at either end


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedNumber:
    """So many completions of every prompt.

    Attributes
    ----------
    n : int
        Completions.
    reward_range : (float, float) or None
        Lowest and highest possible reward.
    reward_values : tuple of float or None
        All possible rewards.
    """

    n: int
    reward_range: tuple[float, float] | None
    reward_values: tuple[float, ...] | None

    @property
    def kind(self) -> Literal["fixed", "adaptive"]:
        """What the metadata of the files call it."""
        return "fixed"

    def more(self, n_drawn: int) -> int:
        """Return how many to draw next of a prompt that is not finished."""
        return self.n - n_drawn

    def narrow(self, seen: Monitor) -> set[int]:
        """Return the prompts that need no more, whatever their number."""
        return set()

    def watch(self) -> Monitor | None:
        """Return what rewards are shown to."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return what makes two runs the same one."""
        return json_ready(asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class UntilNarrow:
    """As many completions of every prompt as its interval of log Z needs.

    Attributes
    ----------
    until_width : float
        Width in nats that is narrow enough.
    beta : float
        KL coefficient of the interval.
    level : float
        Its confidence level.
    n : int
        Completions of the first round, and the fewest of a later one.
    at_most : int
        Completions after which a prompt gets no more.
    reward_range : (float, float) or None
        Lowest and highest possible reward.
    reward_values : tuple of float or None
        All possible rewards.
    """

    until_width: float
    beta: float
    level: float
    n: int
    at_most: int
    reward_range: tuple[float, float] | None
    reward_values: tuple[float, ...] | None

    @property
    def kind(self) -> Literal["fixed", "adaptive"]:
        """What the metadata of the files call it."""
        return "adaptive"

    def more(self, n_drawn: int) -> int:
        """Return how many to draw next of a prompt that is not finished; it depends on this prompt alone."""
        return min(max(self.n, n_drawn // _GROWTH), self.at_most - n_drawn)

    def watch(self) -> Monitor:
        """Return a monitor for rewards, whose limits hold at whatever number the drawing stops."""
        if self.reward_values is not None or self.reward_range is None:
            return Monitor(reward_values=self.reward_values, level=self.level)
        low, high = self.reward_range
        finest = self._finest
        # A power of two, so that round rewards lie on the grid.
        halvings = max(10, math.ceil(math.log2(finest))) if finest > 0 else 10
        spacing = (high - low) * 2.0**-halvings if high > low else None
        return Monitor(reward_range=self.reward_range, level=self.level, spacing=spacing)

    def __post_init__(self) -> None:
        """Refuse a width that no grid of rewards is fine enough for."""
        if not math.isfinite(self._finest):
            raise InputError(
                f"until_width times beta must be a part of the range of rewards, {self.reward_range}; found "
                f"{self.until_width!r} and {self.beta!r}. Give a larger width or beta, or a smaller range."
            )

    @property
    def _finest(self) -> float:
        """Cells of the range that make the grid fine enough."""
        low, high = self.reward_range or (0.0, 0.0)
        with np.errstate(all="ignore"):
            return float(_GRID_COST * np.divide(np.subtract(high, low), self.until_width * self.beta))

    def narrow(self, seen: Monitor) -> set[int]:
        """Return the prompts whose interval is narrow enough."""
        if not len(seen.n):  # no completion has a reward yet
            return set()
        found = seen.estimate(self.beta)
        with np.errstate(invalid="ignore"):
            enough = (found.hi - found.lo)[:, 0] <= self.until_width
        return {int(found.prompt[i]) for i in np.flatnonzero(enough)}

    def to_dict(self) -> dict[str, Any]:
        """Return what makes two runs the same one."""
        return json_ready(asdict(self))


Stopping = FixedNumber | UntilNarrow


def declarations(stopping: Stopping) -> dict[str, str]:
    """Return what is declared of the rewards, as metadata of files."""
    known = {"reward_range": stopping.reward_range, "reward_values": stopping.reward_values}
    return {name: json.dumps(json_ready(found)) for name, found in known.items() if found is not None}


def stopping_rule(
    reward: Reward | Mapping[str, Reward],
    n: int,
    *,
    until_width: float | None,
    beta: float | None,
    at_most: int | None,
    level: float,
    reward_range: tuple[float, float] | None,
    reward_values: Sequence[float] | None,
) -> Stopping:
    """Return the rule that arguments of :func:`tiltz.rollout` stand for.

    Raises
    ------
    InputError
        If one is not legal, or an interval is wanted that has no upper limit since nothing is known of the largest
        reward.
    """
    _whole(n, "n", 1)
    within = None if reward_range is None else checked_range(reward_range)
    among = None if reward_values is None else checked_values(reward_values)
    if within is None and among is None:
        among = _values_of_only(reward)
        within = None if among is not None else _range_of_sum(reward)
    if until_width is None:
        needless = [name for name, value in {"beta": beta, "at_most": at_most}.items() if value is not None]
        if needless:
            raise InputError(
                f"{needless[0]} must come with until_width, to which it belongs; without it every prompt gets {n} "
                f"completions. Give until_width as well, or leave {' and '.join(needless)} out."
            )
        return FixedNumber(n=int(n), reward_range=within, reward_values=among)
    checked_width(until_width)
    checked_level(level)
    if beta is None:
        raise InputError(
            "until_width must come with beta, on which the width of an interval depends; found none."
        )
    if np.ndim(beta) != 0:
        raise InputError(f"until_width goes with one beta; found {beta!r}.")
    if within is None and among is None:
        raise InputError(
            "an interval gets narrow only if the largest possible reward is known, since without it there is no upper "
            f"limit; {_undeclared(reward)} declares none. Declare --reward-range LOW:HIGH or --reward-values A,B (in "
            "Python reward_range=, reward_values=), or give the reward an attribute reward_range = (low, high)."
        )
    cap = max(_AT_MOST, n) if at_most is None else at_most
    _whole(cap, "at_most", n, f"n ({n}), the completions of the first round")
    return UntilNarrow(
        until_width=float(until_width),
        beta=float(checked_betas(beta)[0]),
        level=float(level),
        n=int(n),
        at_most=int(cap),
        reward_range=within,
        reward_values=among,
    )


def _whole(value: Any, name: str, least: int, what: str = "1") -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name} must be a number of completions, at least {what}; found {value!r}.")


def _range_of_sum(reward: Reward | Mapping[str, Reward]) -> tuple[float, float] | None:
    """Return the range of the sum of all rewards, from what each declares."""
    ranges = [found for found in _ranges(reward).values() if found is not None]
    if len(ranges) < len(_ranges(reward)):
        return None
    # Summed as the rewards are, so that no rounding puts a sum outside.
    low, high = np.sum(ranges, axis=0)
    return float(low), float(high)


def _values_of_only(reward: Reward | Mapping[str, Reward]) -> tuple[float, ...] | None:
    """Return the values of a reward that is the only one; those of a sum are too many to list."""
    functions = list(reward.values()) if isinstance(reward, Mapping) else [reward]
    return values_of(functions[0]) if len(functions) == 1 else None


def _undeclared(reward: Reward | Mapping[str, Reward]) -> str:
    return ", ".join(name for name, found in _ranges(reward).items() if found is None)


def _ranges(reward: Reward | Mapping[str, Reward]) -> dict[str, tuple[float, float] | None]:
    functions = reward if isinstance(reward, Mapping) else {name_of(reward): reward}
    return {name: range_of(function) for name, function in functions.items()}
