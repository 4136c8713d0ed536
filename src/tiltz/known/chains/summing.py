"""log Z of Markov references with rewards that add up over the steps, or that an automaton reads off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.inference.request import checked_betas
from tiltz.known.chains import columns, endless
from tiltz.known.chains.fixed import Answer, by_segments, squares
from tiltz.known.chains.powers import from_powers
from tiltz.known.chains.process import ENDED
from tiltz.known.chains.references import HiddenMarkov, Markov
from tiltz.known.chains.reward import as_reward, check_fits
from tiltz.known.chains.tilting import tilted
from tiltz.known.chains.walk import Walk, walk
from tiltz.known.result import Known

Floats = npt.NDArray[np.float64]

_LARGE_TILT = 0.1  # nats between the rewards of a step, from which sums of exponentials are tried first
_SMALL = 8  # states up to which segments are fast,
_FEW = 20_000_000  # with so many triples of states over all steps and betas


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class KnownChain(Known):
    """log Z of Markov references, one prompt per chain, and the tilted references themselves.

    Attributes
    ----------
    reference : Markov or HiddenMarkov
        What was tilted.
    walks : tuple
        Its chains with their rewards.
    """

    reference: Markov | HiddenMarkov
    walks: tuple[Walk, ...]

    def tilted(self, beta: float | None = None) -> Markov | HiddenMarkov:
        """Return the tilted reference, a Markov chain again.

        Parameters
        ----------
        beta : float, optional
            KL coefficient; by default the one of this result, if it has one.

        Returns
        -------
        Markov or HiddenMarkov
            With transitions of each step where the length is fixed or limited, else with constant ones. Hidden where
            the reference is, or where an automaton was read: its states are then part of what is hidden.

        Raises
        ------
        InputError
            If the result has several betas and none is given, or Z is 0 or infinite there.

        Examples
        --------
        >>> coin = Markov([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]], length=3)
        >>> chain(coin, [0.0, 1.0], beta=0.5).tilted().marginals().round(3)
        array([[0.019, 0.981],
               [0.008, 0.992],
               [0.019, 0.981]])
        """
        if beta is None and len(self.beta) != 1:
            raise InputError(f"the result has {len(self.beta)} betas; say which one, as tilted(beta=...).")
        b = float(checked_betas(self.beta if beta is None else beta)[0])
        at = chain_answers(self.walks, np.array([b]))[0]
        wrong = [i for i, answer in enumerate(at) if not np.isfinite(answer.log_z[0])]
        if wrong:
            raise InputError(
                f"there is no tilted law where Z is 0 or infinite; log Z of {self.prompt[wrong[0]]} is "
                f"{at[wrong[0]].log_z[0]} at beta {b:.6g}."
            )
        plain = isinstance(self.reference, Markov) and all(_is_plain(w) for w in self.walks)
        return tilted(list(self.walks), b, plain=plain, batch=self.reference.initial.ndim == 2)


def chain(
    reference: Markov | HiddenMarkov,
    reward: Any,
    beta: float | npt.ArrayLike,
    *,
    prompt: Sequence[Any] | None = None,
) -> KnownChain:
    """Sum Z over every sequence of a Markov reference.

    Parameters
    ----------
    reference : Markov or HiddenMarkov
        One chain, or several side by side.
    reward : array_like, AdditiveReward or Automaton
        An array of shape (n_symbols,) is earned at every symbol, one of shape (length, n_symbols) at that of each
        step; sums of rewards are written with ``+``. ``-inf`` is a hard constraint.
    beta : float or array_like, shape (n_betas,)
        KL coefficients, > 0, in reward per nat.
    prompt : sequence, optional
        Labels of the chains; by default 0, 1, ...

    Returns
    -------
    KnownChain
        Arrays of shape (n_chains, n_betas). Where the length has no limit, log Z may be ``inf``; ``reason`` then says
        why, and ``beta_min`` where.

    Raises
    ------
    InputError
        If the reward does not fit the chain, or a value is not legal.

    Notes
    -----
    Exact but for rounding, of which ``error`` is a bound. A fixed length is summed backwards,
    exp(V_i) = sum over j of P_ij exp(r_j / beta + V_j); divergences are sums over the steps of terms of one sign, right
    in relative digits at every beta. Constant transitions and rewards are joined by repeated squaring, in the log of
    the length. A length without limit is the solution of a linear system; Z is infinite where the matrix
    P_ij exp(r_j / beta) has a spectral radius of 1 or more, which happens below ``beta_min`` exactly if a cycle of
    states has a positive reward (beyond rounding).

    References
    ----------
    .. [1] L. R. Rabiner, "A tutorial on hidden Markov models", Proc. IEEE 77 (1989), 257-286.

    Examples
    --------
    A token that earns 0.4, one that costs 1, and an end with probability 0.3; below beta = 0.61 the sum diverges:

    >>> tokens = Markov([0.5, 0.2], [[0.5, 0.2], [0.5, 0.2]], end=[0.3, 0.3], empty=0.3)
    >>> known = chain(tokens, [0.4, -1.0], beta=[1.0, 0.5])
    >>> known.log_z.round(6)
    array([[0.507987,      inf]])
    >>> float(known.beta_min[0].round(6))
    0.612271
    """
    if not isinstance(reference, Markov | HiddenMarkov):
        raise InputError(
            f"reference must be a tiltz.known.Markov or a tiltz.known.HiddenMarkov; found {reference!r:.80}."
        )
    betas, additive, processes = checked_betas(beta), as_reward(reward), reference.processes()
    check_fits(additive, processes[0].n_symbols, reference.length)
    labels = list(range(len(processes))) if prompt is None else list(prompt)
    if len(labels) != len(processes):
        raise InputError(f"prompt must have one label per chain, {len(processes)}; found {len(labels)}.")
    walks = tuple(walk(process, additive) for process in processes)
    answers, reasons, least = chain_answers(walks, betas)
    arrays: dict[str, Any] = {
        name: np.stack([getattr(a, name) for a in answers]) for name in Answer.__slots__
    }
    return KnownChain.of(
        beta=betas,
        **arrays,
        beta_min=least,
        reason=np.array(reasons, dtype=object),
        prompt=labels,
        reference=reference,
        walks=walks,
    )


def chain_answers(walks: tuple[Walk, ...], beta: Floats) -> tuple[list[Answer], list[list[str]], list[float]]:
    """Return the answer of each chain, why Z is infinite at each beta, and the least beta."""
    answers, reasons, least = [], [], []
    with np.errstate(all="ignore"):
        for one in walks:
            if one.process.length is None:
                steps = endless.graph(one)
                found, why = endless.answer(steps, beta)
                answers.append(found)
                reasons.append(why)
                least.append(steps.beta_min)
            else:
                answers.append(_limited(one, beta))
                reasons.append([""] * len(beta))
                least.append(0.0)
    return answers, reasons, least


def _limited(one: Walk, beta: Floats) -> Answer:
    """Return the answer of a chain of fixed or limited length, in the fastest way that keeps its digits."""
    n, length = len(one.first), one.process.length
    assert length is not None
    if n <= _SMALL and (one.homogeneous or length * n**3 * len(beta) <= _FEW):
        return by_segments(one, beta)
    found = {name: np.empty(len(beta)) for name in Answer.__slots__}
    left = np.ones(len(beta), dtype=bool)
    for way, worth in _ways(one, beta):
        _fill(found, left, left & worth, lambda at, way=way: way(one, beta[at]))
    _fill(found, left, left, lambda at: (by_segments(one, beta[at]), np.ones(len(at), dtype=bool)))
    return Answer(**found)


def _ways(one: Walk, beta: Floats) -> list[tuple[Any, npt.NDArray[np.bool_]]]:
    """Return fast ways to sum a chain, in the order in which to try them, and the betas worth trying."""
    earned = one.gain[one.gain > -np.inf]
    spread = float(np.max(earned) - np.min(earned)) if earned.size else 0.0
    large = beta * _LARGE_TILT < spread
    if squares(one):
        return [(from_powers, large)]
    if not one.by_state:
        return []
    forbids = any(np.any(np.isneginf(reward)) for reward in (one.first, one.gain, one.last))
    return [(columns.from_top, large), *([] if forbids else [(columns.from_mean, np.ones_like(large))])]


def _fill(
    found: dict[str, Floats], left: npt.NDArray[np.bool_], which: npt.NDArray[np.bool_], way: Any
) -> None:
    """Write what a way finds for some betas where it can be trusted, and take those off the list."""
    where = np.flatnonzero(which)
    if len(where) == 0:
        return
    answer, sound = way(where)
    for name, values in found.items():
        values[where[sound]] = getattr(answer, name)[sound]
    left[where[sound]] = False


def _is_plain(one: Walk) -> bool:
    """Whether every state is one symbol, and every symbol one state."""
    symbol = one.process.symbol
    return np.array_equal(symbol[symbol != ENDED], np.arange(one.process.n_symbols))
