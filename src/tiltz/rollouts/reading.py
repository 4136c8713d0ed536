"""Files of rollouts -> Outcomes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from tiltz.files import expand, open_table
from tiltz.files.names import PathLike, each_once
from tiltz.outcomes import Outcomes
from tiltz.rollouts import trl_run
from tiltz.rollouts.drawn import has_values, who_drew
from tiltz.rollouts.layouts import Draws, recognise
from tiltz.rollouts.numbers import as_number
from tiltz.rollouts.provenance import agreed_metadata, declared_by_files
from tiltz.rollouts.rewards import declared, named_weights, reward_weights, summed_rewards
from tiltz.rollouts.rows import Rows, rows_of
from tiltz.rollouts.source import Rollouts
from tiltz.rollouts.steps import choose_step
from tiltz.rollouts.wording import count, steps_in_words

_TEXT = {"prompt", "prompt_id", "completion", "input", "output"}


def read(
    path: PathLike | Sequence[PathLike],
    *,
    reward: str | Mapping[str, float] | None = None,
    step: int | Literal["all"] | None = None,
    drawn_from: Literal["reference", "policy"] | None = None,
    reward_range: Sequence[float] | None = None,
    reward_values: Sequence[float] | None = None,
) -> Outcomes:
    """Read rollouts from files; the layout is recognised from the columns.

    Parameters
    ----------
    path : str, path or sequence of these
        A file (Parquet, JSON lines, CSV, or Arrow where pyarrow is installed), a folder of files, a run
        folder of TRL, or a pattern such as ``"rollouts/*.jsonl.gz"``.
    reward : str or mapping of str to float, optional
        The reward column, or columns and their weights. Left out, the layout's own reward column. In a
        weighted sum, NaN in some of the columns is an abstention and is skipped.
    step : int or "all", optional
        The training step to read, or all steps, each with its own groups. Needed where there are several.
    drawn_from : {"reference", "policy"}, optional
        Who drew the rows. Left out: the proposal where ``log_proposal`` is there, else the policy where
        ``log_policy`` is, else the reference; for logs of a trainer, the policy of the step. What ``tiltz
        sample`` drew from a tilted policy is read only where this is given.
    reward_range : (float, float), optional
        Declares the lowest and highest reward that any outcome can have. Left out, with the next: what the files
        declare about their own column ``reward``, as ``tiltz rollout`` writes it where the reward says its range.
    reward_values : sequence of float, optional
        Declares all rewards that any outcome can have.

    Returns
    -------
    Outcomes
        Sampled, one row per completion, grouped by prompt (and step); ``source`` is a :class:`Rollouts`.

    Raises
    ------
    FileError
        If a file is missing, damaged or not what its name says.
    LayoutError
        If the columns do not say what is needed, or a value in them is not legal; the file, row and prompt
        are named.
    InputError
        If an argument is not legal.
    MissingExtraError
        If an Arrow file is read without pyarrow.

    Notes
    -----
    The rows of a trainer's log are draws from the policy of their step. Without log-probabilities Z is
    relative to that policy, not to the reference; ``source.notes`` says which.
    """
    named = named_weights(reward)
    table = open_table(_files(path), text_columns=_TEXT)
    metadata = agreed_metadata(table.files, table.metadata)
    draws = recognise(table, named)
    settings = trl_run.settings_of(table.files) if draws.layout.name == "trl" else {}
    weights = reward_weights(draws, named, settings.get("reward_weights") or ())
    rows, usual, notes = _used_rows(draws, settings, step)
    rewards, abstentions = summed_rewards(draws, rows, weights)
    if reward is None and reward_range is None and reward_values is None:
        by_files = declared_by_files(metadata)
        reward_range, reward_values = by_files.get("reward_range"), by_files.get("reward_values")
    within, among = declared(rows, rewards, reward_range, reward_values)
    drawn = who_drew(draws, rows, drawn_from)
    notes = [drawn.note, *notes, *abstentions, *_truncated(draws, rows)]
    if draws.layout.name == "trl":
        notes += trl_run.advantage_note(draws, rows, rewards, usual)
    source = Rollouts(
        files=table.files,
        layout=draws.layout.name,
        recognised=_recognised(draws, rows, weights),
        missing=_missing(draws),
        notes=tuple(notes),
        reward=weights,
        metadata=metadata,
        table=draws.table,
        position=rows.position,
    )
    return Outcomes.sampled(
        rewards,
        prompt=rows.labels[rows.code],
        step=rows.step,
        log_ref=drawn.log_ref,
        log_proposal=drawn.log_proposal,
        log_densities=None if drawn.log_policy is None else {"policy": drawn.log_policy},
        drawn_from=drawn.name,
        stopping="adaptive" if metadata.get("stopping") == "adaptive" else "fixed",
        reward_range=within,
        reward_values=among,
        source=source,
    )


def _files(path: PathLike | Sequence[PathLike]) -> tuple[str, ...]:
    """Return the data files; a run folder of TRL stands for its completions."""
    if isinstance(path, str | os.PathLike):
        inside = os.path.join(os.path.expanduser(os.fspath(path)), "completions")
        return expand(inside if os.path.isdir(inside) else path)
    return each_once(file for one in path for file in _files(one)) or expand(path)


def _used_rows(
    draws: Draws, settings: dict, step: int | Literal["all"] | None
) -> tuple[Rows, int | None, list[str]]:
    """Return the rows that count, the usual group size of a TRL run, and notes about what was left out."""
    rows = rows_of(draws)
    if draws.layout.name != "trl":
        return choose_step(rows, step, {}), None, []
    rows, repeats, notes = trl_run.without_repeats(draws, rows)
    usual = trl_run.usual_group_size(rows, settings)
    rows = choose_step(rows, step, repeats)
    rows, more = trl_run.without_odd_groups(rows, usual)
    return rows, usual, [*notes, *more]


def _truncated(draws: Draws, rows: Rows) -> list[str]:
    if "truncated" not in draws.names:
        return []
    number = as_number(draws.column("truncated"), draws.table.columns[draws.names["truncated"]])
    if number is None:
        return []
    n = int(np.sum(np.ma.filled(draws.fetch(value=number)["value"], 0.0)[rows.index] == 1.0))
    return [f"{count(n, 'row')} of {len(rows)} truncated, outcomes like any other."] if n else []


def _recognised(draws: Draws, rows: Rows, weights: Mapping[str, float]) -> str:
    steps = [] if rows.step is None else np.unique(rows.step).tolist()
    at = f", step{'s' if len(steps) > 1 else ''} {steps_in_words(steps)}" if steps else ""
    terms = " + ".join(name if weight == 1 else f"{weight:g}*{name}" for name, weight in weights.items())
    return (
        f"{draws.layout.title}, {count(len(draws.table.files), 'file')}{at}: {count(len(rows), 'row')}, "
        f"{count(len(np.unique(rows.code)), 'prompt')}; reward = {terms}"
    )


def _missing(draws: Draws) -> str:
    lacking = [word for word in ("log_policy", "log_ref") if not has_values(draws, word)]
    if not lacking:
        return "nothing is missing: log_policy and log_ref are there for an audit"
    what = "no log-probabilities" if len(lacking) == 2 else f"no {lacking[0]}"
    return f"{what}: fine for estimate, sweep and sample; an audit needs log_policy and log_ref"
