"""Rejection on a language model: exact draws from the tilted distribution, where the highest reward is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiltz.checks import checked_range
from tiltz.errors import InputError
from tiltz.lm import Completion, LanguageModel
from tiltz.lm.protocol import Prompt
from tiltz.outcomes import Outcomes
from tiltz.rewards import Reward, range_of, values_of
from tiltz.sampling.acceptance import Acceptance, Range, checked_ceiling, expected_acceptance, one_beta
from tiltz.sampling.choices import Choices, Floats, log_mean_exp
from tiltz.sampling.flags import flag_lines
from tiltz.sampling.scoring import Scorer
from tiltz.text import count, number, paragraph

_SPARE = 1.2  # draws of a batch, over those that the rate asks for


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RejectionSample:
    """Completions that rejection accepted.

    Attributes
    ----------
    completions : tuple of Completion
        In the order in which they were accepted.
    reward : array, shape (n_accepted,)
        Their rewards.
    expected : Acceptance
        What was known before the run began.
    found : Acceptance
        What all draws of the run show: rate, distance from the tilted distribution, and limits that hold although
        the number of draws depended on them.
    log_z : float
        In nats; exp(log_z) is unbiased for Z.
    n_draws, n_rewards : int
        Completions drawn and texts rewarded, those of the pilot run included.
    flags : tuple of str
        Warnings.
    """

    completions: tuple[Completion, ...]
    reward: Floats
    expected: Acceptance
    found: Acceptance
    log_z: float
    n_draws: int
    n_rewards: int
    flags: tuple[str, ...]

    def __repr__(self) -> str:
        what = f"{count(len(self.completions), 'completion')} of {count(self.n_draws, 'draw')}"
        return f"RejectionSample({what}, beta {number(self.found.beta)}, log Z {number(self.log_z)} nats)"

    def summary(self) -> str:
        """Return the run as text of at most 80 columns."""
        rates = [
            number(float(rate), 3)
            for known in (self.expected, self.found)
            for rate in (*known.rate, *known.lo, *known.hi)
        ]
        lines = paragraph(
            f"{count(len(self.completions), 'completion')} accepted at beta {number(self.found.beta)} of "
            f"{count(self.n_draws, 'draw')}, {count(self.n_rewards, 'text')} rewarded; rate expected {rates[0]} "
            f"[{rates[1]}, {rates[2]}], found {rates[3]} [{rates[4]}, {rates[5]}]"
        )
        if self.found.tv_hi[0] == 0:
            lines += paragraph("the completions are independent draws from the tilted distribution, exactly")
        else:
            lines += paragraph(
                f"their law is at a total-variation distance of about {number(self.found.tv[0], 2)} from the tilted "
                f"distribution, at most {number(self.found.tv_hi[0], 2)} at level {self.found.level:g}"
            )
        lines.append(f"log Z {number(self.log_z)} nats (unbiased in Z)")
        return "\n".join(lines + flag_lines(self.flags))


def reject(
    model: LanguageModel,
    reward: Reward,
    prompt: Prompt,
    *,
    beta: float,
    n: int,
    rng: np.random.Generator | Choices,
    reward_range: Range | None = None,
    ceiling: float | None = None,
    max_draws: int = 100_000,
    batch_size: int = 256,
    expected: Acceptance | None = None,
    pilot: int = 64,
    before: Callable[[Acceptance], None] | None = None,
    columns: Mapping[str, Any] | None = None,
    level: float = 0.95,
) -> RejectionSample:
    """Draw completions from the tilted distribution by rejection.

    Parameters
    ----------
    model : LanguageModel
        The reference.
    reward : Reward
        In TRL's signature.
    prompt : str or list
        Text or chat messages.
    beta : float
        KL coefficient, > 0, in reward per nat.
    n : int
        Completions wanted.
    rng : numpy.random.Generator or Choices
        Source of randomness.
    reward_range : (float, float), optional
        Lowest and highest possible reward; by default what the reward declares.
    ceiling : float, optional
        Reward from which on every draw is accepted; by default the highest possible one, which makes the draws exact.
    max_draws : int
        Draws after which the run ends, those of the pilot aside.
    batch_size : int
        Completions drawn at once, at most.
    expected : Acceptance, optional
        What is known already, from :func:`expected_acceptance` on rollouts; then there is no pilot run.
    pilot : int
        Draws of the pilot run.
    before : callable, optional
        Told what is expected before the run begins; it may raise.
    columns : mapping of str to object, optional
        What else the reward needs to know of the prompt.
    level : float, default 0.95
        Confidence level of the rates.

    Returns
    -------
    RejectionSample
        With fewer than ``n`` completions where the draws ran out.

    Raises
    ------
    InputError
        If even the upper limit of the expected rate asks for more than ``max_draws``, a reward is missing or outside
        its range, or there is neither a ceiling nor a highest reward.

    Notes
    -----
    Accepted draws are independent and exact whatever the rate. The run ends with draw N, the n-th accepted one, or at
    ``max_draws``. Given N the draws before the last accepted one are exchangeable, so that the mean of their weights is
    unbiased for Z; where draws ran out, or N = 1, that of all of them. The pilot run decides only whether to begin, and
    its draws are not used again: selected draws would be biased.

    Examples
    --------
    >>> import numpy as np, tiltz
    >>> coin = tiltz.lm.table_model({"toss": {"heads": 0.5, "tails": 0.5}})
    >>> def heads(completions, **columns):
    ...     return [float(text == "heads") for text in completions]
    >>> heads.reward_range = (0, 1)
    >>> drawn = tiltz.sampling.reject(coin, heads, "toss", beta=0.5, n=50, rng=np.random.default_rng(0))
    >>> len(drawn.completions), drawn.found.tv_hi, round(float(np.mean(drawn.reward)), 2)
    (50, array([0.]), 0.9)
    """
    choices, score = Choices.of(rng), Scorer(reward, prompt, columns)
    if not all(int(size) == size >= 1 for size in (n, max_draws, batch_size, pilot)):
        raise InputError("n, max_draws, batch_size and pilot must be whole numbers of draws, at least 1.")
    beta = one_beta(beta)
    possible = _declared(reward) if reward_range is None else checked_range(reward_range)
    top = checked_ceiling(ceiling, np.inf if possible is None else possible[1])

    def known(rewards: Floats) -> Acceptance:
        drawn = Outcomes.sampled(rewards, reward_range=possible, stopping="adaptive")
        return expected_acceptance(drawn, beta, ceiling=ceiling, level=level)

    def draw(size: int) -> tuple[list[Completion], Floats]:
        drawn = choices.draw(model, prompt, size)
        return drawn, _within(score(drawn), drawn, possible)

    n_pilot = 0
    if expected is None:
        expected, n_pilot = known(draw(pilot)[1]), pilot
    _check_expected(expected, n, max_draws, wanted=(beta, top))
    if before is not None:
        before(expected)
    rate = max(float(expected.rate[0]), 1 / batch_size)
    accepted: list[Completion] = []
    rewards = np.empty(0)
    n_before = 0  # draws before the last accepted one, if that is the last wanted
    while len(accepted) < n and len(rewards) < max_draws:
        enough = int(_SPARE * (n - len(accepted)) / rate) + 1
        drawn, new = draw(min(batch_size, enough, max_draws - len(rewards)))
        passed = np.flatnonzero(choices.accept(np.minimum(new - top, 0.0) / beta))[: n - len(accepted)]
        accepted += [drawn[i] for i in passed]
        n_before = len(rewards) + (int(passed[-1]) if len(accepted) == n else len(new))
        rewards = np.concatenate([rewards, new])
    return RejectionSample(
        completions=tuple(accepted),
        reward=score(accepted),
        expected=expected,
        found=known(rewards),
        log_z=log_mean_exp(rewards[: max(n_before, 1)] / beta),
        n_draws=len(rewards) + n_pilot,
        n_rewards=score.n_rewards,
        flags=_flags(len(accepted), n, possible),
    )


def _declared(reward: Reward) -> Range | None:
    """Return the range that a reward declares, or that of the values that it declares."""
    values = values_of(reward)
    if range_of(reward) is not None or values is None or np.isneginf(values[0]):
        return range_of(reward)
    return values[0], values[-1]


def _within(rewards: Floats, drawn: list[Completion], possible: Range | None) -> Floats:
    """Return rewards, or refuse one that contradicts the range: rejection would not be exact."""
    low, high = possible or (-np.inf, np.inf)
    wrong = (rewards < low) | (rewards > high)
    if np.any(wrong):
        first = int(np.argmax(wrong))
        raise InputError(
            f"every reward must lie in the declared range [{low:g}, {high:g}]; {drawn[first].text!r:.80} has "
            f"{rewards[first]:g}."
        )
    return rewards


def _check_expected(expected: Acceptance, n: int, max_draws: int, *, wanted: tuple[float, float]) -> None:
    """Refuse what is expected of another run, and a run that will not come to its end."""
    if (expected.beta, expected.ceiling) != wanted:
        raise InputError(
            f"expected must be for beta {wanted[0]:g} and ceiling {wanted[1]:g}; found {expected.beta:g} and "
            f"{expected.ceiling:g}."
        )
    if n > expected.hi[0] * max_draws:
        raise InputError(
            f"rejection must be likely to accept {n:,} of at most {max_draws:,} draws; at beta "
            f"{number(expected.beta)} the rate is at most {number(expected.hi[0], 3)} (level {expected.level:g}). "
            "Raise max_draws or beta, lower the ceiling and accept its price, or use smc."
        )


def _flags(n_accepted: int, n: int, possible: Range | None) -> tuple[str, ...]:
    up = []
    if n_accepted < n:
        up.append("budget" if n_accepted else "nothing")
    if possible is None or not np.isfinite(possible[1]):
        up.append("no_limit")
    return tuple(up)
