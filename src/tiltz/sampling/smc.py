"""Tempered sequential Monte Carlo on a language model: reweight, resample, move, from the reference to beta."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tiltz.errors import InputError
from tiltz.lm import Completion, LanguageModel, TokenModel
from tiltz.lm.protocol import Prompt
from tiltz.rewards import Reward
from tiltz.sampling.acceptance import one_beta
from tiltz.sampling.choices import Choices, Floats, kish, log_mean_exp
from tiltz.sampling.flags import flag_lines
from tiltz.sampling.ladder import NextLambda, adaptive, fixed
from tiltz.sampling.scoring import Scorer
from tiltz.sampling.suffix import Particles, move_suffixes
from tiltz.text import count, number, paragraph

_STUCK = 0.01  # of the moves that are accepted
_WIDE = 0.1  # of the particles that are effective in a step


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class SMCSample:
    """Weighted completions from the tilted distribution, and the estimate of log Z that came with them.

    Attributes
    ----------
    completions : tuple of Completion
        Of all runs.
    reward, weight : array, shape (n_completions,)
        Their rewards, and weights that sum to 1: the Z of their run over that of all runs, shared equally.
    log_z : float
        Log of the mean Z of the runs, in nats; ``-inf`` if every run died out.
    unbiased : bool
        Whether exp(log_z) is unbiased for Z: the ladder did not depend on these runs.
    standard_error : float
        Of log_z, in nats, by the spread of the runs; NaN for a single run.
    log_z_runs : array, shape (n_runs,)
        Of each run, in nats.
    ladder : tuple of float
        Betas from the first to the last; of the first run, where each run has its own.
    acceptance : float
        Share of the moves at the last beta that were accepted; NaN without moves.
    ess : float
        Least effective share of the particles in any step of any run.
    n_draws, n_rewards : int
        Completions drawn (whole or in part) and texts rewarded, the pilot run included.
    beta : float
        KL coefficient, in reward per nat.
    flags : tuple of str
        Warnings.
    """

    completions: tuple[Completion, ...]
    reward: Floats
    weight: Floats
    log_z: float
    unbiased: bool
    standard_error: float
    log_z_runs: Floats
    ladder: tuple[float, ...]
    acceptance: float
    ess: float
    n_draws: int
    n_rewards: int
    beta: float
    flags: tuple[str, ...]

    def __repr__(self) -> str:
        error = f" +- {number(self.standard_error, 2)}" if np.isfinite(self.standard_error) else ""
        what = f"{count(len(self.completions), 'completion')}, {count(len(self.log_z_runs), 'run')}"
        return f"SMCSample({what}, beta {number(self.beta)}, log Z {number(self.log_z)}{error} nats)"

    def summary(self) -> str:
        """Return the runs as text of at most 80 columns."""
        error = "unknown" if np.isnan(self.standard_error) else f"{number(self.standard_error, 2)} nats"
        lines = paragraph(
            f"{count(len(self.completions), 'completion')} at beta {number(self.beta)} from "
            f"{count(len(self.log_z_runs), 'run')} over {count(len(self.ladder), 'step')}; "
            f"{count(self.n_draws, 'draw')}, {count(self.n_rewards, 'text')} rewarded"
        )
        lines += paragraph(
            f"log Z {number(self.log_z)} nats, {'unbiased' if self.unbiased else 'consistent, not unbiased,'} in Z; "
            f"standard error {error}, by the spread of the runs"
        )
        lines += paragraph(
            f"least effective share in a step {number(self.ess, 2)}; moves accepted {number(self.acceptance, 2)}"
        )
        return "\n".join(lines + flag_lines(self.flags))


def smc(
    model: LanguageModel,
    reward: Reward,
    prompt: Prompt,
    *,
    beta: float,
    n: int = 256,
    rng: np.random.Generator | Choices,
    ladder: Sequence[float] | Literal["pilot", "adaptive"] = "pilot",
    share: float = 0.5,
    n_moves: int = 2,
    replicates: int = 4,
    columns: Mapping[str, Any] | None = None,
) -> SMCSample:
    """Draw completions from the tilted distribution by tempered sequential Monte Carlo.

    Parameters
    ----------
    model : TokenModel
        The reference. Any language model, if there are no moves.
    reward : Reward
        In TRL's signature; it need not be bounded.
    prompt : str or list
        Text or chat messages.
    beta : float
        KL coefficient, > 0, in reward per nat.
    n : int, default 256
        Completions of a run.
    rng : numpy.random.Generator or Choices
        Source of randomness.
    ladder : sequence of float, "pilot" or "adaptive"
        Betas in descending order that end with ``beta``; or chosen by a run of its own; or by every run for itself.
    share : float, default 0.5
        Effective share of the particles in a step that a chosen ladder aims at.
    n_moves : int, default 2
        Moves of every completion after each step.
    replicates : int, default 4
        Independent runs.
    columns : mapping of str to object, optional
        What else the reward needs to know of the prompt.

    Returns
    -------
    SMCSample
        The completions of all runs, with weights.

    Raises
    ------
    InputError
        If the ladder does not descend to ``beta``, the model cannot complete prefixes, or a reward is missing.

    Notes
    -----
    exp(log_z) is unbiased for Z with a given ladder or one from a pilot run, consistent in ``n`` with an adaptive one
    [1]_. With the ladder ``(beta,)`` and no moves this is sampling-importance-resampling. The error is that of the mean
    over the runs: what a single run shows of its own error is too low where the problem is hard. Runs that never met
    the rare good completions do not know of them, and no error bar does.

    References
    ----------
    .. [1] P. Del Moral, A. Doucet, A. Jasra, *Sequential Monte Carlo samplers*, J. R. Statist. Soc. B 68 (2006)
       411-436.

    Examples
    --------
    >>> import numpy as np, tiltz
    >>> coin = tiltz.lm.table_model({"toss": {"heads": 0.5, "tails": 0.4, "on its edge": 0.1}})
    >>> def rare(completions, **columns):
    ...     return [float(text == "on its edge") for text in completions]
    >>> drawn = tiltz.sampling.smc(coin, rare, "toss", beta=0.25, rng=np.random.default_rng(0))
    >>> truth = np.log(0.9 + 0.1 * np.exp(4))
    >>> drawn.unbiased, bool(abs(drawn.log_z - truth) < 4 * drawn.standard_error)
    (True, True)
    """
    if not all(int(size) == size >= 1 for size in (n, replicates)) or int(n_moves) != n_moves or n_moves < 0:
        raise InputError("n and replicates must be whole numbers, at least 1, and n_moves one, at least 0.")
    if not 0 < share < 1:
        raise InputError(f"share must lie between 0 and 1; found {share!r}.")
    if n_moves and not isinstance(model, TokenModel):
        raise InputError(
            "moves need a model that completes prefixes (tiltz.lm.TokenModel); this one does not. Pass n_moves=0."
        )
    beta = one_beta(beta)
    if isinstance(ladder, str) and ladder not in ("pilot", "adaptive"):
        raise InputError(f"ladder must be a sequence of betas, 'pilot' or 'adaptive'; found {ladder!r}.")
    steps = adaptive(beta, share) if isinstance(ladder, str) else fixed(ladder, beta)
    sampler = _Sampler(
        model=model, prompt=prompt, score=Scorer(reward, prompt, columns), choices=Choices.of(rng),
        n=n, n_moves=n_moves, last=1 / beta,
    )  # fmt: skip
    if ladder == "pilot":
        steps = fixed(sampler.run(steps).ladder(beta), beta)
    runs = [sampler.run(steps) for _ in range(replicates)]
    return _gathered(runs, sampler, beta, unbiased=ladder != "adaptive")


@dataclass(slots=True, kw_only=True)
class _Run:
    particles: Particles
    lambdas: list[float]
    log_z: float = 0.0
    ess: float = 1.0

    def ladder(self, beta: float) -> tuple[float, ...]:
        """Return the betas of the run; the last is ``beta`` to the last digit."""
        return (*(1 / step for step in self.lambdas[:-1]), beta)


@dataclass(slots=True, kw_only=True)
class _Sampler:
    model: Any
    prompt: Prompt
    score: Scorer
    choices: Choices
    n: int
    n_moves: int
    last: float
    n_draws: int = 0

    def run(self, steps: NextLambda) -> _Run:
        """Go from the reference to the last lambda."""
        drawn = self.choices.draw(self.model, self.prompt, self.n)
        self.n_draws += self.n
        run = _Run(particles=Particles(completions=drawn, reward=self.score(drawn)), lambdas=[])
        here = 0.0
        while True:
            following = steps(here, run.particles.reward)
            log_weight = (following - here) * run.particles.reward
            run.lambdas.append(following)
            run.log_z += log_mean_exp(log_weight)
            run.ess = min(run.ess, kish(log_weight) / self.n)
            if np.isneginf(run.log_z):
                run.particles = run.particles.take(np.arange(0))
                return run
            run.particles = run.particles.take(self.choices.systematic(log_weight, self.n))
            for _ in range(self.n_moves):
                move_suffixes(
                    run.particles, model=self.model, prompt=self.prompt, score=self.score, choices=self.choices,
                    beta=1 / following,
                )  # fmt: skip
                self.n_draws += self.n
            if following >= self.last:
                return run
            here = following


def _gathered(runs: list[_Run], sampler: _Sampler, beta: float, *, unbiased: bool) -> SMCSample:
    log_z_runs = np.array([run.log_z for run in runs])
    log_z = log_mean_exp(log_z_runs)
    size = [len(run.particles.completions) for run in runs]
    share = np.exp(log_z_runs - log_z) if log_z > -np.inf else np.zeros(len(runs))
    error = float(np.std(share, ddof=1) / np.sqrt(len(runs))) if len(runs) > 1 and log_z > -np.inf else np.nan
    tried = sum(run.particles.n_tried for run in runs)
    acceptance = sum(run.particles.n_accepted for run in runs) / tried if tried else np.nan
    ess = min(run.ess for run in runs)
    flags = {
        "single_run": len(runs) == 1,
        "one_run": len(runs) > 2 and share.max() > 0.5 * len(runs),
        "adaptive": not unbiased,
        "extinct": bool(np.any(np.isneginf(log_z_runs))),
        "stuck": acceptance < _STUCK,
        "wide_rung": ess < _WIDE,
    }
    return SMCSample(
        completions=tuple(c for run in runs for c in run.particles.completions),
        reward=np.concatenate([run.particles.reward for run in runs]),
        weight=np.repeat(share / (len(runs) * sampler.n), size),
        log_z=log_z,
        unbiased=unbiased,
        standard_error=error,
        log_z_runs=log_z_runs,
        ladder=runs[0].ladder(beta),
        acceptance=acceptance,
        ess=ess,
        n_draws=sampler.n_draws,
        n_rewards=sampler.score.n_rewards,
        beta=beta,
        flags=tuple(flag for flag, up in flags.items() if up),
    )
