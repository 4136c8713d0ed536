"""Sequences of a chain: how probable each is, all of them, draws, and what stands at each step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.known.chains.process import ENDED, Process, absorbed, occupied, visits

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST = 1_000_000
"""Sequences that are listed at most."""


def marginals(process: Process) -> Floats:
    """Return the probability of each symbol at each step, or expected counts where nothing bounds the length."""
    if process.length is None:
        return _by_symbol(visits(process), process)
    fixed = absorbed(process)
    return _by_symbol(occupied(fixed), fixed)


def pairwise(process: Process) -> Floats:
    """Return the probability of each pair of symbols, or expected counts where nothing bounds the length."""
    if process.length is None:
        return _by_pair(visits(process)[:, None] * process.transition, process)
    fixed = absorbed(process)
    before = occupied(fixed)[:-1]
    if fixed.symbol.size == fixed.n_symbols:
        return before[:, :, None] * fixed.transition
    found = np.empty((len(before), fixed.n_symbols, fixed.n_symbols))
    for step, row in enumerate(before):
        found[step] = _by_pair(row[:, None] * fixed.transition_at(step), fixed)
    return found


def log_prob(process: Process, symbols: Ints) -> Floats:
    """Return log-probabilities of sequences, shape (n_paths,), by summing over the states that show them."""
    n_paths, n_steps = symbols.shape
    found = np.zeros(n_paths)
    mass = np.tile(process.initial, (n_paths, 1))
    over = symbols[:, 0] == ENDED if n_steps else np.ones(n_paths, dtype=bool)
    with np.errstate(divide="ignore"):
        found[over] = np.log(process.empty)
    if n_steps and process.length is not None and n_steps > process.length:
        too_long = symbols[:, process.length] != ENDED
        found[too_long], over = -np.inf, over | too_long
        n_steps = process.length
    for step in range(n_steps):
        mass = mass * (process.symbol == symbols[:, step, None])
        following = symbols[:, step + 1] if step + 1 < n_steps else np.full(n_paths, ENDED)
        ends = ~over & (following == ENDED)
        _finish(found, mass, ends, _ending(process, step))
        over = over | ends
        going = ~over
        if not np.any(going):
            break
        scale = np.sum(mass[going], axis=1, keepdims=True)
        with np.errstate(divide="ignore"):
            found[going] += np.log(scale[:, 0])
        mass[going] = (mass[going] / np.where(scale > 0, scale, 1.0)) @ process.transition_at(step)
    return found


def every_path(process: Process, n_chains: int) -> Ints:
    """Return every sequence of symbols, shape (n_paths, length); -1 after the end."""
    length, n = process.length, process.n_symbols
    if length is None:
        raise InputError(
            "a chain without a limit to its length has infinitely many sequences; give it a length to list them, or "
            "use tiltz.known.chain, which sums over them."
        )
    lengths = [length] if process.end is None else list(range(length + 1))
    n_paths = sum(n**steps for steps in lengths)
    if n_paths * n_chains > MOST:
        raise InputError(
            f"a table of all sequences may have at most {MOST:,} rows; these are "
            f"{n_paths * n_chains if length < 300 else float('inf'):,} sequences. tiltz.known.chain sums "
            "over them without listing them."
        )
    blocks = []
    for steps in lengths:
        code = np.arange(n**steps)[:, None] // n ** np.arange(steps - 1, -1, -1, dtype=np.int64) % n
        blocks.append(np.pad(code, ((0, 0), (0, length - steps)), constant_values=ENDED))
    return np.concatenate(blocks).astype(np.int64)


def sample(process: Process, n: int, rng: np.random.Generator) -> Ints:
    """Draw sequences of symbols, shape (n, n_steps); -1 after the end."""
    states = len(process.initial)
    current = _drawn(np.append(process.initial, process.empty)[None], np.zeros(n, dtype=np.int64), rng)
    symbol = np.append(process.symbol, ENDED)
    columns, step = [symbol[current]], 0
    while np.any(current < states) and (process.length is None or step + 1 < process.length):
        table = np.zeros((states + 1, states + 1))
        table[:states, :states], table[:states, states] = process.transition_at(step), process.end_at(step)
        table[states, states] = 1.0
        current = _drawn(table, current, rng)
        columns.append(symbol[current])
        step += 1
    found = np.stack(columns, axis=1)
    if process.length is None:
        return found[:, : int(np.sum(np.any(found != ENDED, axis=0)))]
    return np.pad(found, ((0, 0), (0, process.length - found.shape[1])), constant_values=ENDED)


def checked_paths(values: npt.ArrayLike, n_symbols: int) -> Ints:
    """Return sequences as integers, shape (n_paths, n_steps), or refuse them."""
    what = f"paths must be an array of symbols, shape (n_paths, n_steps), integers below {n_symbols} or -1 after an end"
    try:
        given = np.asarray(values)
    except ValueError as reason:
        raise InputError(f"{what}; found rows of different lengths.") from reason
    if given.ndim != 2 or given.dtype.kind not in "iu":
        raise InputError(f"{what}; found an array of {given.dtype} of shape {given.shape}.")
    wrong = (given < ENDED) | (given >= n_symbols)
    wrong[:, 1:] |= (given[:, :-1] == ENDED) & (given[:, 1:] != ENDED)
    if np.any(wrong):
        row, step = np.argwhere(wrong)[0]
        raise InputError(f"{what}; found {given[row, step]} in row {row} at step {step}.")
    return given.astype(np.int64)


def _ending(process: Process, step: int) -> Floats:
    """Return the probability that nothing follows step ``step``."""
    if process.length is not None and step == process.length - 1:
        return np.ones(len(process.initial))
    return process.end_at(step)


def _finish(found: Floats, mass: Floats, which: npt.NDArray[np.bool_], ending: Floats) -> None:
    with np.errstate(divide="ignore"):
        found[which] += np.log(mass[which] @ ending)


def _drawn(table: Floats, current: Ints, rng: np.random.Generator) -> Ints:
    """Draw one column of the row of each, with one uniform each."""
    cumulated = np.cumsum(table, axis=1)
    found = np.empty_like(current)
    uniform = rng.random(len(current))
    order = np.argsort(current, kind="stable")
    for row, part in zip(*_runs(current[order]), strict=True):
        who = order[part]
        last = int(np.flatnonzero(table[row])[-1])
        at = np.searchsorted(cumulated[row], uniform[who] * cumulated[row, -1], side="right")
        found[who] = np.minimum(at, last)
    return found


def _runs(values: Ints) -> tuple[list[int], list[slice]]:
    """Return the distinct values of a sorted array, and where each stands."""
    distinct, start = np.unique(values, return_index=True)
    ends = np.append(start[1:], len(values))
    return distinct.tolist(), [slice(int(a), int(b)) for a, b in zip(start, ends, strict=True)]


def _by_symbol(states: Floats, process: Process) -> Floats:
    """Return sums over the states that show each symbol, over the last axis."""
    return states @ _shows(process)


def _by_pair(states: Floats, process: Process) -> Floats:
    shows = _shows(process)
    return shows.T @ states @ shows


def _shows(process: Process) -> Floats:
    return (process.symbol[:, None] == np.arange(process.n_symbols)).astype(np.float64)
