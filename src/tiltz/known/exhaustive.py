"""Sums over all outcomes of a finite domain, streamed in blocks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.checks import MASS_TOLERANCE, as_floats
from tiltz.errors import InputError
from tiltz.inference.request import checked_betas
from tiltz.kernels import Columns, reduce_groups
from tiltz.known.log_sum import log_sum
from tiltz.known.result import Known
from tiltz.laws.parts import CURVES, Curves, joined

Floats = npt.NDArray[np.float64]


def sum_over(
    outcomes: Iterable[Any],
    reward: Callable[[Any], npt.ArrayLike],
    beta: float | npt.ArrayLike,
    *,
    log_ref: Callable[[Any], npt.ArrayLike] | None = None,
    renormalise: bool = False,
    in_blocks: bool = False,
    block_size: int = 1 << 17,
    progress: Callable[[int], None] | None = None,
) -> Known:
    """Sum Z over every outcome of a finite domain, in memory that does not grow with it.

    Parameters
    ----------
    outcomes : iterable
        Every outcome once: permutations, answers, spin states, ... An array is taken row by row, and a ``range`` in
        arrays of integers, which is the fastest: let ``reward`` decode them.
    reward : callable
        Takes a block of ``m`` outcomes, an array of shape (m, ...) where NumPy can make one of numbers, else a list;
        returns their rewards, shape (m,). ``-inf`` is a hard constraint.
    beta : float or array_like, shape (n_betas,)
        KL coefficients, > 0, in reward per nat.
    log_ref : callable, optional
        Takes the same block, returns log-probabilities under the reference, in nats, shape (m,). Left out, all
        outcomes are equally probable.
    renormalise : bool, default False
        Divide by the total mass instead of refusing one that is not 1 within 1e-9.
    in_blocks : bool, default False
        Whether ``outcomes`` yields blocks already, each an array or a list of outcomes.
    block_size : int
        Outcomes in memory at once.
    progress : callable, optional
        Told after each block how many outcomes have been summed.

    Returns
    -------
    Known
        One prompt; ``n`` is the number of outcomes.

    Raises
    ------
    InputError
        If the masses do not sum to 1, a value is not legal (naming the outcome), or there is no outcome.

    Notes
    -----
    Exact. Every block is reduced on its own, with pairwise sums, their masses are added without rounding, and they are
    joined as the parts of a mixture are, by sums of terms of one sign: also the KL at a huge beta keeps its digits.

    Examples
    --------
    Fixed points of permutations of six things; Z = sum over k of (e^(1/beta) - 1)^k / k!, k = 0 ... 6:

    >>> import itertools, numpy as np
    >>> from tiltz.known import sum_over
    >>> fixed_points = lambda block: (block == np.arange(6)).sum(axis=1)
    >>> known = sum_over(itertools.permutations(range(6)), fixed_points, beta=0.5)
    >>> round(float(known), 9), known.n
    (5.780369535, array([720]))
    """
    betas = checked_betas(beta)
    total = _Sum(betas)
    for block in _blocks(outcomes, in_blocks, _checked_size(block_size)):
        rewards = _values(reward, block, "reward", total.n)
        log_mass = np.zeros(len(rewards)) if log_ref is None else _values(log_ref, block, "log_ref", total.n)
        total.add(rewards, log_mass)
        if progress is not None:
            progress(total.n)
    return total.known(renormalise=renormalise or log_ref is None)


class _Sum:
    """The blocks so far: of each its mass and its curves, given that the outcome is in it and allowed."""

    def __init__(self, beta: Floats) -> None:
        self.beta, self.n = beta, 0
        self.log_mass: list[float] = []
        self.log_forbidden: list[float] = []
        self.curves: list[Curves] = []
        self.square: list[Floats] = []  # mean squared weight over the squared mean weight

    def add(self, reward: Floats, log_mass: Floats) -> None:
        """Reduce one block."""
        self.n += len(reward)
        forbidden = reward == -np.inf
        if np.any(forbidden):
            self.log_forbidden.append(float(log_sum(log_mass[forbidden])))
            reward, log_mass = reward[~forbidden], log_mass[~forbidden]
        total = float(log_sum(log_mass))
        if total == -np.inf:
            return
        columns = Columns(
            reward=reward,
            log_mass=log_mass - total,
            log_count=None,
            start=np.array([0, len(reward)]),
            normalised=True,
        )
        reduced = reduce_groups(columns, self.beta[None, :], moments=True)
        occurs = columns.log_mass > -np.inf
        first = float(reward[np.argmax(occurs)])
        offset = np.where(occurs, reward - first, 0.0)
        self.log_mass.append(total)
        self.curves.append(
            Curves(
                mean=first + float(np.sum(np.exp(columns.log_mass) * offset)),
                **{name: getattr(reduced, name)[0] for name in CURVES},
            )
        )
        self.square.append(1 + reduced.relative_sd[0] ** 2)

    def known(self, *, renormalise: bool) -> Known:
        """Return the result over all blocks."""
        log_allowed, log_forbidden = (_log_fsum(part) for part in (self.log_mass, self.log_forbidden))
        log_all = _log_fsum([log_allowed, log_forbidden])
        if self.n == 0 or log_all == -np.inf:
            raise InputError(
                f"a sum needs an outcome of reference mass above 0; found none among {self.n:,} outcomes."
            )
        if not renormalise and not abs(math.expm1(min(log_all, 700.0))) <= MASS_TOLERANCE:
            raise InputError(
                f"the outcomes must have reference mass 1 within {MASS_TOLERANCE:g}; the {self.n:,} outcomes have mass "
                f"{math.exp(min(log_all, 700.0)):.12g}. If some were left out, or came twice, mend the iterable; if "
                "log_ref is unnormalised, pass renormalise=True."
            )
        if log_allowed == -np.inf:
            return self._nothing_allowed()
        parts = Curves(
            mean=np.array([c.mean for c in self.curves]),
            **{name: np.stack([getattr(c, name) for c in self.curves], axis=-1) for name in CURVES},
        )
        log_mass = np.array(self.log_mass) - log_allowed
        whole, tilt = joined(log_mass, parts, self.beta)
        log_prob = log_allowed - log_all
        with np.errstate(over="ignore"):
            square = np.sum(tilt.tilted * np.exp(tilt.x) * np.stack(self.square, axis=-1), axis=-1)
            log_z = whole.soft_value / self.beta + log_prob
        return self._known(
            log_z=log_z,
            soft_value=whole.soft_value + self.beta * log_prob,
            mean_reward=whole.mean_reward,
            kl=whole.kl - log_prob,
            kl_reverse=whole.kl_reverse if log_forbidden == -np.inf else np.full(len(self.beta), np.inf),
            ess=self.n * math.exp(log_prob) / square,
        )

    def _nothing_allowed(self) -> Known:
        minus, unknown = np.full(len(self.beta), -np.inf), np.full(len(self.beta), np.nan)
        return self._known(
            log_z=minus, soft_value=minus, mean_reward=unknown, kl=unknown, kl_reverse=unknown, ess=unknown
        )

    def _known(self, *, ess: Floats, **curves: Floats) -> Known:
        rows: dict[str, Any] = {name: values[None, :] for name, values in curves.items()}
        return Known.of(
            beta=self.beta,
            **rows,
            error=_ROUNDING * np.maximum(1.0, np.abs(curves["log_z"]))[None, :],
            beta_min=0.0,
            ess=ess[None, :],
            n=self.n,
        )


_ROUNDING = 32 * float(np.finfo(np.float64).eps)  # relative: pairwise sums of positive terms


def _log_fsum(logs: list[float]) -> float:
    """Return the log of a sum of exponentials, summed without rounding."""
    top = max(logs, default=-math.inf)
    return top if top == -math.inf else top + math.log(math.fsum(math.exp(x - top) for x in logs))


def _checked_size(block_size: int) -> int:
    if isinstance(block_size, bool) or not isinstance(block_size, int | np.integer) or block_size < 1:
        raise InputError(f"block_size must be a positive number of outcomes; found {block_size!r}.")
    return int(block_size)


def _blocks(outcomes: Iterable[Any], in_blocks: bool, size: int) -> Iterator[Any]:
    """Yield blocks of at most ``size`` outcomes (or as given)."""
    if in_blocks:
        yield from (_as_block(block) for block in outcomes if len(block))
    elif isinstance(outcomes, range):
        for first in range(0, len(outcomes), size):
            part = outcomes[first : first + size]
            yield np.arange(part.start, part.stop, part.step)
    elif isinstance(outcomes, np.ndarray):
        yield from (outcomes[first : first + size] for first in range(0, len(outcomes), size))
    else:
        try:
            rest = iter(outcomes)
        except TypeError as reason:
            raise InputError(
                f"outcomes must be an iterable over the whole domain, such as range(2**16); found {outcomes!r}."
            ) from reason
        while block := list(itertools.islice(rest, size)):
            yield _as_block(block)


def _as_block(block: Any) -> Any:
    """Return an array where outcomes are numbers or equally long rows of them, else a list."""
    if isinstance(block, np.ndarray):
        return block
    try:
        array = np.array(block)
    except ValueError:
        return block
    return array if array.dtype.kind in "biuf" else block


def _values(function: Callable[[Any], npt.ArrayLike], block: Any, name: str, before: int) -> Floats:
    """Return what a function says of a block, checked: one number per outcome, neither NaN nor +inf."""
    values = as_floats(function(block), name)
    if values.shape != (len(block),):
        raise InputError(
            f"{name} must return one number for each outcome of a block, shape ({len(block)},); found shape "
            f"{values.shape}."
        )
    wrong = np.isnan(values) | (values == np.inf)
    if np.any(wrong):
        first = int(np.argmax(wrong))
        raise InputError(
            f"{name} must be a number or -inf for every outcome; found {values[first]:g} for outcome "
            f"{before + first:,}, {block[first]!r:.80}."
        )
    return values
