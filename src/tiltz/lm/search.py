"""Best-first search: the most probable completions of a prompt, and how much probability is left."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.lm.protocol import Completion, Prompt, TokenModel
from tiltz.lm.whole import end_of
from tiltz.outcomes import Outcomes

Floats = npt.NDArray[np.float64]


_HEAD = 512  # continuations of a prefix that are kept in order; vocabularies have a hundred thousand


@dataclass(slots=True, kw_only=True)
class _Branch:
    """A prefix that was followed, and those of its continuations that were not.

    ``log_prob`` is that of the continuations, whole sequences, in descending order; ``log_left`` of each and all after.
    Of the least probable ones, the tail, only the log-probability of all together and of the best one is kept; they are
    all tokens but ``known``.
    """

    prefix: tuple[int, ...]
    token: npt.NDArray[np.int64]
    log_prob: Floats
    log_left: Floats
    log_tail: float
    best_of_tail: float
    known: npt.NDArray[np.int64]
    next: int = 0

    @classmethod
    def of(
        cls, prefix: tuple[int, ...], token: npt.NDArray[np.int64], log_prob: Floats, rest: Floats,
        known: npt.NDArray[np.int64],
    ) -> _Branch:  # fmt: skip
        order = np.argsort(-log_prob, kind="stable")
        log_prob = log_prob[order]
        tail, best = float(np.logaddexp.reduce(rest, initial=-np.inf)), float(rest.max(initial=-np.inf))
        top = max(float(log_prob.max(initial=-np.inf)), tail)
        with np.errstate(divide="ignore"):
            each = np.append(np.exp(log_prob - top), math.exp(tail - top))
            left = top + np.log(np.cumsum(each[::-1])[::-1])
        return cls(
            prefix=prefix,
            token=token[order],
            log_prob=log_prob,
            log_left=left,
            log_tail=tail,
            best_of_tail=best,
            known=known,
        )

    @property
    def size(self) -> int:
        """Number of continuations that are left; the tail is one."""
        return len(self.token) - self.next + (self.log_tail > -math.inf)

    @property
    def at_tail(self) -> bool:
        return self.next == len(self.token)

    @property
    def best(self) -> float:
        return self.best_of_tail if self.at_tail else float(self.log_prob[self.next])

    @property
    def mass(self) -> float:
        return math.exp(self.log_left[self.next]) if self.size else 0.0

    def take(self) -> int | None:
        """Return the most probable token that is left, or None, and with it the whole tail."""
        if self.at_tail:
            self.log_tail = self.log_left[self.next] = -math.inf
            return None
        self.next += 1
        return int(self.token[self.next - 1])

    def drawn(self, rng: np.random.Generator) -> int | None:
        """Return a token that is left with its probability; None is one of the tail."""
        left = self.log_prob[self.next :]
        if self.log_tail > -math.inf:
            left = np.append(left, self.log_tail)
        weight = np.exp(left - left.max())
        k = self.next + int(rng.choice(len(weight), p=weight / weight.sum()))
        return None if k == len(self.token) else int(self.token[k])

    def of_tail(self, after: Floats) -> Floats:
        """Return the log-probabilities of what is in the tail, from what may follow the prefix."""
        within = after.copy()
        within[self.known] = -np.inf
        return within - np.logaddexp.reduce(within)


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
        left = [float(branch.log_left[branch.next]) for branch in self._branches if branch.size]
        top = max(left, default=-math.inf)
        return top if top == -math.inf else top + math.log(math.fsum(math.exp(x - top) for x in left))

    @property
    def finished(self) -> bool:
        """Whether every completion was found."""
        return self._begun and not self._best

    def step(self) -> None:
        """Follow the most probable prefixes by one token."""
        if not self._begun:
            self._begun = True
            self._follow((), 0.0, self._after([()])[0])
            return
        taken = [self._take() for _ in range(self._at_once())]
        if not taken:
            return
        after = self._after(
            [branch.prefix if token is None else (*branch.prefix, token) for branch, token, _ in taken]
        )
        for (branch, token, log_prob), log_probs in zip(taken, after, strict=True):
            if token is None:
                self._follow(branch.prefix, log_prob, branch.of_tail(log_probs), branch.known)
            else:
                self._follow((*branch.prefix, token), log_prob, log_probs)

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
            prefixes = self._drawn([self._branches[i] for i in chosen], rng)
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
            self._check_still_unfound(draws)
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

    def _check_still_unfound(self, draws: Sequence[Completion]) -> None:
        """Refuse draws from before a step, of which some would count twice."""
        since_found = {completion.ids for completion in self.found}.intersection(c.ids for c in draws)
        if since_found:
            raise InputError(
                "draws must be from what was not found, after the last step; "
                f"{len(since_found)} of their completions have been found since. Draw again."
            )

    def _after(self, prefixes: list[tuple[int, ...]]) -> Floats:
        """Return the log-probabilities of what may follow each prefix."""
        self.n_tokens += sum(len(prefix) for prefix in prefixes) + 1
        return self.model.next_log_probs(self.prompt, prefixes)

    def _drawn(self, branches: list[_Branch], rng: np.random.Generator) -> list[tuple[int, ...]]:
        """Return a continuation of each branch; those of tails are asked for again."""
        tokens = [branch.drawn(rng) for branch in branches]
        of_tail = [k for k, token in enumerate(tokens) if token is None]
        for first in range(0, len(of_tail), self.batch_size):
            some = of_tail[first : first + self.batch_size]
            for k, after in zip(some, self._after([branches[k].prefix for k in some]), strict=True):
                prob = np.exp(branches[k].of_tail(after))
                tokens[k] = int(rng.choice(len(prob), p=prob / prob.sum()))
        return [
            (*branch.prefix, token)
            for branch, token in zip(branches, tokens, strict=True)
            if token is not None
        ]

    def _at_once(self) -> int:
        """Return how many prefixes the next step may take: taking one does not add others."""
        return min(self.batch_size, sum(self._branches[i].size for _, i in self._best))

    def _take(self) -> tuple[_Branch, int | None, float]:
        """Return the branch of the most probable prefix that was not followed, its token, and its log-probability.

        Without a token it is the tail of the branch.
        """
        cost, i = heapq.heappop(self._best)
        branch = self._branches[i]
        log_prob = branch.log_tail if branch.at_tail else -cost
        token = branch.take()
        if branch.size:
            heapq.heappush(self._best, (-branch.best, i))
        return branch, token, log_prob

    def _follow(
        self,
        prefix: tuple[int, ...],
        log_prob: float,
        after: Floats,
        known: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Find what ends after a prefix, and keep what goes on; ``after`` has no probability for known tokens."""
        tokens, rest = self._head(after)
        goes_on = np.ones(len(tokens), dtype=bool)
        for k in self._may_end(prefix, tokens):
            ids = (*prefix, int(tokens[k]))
            ended = end_of(ids, self.model)
            if ended is not None:
                goes_on[k] = False
                total = log_prob + float(after[tokens[k]])
                text = self.model.decode(ids)
                self.found.append(Completion(ids=ids, text=text, log_prob=total, ended=ended))
        if np.any(goes_on) or len(rest):
            met = tokens if known is None else np.concatenate([known, tokens])
            branch = _Branch.of(
                prefix, tokens[goes_on], log_prob + after[tokens[goes_on]], log_prob + after[rest], met
            )
            heapq.heappush(self._best, (-branch.best, len(self._branches)))
            self._branches.append(branch)

    def _head(self, after: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the most probable tokens, with the end token, and all others that are possible."""
        tokens = np.flatnonzero(after > -np.inf)
        if len(tokens) <= _HEAD:
            return tokens, tokens[:0]
        top = np.argpartition(-after[tokens], _HEAD - 1)
        is_head = np.zeros(len(tokens), dtype=bool)
        is_head[top[:_HEAD]] = True
        is_head |= tokens == self.model.end_id
        return tokens[is_head], tokens[~is_head]

    def _may_end(self, prefix: tuple[int, ...], tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the places of the tokens after which a completion may be whole: most often one of thousands."""
        if self.model.spec.stop or len(prefix) + 1 == self.model.spec.max_tokens:
            return np.arange(len(tokens))
        return np.flatnonzero(tokens == self.model.end_id)
