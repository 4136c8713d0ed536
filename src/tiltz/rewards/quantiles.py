"""Rewards replaced by their quantile among stored reference rewards of the same prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.laws.quantile_counts import TIES
from tiltz.rewards.messages import as_text
from tiltz.rewards.protocol import Reward, name_of
from tiltz.rewards.transforms import Composed

Floats = npt.NDArray[np.float64]
References = Mapping[str, npt.ArrayLike] | npt.ArrayLike


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """A transform: what it is called with is a reward, what it returns the reward's quantile.

    Attributes
    ----------
    references : dict of str to array, or array
        Reference rewards, ascending, of each prompt or of all.
    ties : str
        What equals count for.
    logs : bool
        Whether the log of (k + 1) / (m + 1) is taken, and not k / m.
    """

    references: dict[str, Floats] | Floats
    ties: str
    logs: bool

    def __call__(self, reward: Reward) -> Composed:
        """Return the quantile of a reward as a reward."""
        kind = "log_quantile" if self.logs else "quantile"
        return Composed(
            name=f"{kind}({name_of(reward)})",
            parts=(reward,),
            combine=self.ranked,
            reward_range=(float(np.log(1 / (self.most + 1))), 0.0) if self.logs else (0.0, 1.0),
        )

    @property
    def most(self) -> int:
        """The largest number of references that a prompt has."""
        several = self.references
        return max(map(len, several.values())) if isinstance(several, dict) else len(several)

    def of_prompt(self, prompt: Any) -> Floats:
        """Return the reference rewards of a prompt."""
        if not isinstance(self.references, dict):
            return self.references
        found = self.references.get(as_text(prompt))
        if found is None:
            raise InputError(f"every prompt must have reference rewards; there are none for {prompt!r:.100}.")
        return found

    def ranked(self, prompts: Sequence[Any], arrays: list[Floats]) -> Floats:
        """Return the quantile of each reward among the references of its prompt."""
        rows = zip(prompts, arrays[0], strict=True)
        return np.array([self._rank(self.of_prompt(prompt), reward) for prompt, reward in rows])

    def _rank(self, references: Floats, reward: float) -> float:
        if np.isnan(reward):
            return np.nan
        below, at_most = (np.searchsorted(references, reward, side) for side in ("left", "right"))
        count = {"at-most": at_most, "below": below, "mid-rank": (below + at_most) / 2}[self.ties]
        m = len(references)
        return float(np.log((count + 1) / (m + 1)) if self.logs else count / m)


def quantile(reference_rewards: References, *, ties: str = "at-most") -> Ranking:
    """Return a transform of rewards to their quantile k / m among m reference rewards of the prompt.

    Parameters
    ----------
    reference_rewards : mapping of str to array_like, or array_like, shape (m,)
        Of each prompt, chat messages as their JSON; or the same for all. They must come from other draws of the
        reference than the completions that are ranked.
    ties : str
        What equals count for: ``"at-most"`` counts them whole, ``"below"`` not at all, ``"mid-rank"`` half.

    Returns
    -------
    Ranking
        Takes a reward, returns a reward with the range (0, 1).

    Raises
    ------
    InputError
        If a prompt has no reference reward, one is NaN or ``+inf``, or ``ties`` is none of the three.

    Notes
    -----
    Z of the new reward is known in the mean over reference sets, whatever the old one is:
    :class:`tiltz.laws.QuantileReward` with the same ``ties``. A forbidden completion (``-inf``) is worth the lowest
    quantile, and no longer forbidden.

    Examples
    --------
    >>> def length(prompts, completions, **columns):
    ...     return [len(text) for text in completions]
    >>> quantile([1, 2, 2, 5])(length)(["?"] * 3, ["", "aa", "aaaaaa"])
    [0.0, 0.75, 1.0]
    >>> quantile([1, 2, 2, 5], ties="mid-rank")(length)(["?"], ["aa"])
    [0.5]
    """
    if ties not in TIES:
        raise InputError(f"ties must be one of {', '.join(map(repr, TIES))}; found {ties!r}.")
    return Ranking(references=_references(reference_rewards), ties=ties, logs=False)


def log_quantile(reference_rewards: References) -> Ranking:
    """Return a transform of rewards to log((k + 1) / (m + 1)), k of m reference rewards of the prompt being at most it.

    Parameters
    ----------
    reference_rewards : mapping of str to array_like, or array_like, shape (m,)
        As in :func:`quantile`.

    Returns
    -------
    Ranking
        Takes a reward, returns a reward with the range (-log(m + 1), 0), m being the largest of all prompts.

    Raises
    ------
    InputError
        If a prompt has no reference reward, or one is NaN or ``+inf``.

    Notes
    -----
    The log of k / m itself is refused: a completion below all references would have the reward ``-inf``, which
    forbids it, although only the number of references is small. One is therefore added to both counts, as if the
    completion were among its references.

    For a reward without ties, the mean of Z over reference sets is that of ((k + 1) / (m + 1)) ** (1 / beta) over
    k = 0..m, which tends to beta / (1 + beta) for many references.

    Examples
    --------
    >>> import numpy as np
    >>> def length(prompts, completions, **columns):
    ...     return [len(text) for text in completions]
    >>> np.exp(log_quantile([1, 2, 3])(length)(["?"] * 3, ["", "aa", "aaaaaa"]))
    array([0.25, 0.75, 1. ])
    """
    return Ranking(references=_references(reference_rewards), ties="at-most", logs=True)


def _references(rewards: References) -> dict[str, Floats] | Floats:
    if not isinstance(rewards, Mapping):
        return _ascending(rewards, "reference_rewards")
    if not rewards:
        raise InputError("reference_rewards must hold the rewards of at least one prompt; found none.")
    return {
        prompt: _ascending(values, f"reference_rewards of {prompt!r:.100}")
        for prompt, values in rewards.items()
    }


def _ascending(rewards: Any, name: str) -> Floats:
    what = f"{name} must be a list of numbers, at least one, without NaN and +inf"
    try:
        found = np.sort(np.array(rewards, dtype=np.float64))
    except (TypeError, ValueError) as reason:
        raise InputError(f"{what}; found {rewards!r:.100}.") from reason
    if found.ndim != 1 or not found.size:
        raise InputError(f"{what}; found shape {found.shape}.")
    if np.isnan(found[-1]) or found[-1] == np.inf:  # NaN sorts last
        raise InputError(f"{what}; found {found[-1]:g}.")
    return found
