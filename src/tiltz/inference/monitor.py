"""Rewards as they come: limits of log Z that hold at every moment, and who deserves the next samples."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tiltz.checks import as_floats, checked_range, checked_values
from tiltz.errors import InputError
from tiltz.grouping import group_rows
from tiltz.inference.allocation import next_samples
from tiltz.inference.cells import Cells, flag_sets
from tiltz.inference.intervals import delta_bias
from tiltz.inference.request import checked_betas, checked_level, checked_width
from tiltz.inference.result import Estimate
from tiltz.inference.sampled import FEW
from tiltz.kernels import Columns, reduce_groups
from tiltz.text import number

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Label = str | int

_SPACING = 2.0**-10  # of a declared range, or of 1 where none is declared
_MAGIC = b"tiltz monitor 1\n"
_HARD = -(1 << 62)  # the cell of -inf
_DAMAGED = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, zlib.error)


class Monitor:
    """Anytime-valid limits of log Z while rewards come in.

    Look at any moment, as often as wanted, and stop when the interval is narrow enough: the limits hold at all
    moments together, which fixed-n intervals do not.

    Parameters
    ----------
    reward_range : (float, float), optional
        Lowest and highest possible reward. Without it, or ``reward_values``, there is no upper limit.
    reward_values : sequence of float, optional
        All possible rewards; they are then kept exactly.
    level : float, default 0.95
        Confidence level.
    spacing : float, optional
        Of the grid on which rewards are kept, in units of reward; a 1024th of the declared range by default, or of 1.

    Notes
    -----
    Bound: betting mixtures, valid at every number of samples for every prompt and beta. The state is one count per
    prompt and cell of the grid, which begins at the lowest reward that is declared. Rewards between two grid points are
    rounded down for the lower and up for the upper limit, so the grid costs at most ``spacing / beta`` nats at either
    end, and nothing for rewards on it.

    References
    ----------
    .. [1] I. Waudby-Smith, A. Ramdas, "Estimating means of bounded random variables by betting", JRSSB 86 (2024).

    Examples
    --------
    >>> import tiltz
    >>> monitor = tiltz.Monitor(reward_values=(0, 1))
    >>> monitor.push([0, 1, 0, 0, 1, 0, 0, 0], prompt="easy")
    >>> monitor.push([0] * 8, prompt="hard")
    >>> monitor.estimate(0.5).kind[:, 0].tolist()
    ['certified', 'certified']
    >>> monitor.allocate(10, beta=0.5)
    {'easy': 7, 'hard': 3}
    """

    __slots__ = ("_cells", "_origin", "_range", "_spacing", "_values", "level")

    def __init__(
        self,
        *,
        reward_range: tuple[float, float] | None = None,
        reward_values: Sequence[float] | None = None,
        level: float = 0.95,
        spacing: float | None = None,
    ) -> None:
        checked_level(level)
        self.level = float(level)
        self._values = None if reward_values is None else checked_values(reward_values)
        self._range = None if reward_range is None else checked_range(reward_range)
        if self._values is not None:
            ends = self._values[0], self._values[-1]
            if self._range is not None and not self._range[0] <= ends[0] <= ends[1] <= self._range[1]:
                raise InputError(
                    f"reward_values must lie in reward_range; found {self._values} and {self._range}."
                )
            self._range = ends
        self._spacing = _checked_spacing(spacing, self._range)
        self._origin = self._range[0] if self._range is not None and np.isfinite(self._range[0]) else 0.0
        self._cells: dict[Label, dict[int, int]] = {}

    @property
    def prompt(self) -> list[Label]:
        """Labels in order of first appearance."""
        return list(self._cells)

    @property
    def n(self) -> Ints:
        """Samples so far per prompt, shape (n_prompts,)."""
        return np.array([sum(cells.values()) for cells in self._cells.values()], dtype=np.int64)

    @property
    def spacing(self) -> float:
        """Spacing of the grid in units of reward; 0 where possible rewards are declared one by one."""
        return 0.0 if self._values is not None else self._spacing

    def push(self, rewards: npt.ArrayLike, *, prompt: Any = 0) -> None:
        """Add rewards of draws from the reference.

        Parameters
        ----------
        rewards : array_like, shape (n,)
            In any number; ``-inf`` is a hard constraint.
        prompt : str, int or array_like of shape (n,)
            One label for all of them, or one for each.

        Raises
        ------
        InputError
            If a reward is not legal or contradicts a declaration; nothing is added then.
        """
        found = np.atleast_1d(as_floats(rewards, "rewards"))
        if found.ndim != 1:
            raise InputError(f"rewards must be a number or 1-D; found shape {found.shape}.")
        if not len(found):
            return
        listed = [prompt] * len(found) if isinstance(prompt, str) or np.ndim(prompt) == 0 else list(prompt)
        labels = np.array(listed, dtype=object)
        if labels.shape != found.shape:
            raise InputError(
                f"prompt must be one label or one for each of {len(found)} rewards; found {labels.shape}."
            )
        groups = group_rows(labels)
        self._refuse_other_labels(groups.prompt.tolist())
        cells = self._cells_of(found)
        for label, rows in zip(
            groups.prompt.tolist(), np.split(groups.gather(cells), groups.start[1:-1]), strict=True
        ):
            counts = self._cells.setdefault(label, {})
            for cell, count in zip(
                *(part.tolist() for part in np.unique(rows, return_counts=True)), strict=True
            ):
                counts[cell] = counts.get(cell, 0) + count

    def estimate(self, beta: float | npt.ArrayLike) -> Estimate:
        """Return log Z of every prompt as known at this moment.

        Parameters
        ----------
        beta : float or array_like, shape (n_betas,)
            KL coefficients, > 0, in reward per nat.

        Returns
        -------
        Estimate
            ``kind`` is "certified" where possible rewards are declared, else "lower-only".

        Raises
        ------
        InputError
            If no reward came yet, or ``beta`` is not legal.
        """
        from tiltz.inference.betting import betting_of_counts

        betas = checked_betas(beta)
        if not self._cells:
            raise InputError("a monitor needs at least one reward; push some first.")
        cell, count, start = self._arrays()
        low, high = self._ends(cell)
        alpha = (1 - self.level) / 2
        lo, hi = betting_of_counts(
            low,
            count,
            start,
            beta=betas[None, :],
            alpha_lower=alpha,
            alpha_upper=alpha,
            reward_range=self._range,
            value_high=high,
        )
        point = self._reduced(np.where(low == high, low, 0.5 * low + 0.5 * high), count, start, betas)
        n = self.n
        equal = np.broadcast_to(self._equal()[:, None], lo.shape)
        cells = Cells.of(
            log_z=np.clip(point.log_z, lo, hi),
            soft_value=np.clip(point.soft_value, betas * lo, betas * hi),
            limits=(lo, hi),
            ess=n[:, None] / (1 + point.relative_sd**2),
            kind=np.where(np.isposinf(hi), "lower-only", "certified").astype(object),
            bias=np.where(equal, np.nan, delta_bias(point.relative_sd, n[:, None].astype(np.float64))),
            flags=flag_sets(
                lo.shape,
                all_equal=equal,
                too_few=n[:, None] < FEW,
                saturated=point.largest_share > 0.5,
                two_valued=np.bool_(self._values is not None and len(self._values) <= 2),
            ),
        )
        return Estimate(
            prompt=_label_array(self.prompt),
            step=None,
            beta=betas,
            n=n,
            level=self.level,
            evidence="sampled",
            sure=False,
            notes=self._notes(),
            **cells.arrays(),
        )

    def allocate(
        self,
        n: int,
        *,
        beta: float,
        width: float = 1.0,
        patience: int = 64,
        prompts: Iterable[Label] | None = None,
    ) -> dict[Label, int]:
        """Return how many of the next ``n`` samples each prompt deserves.

        Parameters
        ----------
        n : int
            Samples to give away.
        beta : float
            KL coefficient that matters.
        width : float, default 1.0
            An interval of at most so many nats is narrow enough: its prompt gets no more.
        patience : int, default 64
            After so many equal rewards a prompt gets no more; its certified upper limit stands.
        prompts : iterable of labels, optional
            All prompts, those without any reward included; those seen so far by default.

        Returns
        -------
        dict of label to int
            Only prompts that get some; empty when all are done.

        Notes
        -----
        A width shrinks like n^-1/2, so the next sample of a prompt is worth about its width / 2n; samples go where
        that is largest, and prompts without any reward come first.
        """
        checked_width(width)
        if isinstance(patience, bool) or not isinstance(patience, int | np.integer) or patience < 1:
            raise InputError(f"patience must be a positive integer; found {patience!r}.")
        if np.ndim(beta) != 0:
            raise InputError(f"samples are given away for one beta; found {beta!r}.")
        labels = self.prompt if prompts is None else self._listed(prompts)
        unknown = [label for label in labels if label not in self._cells]
        seen = [label for label in labels if label in self._cells]
        widths, drawn = np.full(len(unknown), np.inf), np.zeros(len(unknown), np.int64)
        if seen:
            found = self.estimate(beta)
            position = {label: i for i, label in enumerate(self._cells)}
            at = np.array([position[label] for label in seen])
            still = (found.hi - found.lo)[at, 0]
            still = np.where((still <= width) | (self._equal()[at] & (found.n[at] >= patience)), 0.0, still)
            widths, drawn = np.concatenate([widths, still]), np.concatenate([drawn, found.n[at]])
        given = next_samples(n, widths, drawn)
        return {label: int(k) for label, k in zip(unknown + seen, given, strict=True) if k}

    def merge(self, other: Monitor) -> Monitor:
        """Return the monitor that saw what both saw.

        Parameters
        ----------
        other : Monitor
            With the same declarations, level and spacing.

        Returns
        -------
        Monitor
            A new one.

        Raises
        ------
        InputError
            If the two were declared differently.
        """
        if not isinstance(other, Monitor):
            raise InputError(f"a monitor merges with a monitor; found {type(other).__name__}.")
        if self._declared() != other._declared():
            raise InputError(
                f"monitors merge only if declared alike; found {self._declared()} and {other._declared()}."
            )
        self._refuse_other_labels(list(other._cells))
        merged = self.from_bytes(self.to_bytes())
        for label, cells in other._cells.items():
            counts = merged._cells.setdefault(label, {})
            for cell, count in cells.items():
                counts[cell] = counts.get(cell, 0) + count
        return merged

    def to_bytes(self) -> bytes:
        """Return the state as bytes, some for each prompt and distinct reward."""
        counts = [[label, list(cells), list(cells.values())] for label, cells in self._cells.items()]
        text = json.dumps({"declared": self._declared(), "counts": counts}, allow_nan=False)
        return _MAGIC + zlib.compress(text.encode())

    @classmethod
    def from_bytes(cls, state: bytes) -> Self:
        """Return the monitor whose :meth:`to_bytes` gave these bytes.

        Parameters
        ----------
        state : bytes
            The state.

        Returns
        -------
        Monitor
            An equal one.

        Raises
        ------
        InputError
            If the bytes are not the state of a monitor, or are damaged.
        """
        try:
            if not state.startswith(_MAGIC):
                raise ValueError("another beginning")
            held = json.loads(zlib.decompress(state[len(_MAGIC) :]))
            declared = held["declared"]
            values, span = declared["reward_values"], declared["reward_range"]
            monitor = cls(
                reward_range=None if span is None or values is not None else (float(span[0]), float(span[1])),
                reward_values=None if values is None else [float(value) for value in values],
                level=declared["level"],
                spacing=declared["spacing"],
            )
            for label, cells, counts in held["counts"]:
                monitor._hold(label, cells, counts)
        except (
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
            zlib.error,
        ) as reason:
            raise InputError(
                f"these bytes are not the state of a monitor, or are damaged ({reason})."
            ) from reason
        return monitor

    def __repr__(self) -> str:
        return f"Monitor({len(self._cells)} prompts, {int(self.n.sum())} rewards, level {self.level:g})"

    def _hold(self, label: Label, cells: list[int], counts: list[int]) -> None:
        """Take over the counts of one prompt from a stored state, or refuse them."""
        whole = all(type(x) is int for x in (*cells, *counts))
        if type(label) not in (str, int) or label in self._cells or not whole or not cells:
            raise ValueError(f"prompt {label!r}")
        known = range(len(self._values)) if self._values is not None else range(_HARD, -_HARD)
        if len(set(cells)) < len(cells) or any(cell not in known for cell in cells):
            raise ValueError(f"cells of prompt {label!r}")
        if any(not 0 < count < 1 << 53 for count in counts):
            raise ValueError(f"counts of prompt {label!r}")
        self._refuse_other_labels([label])
        self._cells[label] = dict(zip(cells, counts, strict=True))

    def _refuse_other_labels(self, labels: Sequence[Label]) -> None:
        """Refuse text beside whole numbers, which would look alike when printed."""
        held = next(iter(self._cells), labels[0] if labels else 0)
        for label in labels:
            if isinstance(label, str) != isinstance(held, str):
                raise InputError(
                    f"prompt labels must be all strings or all integers; found {label!r} beside {held!r}."
                )

    def _listed(self, prompts: Iterable[Label]) -> list[Label]:
        labels = [prompts] if isinstance(prompts, str) or not isinstance(prompts, Iterable) else list(prompts)
        for label in labels:
            if isinstance(label, bool) or not isinstance(label, str | int | np.integer):
                raise InputError(f"prompts must be labels, strings or integers; found {label!r}.")
        return list(dict.fromkeys(label if isinstance(label, str) else int(label) for label in labels))

    def _declared(self) -> dict[str, Any]:
        values = None if self._values is None else [repr(value) for value in self._values]
        span = None if self._range is None else [repr(end) for end in self._range]
        return {"reward_values": values, "reward_range": span, "level": self.level, "spacing": self._spacing}

    def _cells_of(self, reward: Floats) -> Ints:
        """Return the cell of each reward: even numbers are grid points, odd ones the gaps between them."""
        wrong = np.isnan(reward) | (reward == np.inf)
        what = "a reward must be a number or -inf, never NaN or +inf"
        if self._values is not None and not np.any(wrong):
            wrong, what = (
                ~np.isin(reward, self._values),
                f"every reward must be one of the declared {self._values}",
            )
        elif self._range is not None and not np.any(wrong):
            wrong = (reward < self._range[0]) | (reward > self._range[1])
            what = f"every reward must lie in the declared range [{self._range[0]:g}, {self._range[1]:g}]"
        if np.any(wrong):
            first = int(np.argmax(wrong))
            raise InputError(f"{what}; found {reward[first]:g} at position {first}. Nothing was added.")
        if self._values is not None:
            return np.searchsorted(np.asarray(self._values), reward).astype(np.int64)
        hard = np.isneginf(reward)
        finite = np.where(hard, self._origin, reward)
        if np.any(np.abs(finite) > _SPACING * self._spacing * 2.0**62):
            raise InputError(
                f"rewards of size {np.max(np.abs(finite)):g} need a coarser grid than {self._spacing:g}; give spacing=."
            )
        below = np.floor((finite - self._origin) / self._spacing)
        # The quotient is rounded, so that it may lie on the wrong side of a grid point.
        below = below - (self._grid(below) > finite)
        below = below + (self._grid(below + 1) <= finite)
        on = self._grid(below) == finite
        return np.where(hard, _HARD, 2 * below + np.where(on, 0, 1)).astype(np.int64)

    def _grid(self, i: Floats) -> Floats:
        return self._origin + i * self._spacing

    def _ends(self, cell: Ints) -> tuple[Floats, Floats]:
        """Return the least and greatest reward that each cell stands for."""
        if self._values is not None:
            values = np.asarray(self._values)[cell]
            return values, values
        below = np.floor_divide(cell, 2).astype(np.float64)
        low, high = self._grid(below), self._grid(below + cell % 2)
        if self._range is not None:
            low, high = np.maximum(low, self._range[0]), np.minimum(high, self._range[1])
        hard = cell == _HARD
        return np.where(hard, -np.inf, low), np.where(hard, -np.inf, high)

    def _equal(self) -> npt.NDArray[np.bool_]:
        """Whether all rewards of a prompt are known to be equal: in one cell, which is no gap of the grid."""
        exact = self._values is not None
        cells = self._cells.values()
        return np.array([len(held) == 1 and (exact or next(iter(held)) % 2 == 0) for held in cells])

    def _arrays(self) -> tuple[Ints, Floats, Ints]:
        cell = np.array([cell for cells in self._cells.values() for cell in sorted(cells)], dtype=np.int64)
        count = np.array(
            [cells[cell] for cells in self._cells.values() for cell in sorted(cells)], dtype=np.float64
        )
        return cell, count, np.concatenate([[0], np.cumsum([len(cells) for cells in self._cells.values()])])

    def _reduced(self, value: Floats, count: Floats, start: Ints, betas: Floats) -> Any:
        size = np.add.reduceat(count, start[:-1])
        log_mass = np.log(count / np.repeat(size, np.diff(start)))
        columns = Columns(reward=value, log_mass=log_mass, log_count=None, start=start, normalised=True)
        return reduce_groups(columns, betas[None, :])

    def _notes(self) -> tuple[str, ...]:
        notes = ["limits hold at every number of samples, so looking and stopping are free"]
        if self.spacing:
            notes.append(
                f"rewards are kept on a grid of spacing {number(self.spacing)}, which costs at most "
                f"{number(self.spacing)}/beta nats at either end"
            )
        if self._range is None:
            notes.append(
                "no upper limit: declare reward_values=(...) or reward_range=(low, high) if you know them"
            )
        return tuple(notes)


def _checked_spacing(spacing: float | None, reward_range: tuple[float, float] | None) -> float:
    if spacing is None:
        width = 1.0 if reward_range is None else reward_range[1] - reward_range[0]
        return _SPACING * (width if np.isfinite(width) and width > 0 else 1.0)
    if (
        isinstance(spacing, bool)
        or not isinstance(spacing, int | float | np.number)
        or not 0 < spacing < np.inf
    ):
        raise InputError(f"spacing must be a positive number in units of reward; found {spacing!r}.")
    return float(spacing)


def _label_array(labels: Sequence[Label]) -> npt.NDArray[Any]:
    array = np.empty(len(labels), dtype=object)
    array[:] = labels
    return array
