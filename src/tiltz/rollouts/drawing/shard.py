"""The completions of some prompts, from the first draw to the file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.files import write_columns
from tiltz.inference.monitor import Monitor
from tiltz.lm import Completion, LanguageModel
from tiltz.rewards import Evaluated, Reward, evaluate
from tiltz.rewards.messages import as_text
from tiltz.rollouts.drawing.pair import check_tokens
from tiltz.rollouts.drawing.prompts import Prompts
from tiltz.rollouts.drawing.stopping import Stopping

Floats = npt.NDArray[np.float64]

COLUMNS = (
    "prompt_id",
    "prompt",
    "completion",
    "reward",
    "log_ref",
    "n_tokens",
    "truncated",
    "completion_ids",
    "error",
)
"""What every row has, whatever its prompt and its rewards bring."""
_UNTIL = "until"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What shards hold, and how their prompts ended.

    Attributes
    ----------
    n_rows, n_prompts : int
        Completions, and prompts that get no more.
    n_narrow : int
        Prompts whose interval is as narrow as was wanted.
    most_rows : int
        Completions of the one of these that needed most.
    n_tokens, n_failed : int
        Tokens, and completions without a reward; of what was drawn in this run.
    first_error : str
        Why the first of these has none.
    """

    n_rows: int = 0
    n_prompts: int = 0
    n_narrow: int = 0
    most_rows: int = 0
    n_tokens: int = 0
    n_failed: int = 0
    first_error: str = ""

    def __add__(self, other: Tally) -> Tally:
        """Return what both hold."""
        return Tally(
            n_rows=self.n_rows + other.n_rows,
            n_prompts=self.n_prompts + other.n_prompts,
            n_narrow=self.n_narrow + other.n_narrow,
            most_rows=max(self.most_rows, other.most_rows),
            n_tokens=self.n_tokens + other.n_tokens,
            n_failed=self.n_failed + other.n_failed,
            first_error=self.first_error or other.first_error,
        )


def tally_of(n_rows: int, metadata: Mapping[str, str]) -> Tally:
    """Return what a shard holds by the metadata of its file."""
    told = json.loads(metadata.get(_UNTIL, "{}"))
    return Tally(
        n_rows=n_rows, **{name: told.get(name, 0) for name in ("n_prompts", "n_narrow", "most_rows")}
    )


@dataclass(slots=True, kw_only=True)
class Shard:
    """Some prompts and their completions so far.

    Attributes
    ----------
    prompts : Prompts
        What is completed.
    streams : list of numpy.random.Generator
        One for each prompt, which goes on from round to round.
    stopping : FixedNumber or UntilNarrow
        When a prompt has enough.
    path : Path
        Of the file.
    metadata : dict of str to str
        Of the file.
    scored_by : LanguageModel, optional
        The reference, where a policy draws.
    """

    prompts: Prompts
    streams: list[np.random.Generator]
    stopping: Stopping
    path: Path
    metadata: dict[str, str]
    scored_by: LanguageModel | None = None
    open: list[int] = field(default_factory=list)
    _n_each: int = 0  # completions of every open prompt
    _needed: dict[int, int] = field(default_factory=dict)  # completions of each prompt that is narrow enough
    _n_failed: int = 0
    _n_tokens: int = 0
    _seen: Monitor | None = None
    _place: list[int] = field(default_factory=list)  # prompt of each completion
    _drawn: list[Completion] = field(default_factory=list)
    _values: dict[str, list[float]] = field(default_factory=dict)
    _errors: list[str | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin with every prompt."""
        self.open = list(range(len(self.prompts)))
        self._seen = self.stopping.watch()

    def draw(self, model: LanguageModel) -> list[list[Completion]]:
        """Draw the next round of completions of the prompts that are not finished."""
        n = self.stopping.more(self._n_each)
        drawn = model.sample(
            [self.prompts.prompts[i] for i in self.open], n, [self.streams[i] for i in self.open]
        )
        if self.scored_by is not None:
            check_tokens(model, self.scored_by, drawn)
        return drawn

    def take(self, drawn: Sequence[Sequence[Completion]], reward: Reward | Mapping[str, Reward]) -> Tally:
        """Reward a round of completions, find out which prompts need more, and write the file if none does."""
        place = [i for i, group in zip(self.open, drawn, strict=True) for _ in group]
        flat = [completion for group in drawn for completion in group]
        columns = {name: [values[i] for i in place] for name, values in self.prompts.columns.items()}
        found = evaluate(reward, [self.prompts.prompts[i] for i in place], [c.text for c in flat], columns)
        total, errors = _total(found)
        self._place += place
        self._drawn += flat
        self._errors += errors
        for name, values in found.values.items():
            self._values.setdefault(name, []).extend(values.tolist())
        self._n_failed += sum(error is not None for error in errors)
        self._n_tokens += sum(len(c.ids) for c in flat)
        self._n_each += self.stopping.more(self._n_each)
        self._close(np.array(place), total)
        tally = self._tally()
        if not self.open:
            self._write(tally)
        return tally

    def _tally(self) -> Tally:
        """Return what it holds so far."""
        return Tally(
            n_rows=len(self._place),
            n_prompts=len(self.prompts) - len(self.open),
            n_narrow=len(self._needed),
            most_rows=max(self._needed.values(), default=0),
            n_tokens=self._n_tokens,
            n_failed=self._n_failed,
            first_error=next((error for error in self._errors if error is not None), ""),
        )

    def _close(self, place: npt.NDArray[Any], total: Floats) -> None:
        """Take from the open prompts those that are finished."""
        if self._seen is not None:
            known = ~np.isnan(total)
            self._show(self._seen, place[known], total[known])
            narrow = self.stopping.narrow(self._seen)
            self._needed |= {i: self._n_each for i in self.open if i in narrow}
        spent = self.stopping.more(self._n_each) <= 0
        self.open = [i for i in self.open if not spent and i not in self._needed]

    def _show(self, seen: Monitor, place: npt.NDArray[Any], rewards: Floats) -> None:
        try:
            seen.push(rewards, prompt=place)
        except InputError:
            for i, reward in zip(place.tolist(), rewards, strict=True):
                self._refuse_undeclared(i, reward)
            raise

    def _refuse_undeclared(self, i: int, reward: float) -> None:
        rule = self.stopping
        low, high = rule.reward_range or (-np.inf, np.inf)
        if low <= reward <= high and (rule.reward_values is None or reward in rule.reward_values):
            return
        among = f"in [{low:g}, {high:g}]" if rule.reward_values is None else f"one of {rule.reward_values}"
        raise InputError(
            f"every reward must be {among}, as declared, or no limit holds; found {reward:g} for a completion of "
            f"prompt {self.prompts.ids[i]!r:.80}. Correct the declaration or the reward, and draw into another folder."
        )

    def _write(self, tally: Tally) -> None:
        order = np.argsort(np.array(self._place), kind="stable").tolist()
        place = [self._place[k] for k in order]
        drawn = [self._drawn[k] for k in order]
        values = {name: np.array(column)[order] for name, column in self._values.items()}
        table: dict[str, Any] = {
            "prompt_id": [self.prompts.ids[i] for i in place],
            "prompt": [as_text(self.prompts.prompts[i]) for i in place],
            "completion": [c.text for c in drawn],
            "reward": np.sum(list(values.values()), axis=0),
            **(values if len(values) > 1 else {}),
            **self._log_probs(place, drawn),
            "n_tokens": np.array([len(c.ids) for c in drawn], dtype=np.int32),
            "truncated": np.array([c.truncated for c in drawn]),
            "completion_ids": [list(c.ids) for c in drawn],
            "error": [self._errors[k] for k in order],
        }
        further = {name: column for name, column in self.prompts.columns.items() if name not in table}
        table |= {name: [column[i] for i in place] for name, column in further.items()}
        write_columns(table, self.path, metadata={**self.metadata, **self._until(tally)})

    def _log_probs(self, place: Sequence[int], drawn: Sequence[Completion]) -> dict[str, Floats]:
        own = np.array([c.log_prob for c in drawn])
        if self.scored_by is None:
            return {"log_ref": own}
        prompts = [self.prompts.prompts[i] for i in place]
        return {"log_ref": self.scored_by.log_prob(prompts, drawn), "log_policy": own}

    def _until(self, tally: Tally) -> dict[str, str]:
        """Return, for the metadata of an adaptive run, the rule and how its prompts ended."""
        if self.stopping.kind == "fixed":
            return {}
        told = {"n_prompts": tally.n_prompts, "n_narrow": tally.n_narrow, "most_rows": tally.most_rows}
        return {_UNTIL: json.dumps({**self.stopping.to_dict(), **told})}


def _total(found: Evaluated) -> tuple[Floats, list[str | None]]:
    """Return the sum of all rewards of each row, NaN where one is missing, and why."""
    total = np.sum(list(found.values.values()), axis=0)
    per_row = zip(*found.errors.values(), strict=True)
    errors = ["; ".join(e for e in row if e is not None) or None for row in per_row]
    return total, errors
