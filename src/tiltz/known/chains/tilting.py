"""The tilted chain: the transitions of a reference after they are tilted by what is still to come."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.known.chains import endless
from tiltz.known.chains.fixed import end, first_step, step_after
from tiltz.known.chains.process import ENDED
from tiltz.known.chains.references import HiddenMarkov, Markov
from tiltz.known.chains.segment import Segment, joined, tilt, tilt_exponent
from tiltz.known.chains.walk import Walk

Floats = npt.NDArray[np.float64]

_MOST = 4 * 2**30  # bytes of transitions


def tilted(walks: list[Walk], beta: float, *, plain: bool, batch: bool) -> Markov | HiddenMarkov:
    """Return the tilted law of every chain at one beta.

    Parameters
    ----------
    walks : list of Walk
        One per chain.
    beta : float
        KL coefficient.
    plain : bool
        Whether states are symbols, so that the tilted law is a Markov chain of symbols too.
    batch : bool
        Whether the chains come with an axis of their own.

    Notes
    -----
    Q(j | i) = P(j | i) exp((reward of the step + soft value at j - soft value at i) / beta): Doob's transform.
    """
    with np.errstate(all="ignore"):
        parts = [_endless(w, beta) if w.process.length is None else _fixed(w, beta) for w in walks]
    if not plain and any(not np.array_equal(w.process.symbol, walks[0].process.symbol) for w in walks):
        raise InputError(
            "chains whose automata reach different states cannot stand side by side; tilt them one at a time."
        )
    arrays = {
        name: _stacked([p[name] for p in parts], batch) for name in ("initial", "transition", "end", "empty")
    }
    more: dict[str, Any] = {"length": walks[0].process.length}
    if arrays["end"] is not None:
        more |= {"end": arrays["end"], "empty": arrays["empty"]}
    if plain:
        return Markov(arrays["initial"], arrays["transition"], **more)
    process = walks[0].process
    shown = process.symbol[process.symbol != ENDED]
    emission = (shown[:, None] == np.arange(process.n_symbols)).astype(np.float64)
    return HiddenMarkov(arrays["initial"], arrays["transition"], emission, **more)


def _fixed(walk: Walk, beta: float) -> dict[str, Any]:
    process, n, t = walk.process, len(walk.first), np.array([1.0 / beta])
    assert process.length is not None
    size = 8 * (process.length - 1) * n * n
    if size > _MOST:
        raise InputError(
            f"the transitions of the tilted chain differ at each of {process.length:,} steps, and would take "
            f"{size / 2**30:.1f} GiB. Take a shorter chain."
        )
    tail = end(walk, 1)
    transition = np.empty((process.length - 1, n, n))
    for step in range(process.length - 2, -1, -1):
        segment = step_after(walk, step, 1)
        transition[step] = _rows(segment, tail, t, process.transition_at(step))
        tail = joined(segment, tail, t)
    initial = _rows(first_step(walk, 1), tail, t, process.initial[None])[0]
    over = process.symbol == ENDED
    if not np.any(over):
        return {"initial": initial, "transition": transition, "end": None, "empty": 0.0}
    return {
        "initial": initial[~over],
        "transition": transition[:, ~over][:, :, ~over],
        "end": transition[:, ~over][:, :, over].sum(axis=-1),
        "empty": float(np.sum(initial[over])),
    }


def _rows(step: Segment, tail: Segment, t: Floats, reference: Floats) -> Floats:
    """Return tilted transitions; a state from which every path is forbidden keeps those of the reference."""
    reward = step.top + tail.top[:, 0]
    top = np.max(reward, axis=1, keepdims=True)
    drop = (reward - np.where(top > -np.inf, top, 0.0))[:, :, None]
    ahead = (step.log_tilt + tail.log_tilt[:, :, 0][:, None, :])[..., None]
    _, x, _ = tilt(step.log_prob[:, :, None], tilt_exponent(drop, ahead, t))
    rows = np.where(x > -np.inf, reference[:, :, None] * np.exp(x), 0.0)[0, :, :, 0]
    return _or_reference(rows, reference)


def _endless(walk: Walk, beta: float) -> dict[str, Any]:
    steps, n = endless.graph(walk), len(walk.first)
    solution = endless.solve(steps, beta)
    if solution is None:
        raise InputError(f"there is no tilted law at beta {beta:.6g}, where Z is infinite.")
    process = walk.process
    whole = np.zeros((n + 1, n + 1))
    whole[:n, :n], whole[:n, n] = process.transition, process.end_at(0)
    rows = _or_reference(np.where(steps.prob > 0, steps.prob * np.exp(solution.x), 0.0), whole)
    return {
        "initial": rows[n, :n],
        "transition": rows[:n, :n],
        "end": rows[:n, n],
        "empty": float(rows[n, n]),
    }


def _or_reference(rows: Floats, reference: Floats) -> Floats:
    total = np.sum(rows, axis=1, keepdims=True)
    return np.where(total > 0.5, rows / np.where(total > 0, total, 1.0), reference)


def _stacked(arrays: list[Any], batch: bool) -> Any:
    if arrays[0] is None or not batch:
        return arrays[0]
    return np.stack(arrays)
