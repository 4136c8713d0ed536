"""Drawing: batches of prompts become shards, durable once they have their name; a second run goes on from there."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tiltz.errors import InputError, ServerError
from tiltz.files.table import twins
from tiltz.lm import LanguageModel
from tiltz.rewards import Reward, name_of
from tiltz.rollouts.drawing.folder import RunFolder
from tiltz.rollouts.drawing.pair import check_pair
from tiltz.rollouts.drawing.prompts import Prompts
from tiltz.rollouts.drawing.shard import COLUMNS, Shard, Tally
from tiltz.rollouts.drawing.stopping import FixedNumber, Stopping, UntilNarrow, declarations, stopping_rule

_ROWS = {"fixed": 2048, "adaptive": 256}  # of the first round of a shard, about
_IN_WORK = 2  # shards: one is drawn for while the other is rewarded
_OTHERWISE_READ = ("step", "advantage", "log_policy", "log_proposal")  # facts about rows, to who reads them


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is: completions and finished prompts so far; of this run, tokens and rows without a reward."""

    n_rows: int
    n_prompts: int
    n_prompts_wanted: int
    n_tokens: int
    n_failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRun:
    """What a run left on disk.

    Attributes
    ----------
    folder : Path
        With the shards: ``tiltz.read(folder)`` reads it, also while it is being written.
    n_rows : int
        Completions in it.
    n_new : int
        Of these, drawn by this run.
    n_tokens : int
        Tokens of those.
    n_failed : int
        Of those, without a reward: the column ``error`` says why.
    first_error : str
        Why the first of these has none; empty if all have one.
    """

    folder: Path
    n_rows: int
    n_new: int
    n_tokens: int
    n_failed: int
    first_error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WidthRun(RolloutRun):
    """What a run left on disk that drew until intervals were narrow.

    Attributes
    ----------
    stopping : UntilNarrow
        The rule: width, beta, level, what is declared, and the most completions of a prompt.
    n_prompts : int
        Prompts in the folder.
    n_narrow : int
        Of these, with an interval as narrow as was wanted; the others have as many completions as allowed.
    most_rows : int
        Completions of the one among the narrow ones that needed most, 0 if there are none. With the same limits and
        one number for all prompts, each would have needed so many.
    """

    stopping: UntilNarrow
    n_prompts: int
    n_narrow: int
    most_rows: int


def rollout(
    model: LanguageModel,
    reward: Reward | dict[str, Reward],
    prompts: Prompts | Sequence[Any],
    n: int,
    folder: str | Path,
    *,
    policy: LanguageModel | None = None,
    seed: int = 0,
    until_width: float | None = None,
    beta: float | None = None,
    at_most: int | None = None,
    level: float = 0.95,
    reward_range: tuple[float, float] | None = None,
    reward_values: Sequence[float] | None = None,
    batch_prompts: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> RolloutRun:
    """Draw completions, reward them and write them, from where an earlier run ended.

    Parameters
    ----------
    model : LanguageModel
        The reference.
    reward : callable, or dict of str to callable
        Reward functions in TRL's signature. Several are written under their names, and their sum as ``reward``.
    prompts : sequence, or Prompts
        Texts, chat messages, or rows with a ``prompt`` and columns that rewards need.
    n : int
        Completions of each; with ``until_width``, those of the first round.
    folder : str or Path
        Where the shards go; made if there is none. One run at a time.
    policy : LanguageModel, optional
        Draw from it instead: rows then have its ``log_policy`` beside the ``log_ref`` that the reference gives them. It
        must have the reference's tokens, and its ``max_tokens`` and stop strings.
    seed : int
        With the place of a prompt in the list it names the random stream of its completions.
    until_width : float, optional
        Go on with each prompt until its interval of log Z at ``beta`` is so many nats wide, or narrower.
    beta : float, optional
        KL coefficient, > 0, of that interval.
    at_most : int, optional
        Completions after which a prompt gets no more, rows without a reward included; 4,096 by default.
    level : float
        Confidence level of that interval.
    reward_range : (float, float), optional
        Lowest and highest possible reward, by default what the reward functions declare; the files say it to whoever
        reads them. ``until_width`` needs it, or ``reward_values``, since without it no interval has an upper limit.
    reward_values : sequence of float, optional
        All possible rewards.
    batch_prompts : int, optional
        Prompts of a shard; by default so many that it has about 2,048 rows; with ``until_width``, 256 in the first
        round.
    progress : callable, optional
        Told at the beginning and after every round how far the run is.

    Returns
    -------
    RolloutRun
        What is on disk; a :class:`WidthRun` where ``until_width`` is given.

    Raises
    ------
    InputError
        If an argument is not legal, another run is writing to the folder, it holds a run with another model, reward,
        seed, n, rule or list of prompts, a reward contradicts what is declared, or what a policy draws is no outcome of
        the reference.
    FileError
        If the folder cannot be written.

    Notes
    -----
    A shard appears under its name when it is whole. Killed at any moment, a run loses at most the two shards in work;
    the same call again draws those, with the same random streams, and repeats nothing that is there. Rewards are
    computed while the next batch is drawn.

    With ``until_width`` the first round of a prompt has ``n`` completions, and every later one ``n`` or an eighth of
    what is there, whichever is more. Its interval is that of :class:`tiltz.Monitor`, which holds at every number of
    completions at once, so stopping by it costs no coverage; the files say ``stopping = adaptive``, and ``estimate``
    then uses such intervals only. How many completions a prompt gets depends on that prompt alone.
    """
    listed = prompts if isinstance(prompts, Prompts) else Prompts.of(prompts)
    rule = stopping_rule(
        reward,
        n,
        until_width=until_width,
        beta=beta,
        at_most=at_most,
        level=level,
        reward_range=reward_range,
        reward_values=reward_values,
    )
    size = max(1, _ROWS[rule.kind] // int(n)) if batch_prompts is None else batch_prompts
    for name, value, least in (("seed", seed, 0), ("batch_prompts", size, 1)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise InputError(f"{name} must be a whole number, at least {least}; found {value!r}.")
    if policy is not None and rule.kind == "adaptive":
        raise InputError(
            "until_width watches draws from the reference, for which its limits hold; leave policy or until_width out."
        )
    if policy is not None:
        check_pair(policy, model)
    plan = _Plan(
        model=model,
        policy=policy,
        reward=reward,
        prompts=listed,
        stopping=rule,
        seed=int(seed),
        size=int(size),
        folder=RunFolder(Path(folder)),
    )
    plan.check_columns()
    with plan.folder.claimed(plan.manifest()):
        return plan.run(progress or (lambda progress: None))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    model: LanguageModel
    policy: LanguageModel | None
    reward: Reward | Mapping[str, Reward]
    prompts: Prompts
    stopping: Stopping
    seed: int
    size: int
    folder: RunFolder

    def check_columns(self) -> None:
        """Refuse names of rewards and of the prompts' columns that would not be read as what they are."""
        rewards = list(self.reward) if isinstance(self.reward, Mapping) and len(self.reward) > 1 else []
        brought = list(self.prompts.columns)
        taken = [
            name for name in rewards if name.lower() in {*COLUMNS, *(other.lower() for other in brought)}
        ]
        if taken:
            raise InputError(
                "each of several rewards is written as a column under its own name, which must differ from "
                f"{', '.join(COLUMNS)} and from the columns of the prompts; found {taken[0]!r}. Rename it."
            )
        misread = [name for name in brought if name in _OTHERWISE_READ]
        if misread:
            raise InputError(
                f"the prompts may have no column named {' or '.join(_OTHERWISE_READ)}, which would say how completions "
                f"were drawn; found {misread[0]!r}. Rename or remove it."
            )
        kept = [name for name in brought if name not in COLUMNS]
        pair = twins([*COLUMNS, *rewards, *kept])
        reserved = [name for name in brought if name in ("prompts", "completions")]
        if pair or reserved:
            raise InputError(
                "the columns of the prompts must have names of their own, also in lower case, and none may be prompts "
                f"or completions; found {(reserved or pair or ('',))[-1]!r}. Rename or remove it."
            )

    def manifest(self) -> dict[str, Any]:
        """Return what makes two runs the same one."""
        return {
            "ref_id": self.model.ref_id,
            **({} if self.policy is None else {"policy_id": self.policy.ref_id}),
            "reward_id": self._reward_id(),
            **self.stopping.to_dict(),
            "seed": self.seed,
            "batch_prompts": self.size,
            "n_prompts": len(self.prompts),
            "prompts": self.prompts.digest(),
        }

    def run(self, told: Callable[[Progress], None]) -> RolloutRun:
        """Draw every shard that is not there; one is rewarded and written while another is drawn for."""
        there, missing = self._shards()
        begun = self._on_disk(there)
        done, in_work = begun, dict[Path, Tally]()

        def tell() -> None:
            total = sum(in_work.values(), start=done)
            told(
                Progress(
                    n_rows=total.n_rows,
                    n_prompts=total.n_prompts,
                    n_prompts_wanted=len(self.prompts),
                    n_tokens=total.n_tokens,
                    n_failed=total.n_failed,
                )
            )

        tell()
        try:
            for shard, tally in self._rounds(missing):
                in_work[shard.path] = tally
                if not shard.open:
                    done += in_work.pop(shard.path)
                tell()
        except ServerError as reason:
            kept = self._on_disk(self._shards()[0]).n_rows
            raise ServerError(
                f"{reason} The {kept:,} completions of finished shards are kept; the same call goes on from there.",
                status=reason.status,
            ) from reason
        return self._result(done, n_before=begun.n_rows)

    def _rounds(self, missing: Sequence[int]) -> Iterator[tuple[Shard, Tally]]:
        """Draw for shards in turn; yield each after every round with what it then holds."""
        waiting = iter(missing)
        turn: deque[tuple[Shard, Future[Tally] | None]] = deque()
        with ThreadPoolExecutor(max_workers=1) as pool:
            while True:
                # A new shard comes first, so that something is drawn while the other one is rewarded.
                while len(turn) < _IN_WORK and (i := next(waiting, None)) is not None:
                    turn.appendleft((self._shard(i), None))
                if not turn:
                    return
                shard, rewarded = turn.popleft()
                if rewarded is not None:
                    yield shard, rewarded.result()
                    if not shard.open:
                        continue
                turn.append(
                    (shard, pool.submit(shard.take, shard.draw(self.policy or self.model), self.reward))
                )

    def _shards(self) -> tuple[list[int], list[int]]:
        """Return which shards are there, and which are missing."""
        all_ = range(-(-len(self.prompts) // self.size))
        there = [i for i in all_ if self.folder.shard(i).exists()]
        return there, sorted(set(all_) - set(there))

    def _on_disk(self, there: list[int]) -> Tally:
        if isinstance(self.stopping, FixedNumber):
            n = sum(len(self.prompts.ids[i * self.size : (i + 1) * self.size]) for i in there)
            return Tally(n_rows=n * self.stopping.n, n_prompts=n)
        return sum(self.folder.tallies([self.folder.shard(i) for i in there]), start=Tally())

    def _shard(self, i: int) -> Shard:
        first = i * self.size
        some = self.prompts.some(first, self.size)
        return Shard(
            prompts=some,
            streams=[np.random.default_rng([self.seed, first + k]) for k in range(len(some))],
            stopping=self.stopping,
            path=self.folder.shard(i),
            scored_by=None if self.policy is None else self.model,
            metadata={
                "ref_id": json.dumps(self.model.ref_id, ensure_ascii=False),
                **self._policy_id(),
                "reward_id": self._reward_id(),
                "stopping": self.stopping.kind,
                **declarations(self.stopping),
            },
        )

    def _policy_id(self) -> dict[str, str]:
        if self.policy is None:
            return {}
        return {"policy_id": json.dumps(self.policy.ref_id, ensure_ascii=False)}

    def _reward_id(self) -> str:
        functions = self.reward if isinstance(self.reward, Mapping) else {"": self.reward}
        return " + ".join(name or name_of(function) for name, function in functions.items())

    def _result(self, done: Tally, *, n_before: int) -> RolloutRun:
        found = {
            "folder": self.folder.path,
            "n_rows": done.n_rows,
            "n_new": done.n_rows - n_before,
            "n_tokens": done.n_tokens,
            "n_failed": done.n_failed,
            "first_error": done.first_error,
        }
        if isinstance(self.stopping, FixedNumber):
            return RolloutRun(**found)
        return WidthRun(
            **found,
            stopping=self.stopping,
            n_prompts=done.n_prompts,
            n_narrow=done.n_narrow,
            most_rows=done.most_rows,
        )
