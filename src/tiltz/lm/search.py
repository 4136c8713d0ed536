"""Best-first search: the most probable completions of a prompt, and how much probability is left."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.lm.protocol import Completion, Prompt, TokenModel
from tiltz.outcomes import Outcomes

Floats = npt.NDArray[np.float64]


@dataclass(slots=True, kw_only=True)
class _Branch:
    """A prefix that was followed, and those of its continuations that were not.

    ``log_prob`` is that of the continuations, whole sequences, in descending order; ``log_left`` of each and all after.
    """

    prefix: tuple[int, ...]
    token: npt.NDArray[np.int64]
    log_prob: Floats
    log_left: Floats
    next: int = 0

    @classmethod
    def of(cls, prefix: tuple[int, ...], token: npt.NDArray[np.int64], log_prob: Floats) -> _Branch:
        order = np.argsort(-log_prob, kind="stable")
        log_prob = log_prob[order]
        with np.errstate(divide="ignore"):
            left = np.cumsum(np.exp(log_prob - log_prob[0])[::-1])[::-1]
            return cls(
                prefix=prefix, token=token[order], log_prob=log_prob, log_left=log_prob[0] + np.log(left)
            )

    def drawn(self, rng: np.random.Generator) -> tuple[int, ...]:
        weight = np.exp(self.log_prob[self.next :] - self.log_prob[self.next])
        token = self.token[self.next + rng.choice(len(weight), p=weight / weight.sum())]
        return (*self.prefix, int(token))

    @property
    def mass(self) -> float:
        return math.exp(self.log_left[self.next]) if self.next < len(self.token) else 0.0


@dataclass(slots=True, kw_only=True)
class Search:
    """What is known of the completions of one prompt, and what is not: it grows with every :meth:`step`.

    Parameters
    ----------
    model : TokenModel
        Whose completions are searched.
    prompt : str or list
        The prompt.
    batch_size : int
        Prefixes that are followed at once.

    Attributes
    ----------
    found : list of Completion
        Whole completions, the most probable prefixes first.
    n_tokens : int
        Tokens that were fed to the model, those of the prompt once for every batch.

    Notes
    -----
    A prefix is followed by asking for its next-token distribution: the end token completes it, every other token is a
    longer prefix. The most probable prefixes are followed first. The mass of all prefixes that were not followed is
    the mass of all completions that were not found, so that Z is certified at every moment.

    Examples
    --------
    >>> from tiltz.lm import table_model
    >>> model = table_model({"die": {"one": 0.7, "two or three": 0.2, "two or six": 0.1}})
    >>> search = Search(model=model, prompt="die", batch_size=1)
    >>> while search.missing > 0.15:
    ...     search.step()
    >>> [c.text for c in search.found], round(search.missing, 6)
    (['one', 'two or three'], 0.1)
    """

    model: TokenModel
    prompt: Prompt
    batch_size: int = 64
    found: list[Completion] = field(default_factory=list)
    n_tokens: int = 0
    _branches: list[_Branch] = field(default_factory=list, repr=False)
    _best: list[tuple[float, int]] = field(default_factory=list, repr=False)  # minus log-probability, branch
    _begun: bool = False

    @property
    def missing(self) -> float:
        """Probability of all completions that were not found."""
        return math.exp(self.log_missing)

    @property
    def log_missing(self) -> float:
        """Log of the probability of all completions that were not found, in nats; ``-inf`` if there are none."""
        if not self._begun:
            return 0.0
        left = [branch.log_left[branch.next] for branch in self._branches if branch.next < len(branch.token)]
        top = max(left, default=-math.inf)
        return top if top == -math.inf else top + math.log(math.fsum(math.exp(x - top) for x in left))

    @property
    def finished(self) -> bool:
        """Whether every completion was found."""
        return self._begun and not self._best

    def step(self) -> None:
        """Follow the most probable prefixes by one token."""
        taken = [((), 0.0)] if not self._begun else [self._take() for _ in range(self._at_once())]
        self._begun = True
        if not taken:
            return
        prefixes = [prefix for prefix, _ in taken]
        self.n_tokens += sum(len(prefix) for prefix in prefixes) + 1
        after = self.model.next_log_probs(self.prompt, prefixes)
        for (prefix, log_prob), log_probs in zip(taken, after, strict=True):
            self._follow(prefix, log_prob, log_probs)

    def run(
        self, *, missing: float = 0.0, max_tokens: int | None = None, max_steps: int | None = None
    ) -> Search:
        """Step until little enough is missing or a budget is spent.

        Parameters
        ----------
        missing : float
            Stop when at most this probability is left.
        max_tokens, max_steps : int, optional
            Stop when so many tokens were fed, or batches followed.

        Returns
        -------
        Search
            Itself.
        """
        steps = 0
        while not self.finished and self.missing > missing:
            if (max_tokens is not None and self.n_tokens >= max_tokens) or steps == max_steps:
                break
            self.step()
            steps += 1
        return self

    def draw(self, n: int, rng: np.random.Generator) -> list[Completion]:
        """Draw completions from those that were not found.

        Parameters
        ----------
        n : int
            How many.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        list of Completion
            Independent draws from the model given that the completion was not found: a prefix of the frontier with its
            probability, then what the model makes of it.

        Raises
        ------
        InputError
            If nothing is left.
        """
        if self.finished:
            raise InputError("there must be something left to draw from; the search found every completion.")
        if not self._begun:
            prefixes: list[tuple[int, ...]] = [()] * n
        else:
            mass = np.array([branch.mass for branch in self._branches])
            chosen = rng.choice(len(mass), size=n, p=mass / mass.sum())
            prefixes = [self._branches[i].drawn(rng) for i in chosen]
        drawn = self.model.complete(self.prompt, prefixes, rng)
        self.n_tokens += sum(len(completion.ids) for completion in drawn)
        return drawn

    def outcomes(
        self,
        reward: Callable[[list[str]], Sequence[float]],
        *,
        reward_range: tuple[float, float],
        draws: Sequence[Completion] = (),
        label: str | int = 0,
    ) -> Outcomes:
        """Return what was found as a table, with draws from the rest where there are some.

        Parameters
        ----------
        reward : callable
            Texts of completions to their rewards.
        reward_range : (float, float)
            Lowest and highest reward of any completion.
        draws : sequence of Completion
            From :meth:`draw`, after the last step.
        label : str or int
            Of the prompt.

        Returns
        -------
        Outcomes
            Complete where nothing is missing, else partial: log Z is certified by the reward range, and the draws, if
            there are some, estimate what is missing.
        """
        log_ref = np.array([completion.log_prob for completion in self.found])
        rewards = np.asarray(reward([completion.text for completion in self.found]), dtype=np.float64)
        labels = [label] * len(self.found)
        if self.finished:
            return Outcomes.complete(log_ref, rewards, prompt=labels, renormalise=True)
        if not self.found:
            raise InputError("no whole completion was found yet; take more steps.")
        remainder = None
        if draws:
            drawn = np.asarray(reward([completion.text for completion in draws]), dtype=np.float64)
            remainder = Outcomes.sampled(drawn, prompt=[label] * len(draws))
        return Outcomes.partial(
            log_ref,
            rewards,
            reward_range=reward_range,
            prompt=labels,
            log_missing=[self.log_missing],
            remainder=remainder,
        )

    def _at_once(self) -> int:
        """Return how many prefixes the next step may take: taking one does not add others."""
        return min(
            self.batch_size, sum(len(self._branches[i].token) - self._branches[i].next for _, i in self._best)
        )

    def _take(self) -> tuple[tuple[int, ...], float]:
        """Return the most probable prefix that was not followed, and its log-probability."""
        cost, i = heapq.heappop(self._best)
        branch = self._branches[i]
        prefix = (*branch.prefix, int(branch.token[branch.next]))
        branch.next += 1
        if branch.next < len(branch.token):
            heapq.heappush(self._best, (-float(branch.log_prob[branch.next]), i))
        return prefix, -cost

    def _follow(self, prefix: tuple[int, ...], log_prob: float, after: Floats) -> None:
        tokens = np.flatnonzero(after > -np.inf)
        goes_on = np.ones(len(tokens), dtype=bool)
        for k in self._may_end(prefix, tokens):
            ids = (*prefix, int(tokens[k]))
            ended = self._ended(ids)
            if ended is not None:
                goes_on[k] = False
                total = log_prob + float(after[tokens[k]])
                text = self.model.decode(ids)
                self.found.append(Completion(ids=ids, text=text, log_prob=total, ended=ended))
        if np.any(goes_on):
            branch = _Branch.of(prefix, tokens[goes_on], log_prob + after[tokens[goes_on]])
            heapq.heappush(self._best, (-float(branch.log_prob[0]), len(self._branches)))
            self._branches.append(branch)

    def _may_end(self, prefix: tuple[int, ...], tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the places of the tokens after which a completion may be whole: most often one of thousands."""
        if self.model.spec.stop or len(prefix) + 1 == self.model.spec.max_tokens:
            return np.arange(len(tokens))
        return np.flatnonzero(tokens == self.model.end_id)

    def _ended(self, ids: tuple[int, ...]) -> Any:
        if ids[-1] == self.model.end_id:
            return "end"
        stop = self.model.spec.stop
        if stop and any(text in self.model.decode(ids) for text in stop):
            return "stop"
        return "length" if len(ids) == self.model.spec.max_tokens else None
