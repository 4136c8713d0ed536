"""The tilted distribution over the rows of a table, and draws from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.inference.request import check_table, checked_betas
from tiltz.kernels import log_ratios, reduce_groups
from tiltz.outcomes import Outcomes
from tiltz.text import count, number

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Uniforms(Protocol):
    """What :meth:`Tilted.sample` needs of a generator: ``random(size)`` gives independent uniforms on [0, 1)."""

    random: Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Tilted:
    """The tilted policy over the rows of a table.

    Attributes
    ----------
    prob, log_prob : array, shape (n_rows,) or (n_rows, n_betas)
        Tilted probability of each row within its prompt, rows in the order given; one column per beta if several
        betas were asked for. Samples: self-normalised weights. Partial tables: given that the outcome is listed.
    mean_reward, kl, kl_reverse, ess : array, shape (n_prompts, n_betas)
        Tilted mean reward; KL(tilted || reference) and KL(reference || tilted) in nats; Kish effective sample size.
        Plug-in values where the table is sampled; importance weights are then self-normalised.
    prompt : array, shape (n_prompts,)
        Labels.
    beta : array, shape (n_betas,)
        KL coefficients, in reward per nat.
    outcomes : Outcomes
        The table.
    """

    prob: Floats
    log_prob: Floats
    mean_reward: Floats
    kl: Floats
    kl_reverse: Floats
    ess: Floats
    prompt: npt.NDArray[Any]
    beta: Floats
    outcomes: Outcomes

    def sample(self, n: int, *, rng: Uniforms) -> Ints:
        """Draw rows from the tilted policy, with replacement.

        Parameters
        ----------
        n : int
            Draws per prompt.
        rng : numpy.random.Generator
            Source of randomness; one uniform is used per draw.

        Returns
        -------
        int array, shape (n_prompts * n,)
            Indices into the rows of the table, prompt by prompt.

        Raises
        ------
        InputError
            If the tilt was made for several betas, or ``n`` is not a positive integer.

        Notes
        -----
        Exact for complete tables. For samples it is resampling: consistent in their number, and no better than the
        best row that was drawn.
        """
        if len(self.beta) != 1:
            raise InputError(
                f"sample needs a tilt at one beta; this one has {len(self.beta)}. Call tiltz.tilt with one."
            )
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise InputError(f"the number of draws must be a positive integer; found {n!r}.")
        groups = self.outcomes.groups
        prob = groups.gather(self.prob.reshape(-1))
        rows = np.arange(len(prob)) if groups.order is None else groups.order
        uniforms = np.asarray(rng.random((len(groups.prompt), n)))
        drawn = np.empty(uniforms.shape, dtype=np.int64)
        for i, (first, last) in enumerate(zip(groups.start[:-1], groups.start[1:], strict=True)):
            drawn[i] = rows[first + _draw(prob[first:last], uniforms[i])]
        return drawn.reshape(-1)

    def __repr__(self) -> str:
        what = f"{count(len(self.prompt), 'prompt')}, {count(len(self.outcomes), 'row')}"
        betas = ", ".join(number(beta) for beta in self.beta[:3]) + (", ..." if len(self.beta) > 3 else "")
        return f"Tilted({what}, beta {betas}, mean KL {number(float(np.mean(self.kl[:, 0])))} nats)"


def tilt(outcomes: Outcomes, beta: float | npt.ArrayLike) -> Tilted:
    """Return the tilted policy over the rows of a table.

    Parameters
    ----------
    outcomes : Outcomes
        Complete, partial or sampled.
    beta : float or array_like, shape (n_betas,)
        KL coefficients, > 0, in reward per nat.

    Returns
    -------
    Tilted
        Probabilities, KL divergences and a sampler.

    Raises
    ------
    InputError
        If all rewards of a prompt are ``-inf``: nothing is left to tilt.

    Examples
    --------
    >>> import numpy as np, tiltz
    >>> t = tiltz.tilt(tiltz.Outcomes.complete(np.log([0.6, 0.4]), [2.0, 1.0]), beta=1.0)
    >>> t.prob.round(4)
    array([0.803, 0.197])
    """
    check_table(outcomes)
    betas = checked_betas(beta)
    columns = outcomes.columns()
    reduced = reduce_groups(columns, betas[None, :], moments=True)
    nothing = np.any(np.isneginf(reduced.log_z), axis=1)
    if np.any(nothing):
        raise InputError(
            "a tilted policy needs an outcome of positive weight; every outcome of "
            f"{outcomes.groups.name(int(np.argmax(nothing)))} has reward -inf or is impossible under the reference. "
            "Leave the prompt out with Outcomes.select."
        )
    log_prob = outcomes.groups.scatter(log_ratios(columns, betas[None, :])[0])
    if np.ndim(beta) == 0:
        log_prob = log_prob[:, 0]
    arrays = {
        "prob": np.exp(log_prob),
        "log_prob": log_prob,
        "mean_reward": reduced.mean_reward,
        "kl": reduced.kl,
        "kl_reverse": reduced.kl_reverse,
        "ess": outcomes.n[:, None] / (1 + reduced.relative_sd**2),
    }
    for array in arrays.values():
        array.setflags(write=False)
    return Tilted(**arrays, prompt=outcomes.prompt, beta=betas, outcomes=outcomes)


def _draw(prob: Floats, uniforms: Floats) -> Ints:
    """Return the indices that uniforms pick by the inverse distribution function; never one of probability 0."""
    cumulative = np.cumsum(prob)
    last = int(np.flatnonzero(prob)[-1])
    return np.minimum(np.searchsorted(cumulative, uniforms * cumulative[-1], side="right"), last)
