"""Files of a policy and of its reference -> the tables of an audit, and what the files say against their numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiltz.auditing import Check
from tiltz.errors import InputError, LayoutError
from tiltz.files import identifier
from tiltz.files.names import PathLike
from tiltz.files.table import POSITION
from tiltz.outcomes import Outcomes
from tiltz.rollouts.reading import read
from tiltz.rollouts.row_checks import SAME, checks_of_rows
from tiltz.rollouts.source import Rollouts

_SPEC = ("temperature", "top_k", "top_p", "min_p", "max_tokens", "stop")
_WORDS = ("log_ref", "log_policy", "log_proposal", "completion_ids", "completion", "prompt")
_TOKENS = {"log_ref": "log_ref_tokens", "log_policy": "log_policy_tokens"}
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """What :func:`tiltz.audit` takes, read from files."""

    policy: Outcomes
    reference: Outcomes | None
    checks: tuple[Check, ...]
    notes: tuple[str, ...]


@dataclass(slots=True)
class _File:
    """Rows of one file, with their columns; ``log_ref`` and ``log_policy`` are filled in by scores."""

    name: str
    table: Outcomes
    columns: dict[str, Any]
    settings: dict[str, Any]
    retokenised: bool = False

    @property
    def source(self) -> Rollouts:
        return self.table.source


def read_audited(
    policy: PathLike | Sequence[PathLike],
    reference: PathLike | Sequence[PathLike] | None = None,
    *,
    score_policy: str | None = None,
    score_reference: str | None = None,
    **reading: Any,
) -> Audited:
    """Read rollouts of a policy, and of its reference, for an audit.

    Parameters
    ----------
    policy : str, path or sequence of these
        Rows that the policy drew, with ``log_policy`` and ``log_ref``. Where a file says by its ``ref_id`` what drew
        it, and has no ``log_policy``, its ``log_ref`` is the log-probability under that model, the policy.
    reference : str, path or sequence of these, optional
        Rows that the reference drew; ``log_policy`` is the policy's score of them.
    score_policy, score_reference : str, optional
        Names of models (:func:`tiltz.lm.load`) that score all rows; what the files say is compared with it.
    **reading
        As :func:`tiltz.read` takes it: ``reward``, ``step``, ``reward_range``, ``reward_values``.

    Returns
    -------
    Audited
        Both tables, and the checks of what only files and models show.

    Raises
    ------
    LayoutError
        If log-probabilities are missing and no model scores them.
    InputError
        If rows cannot be scored.
    """
    own = _opened("policy", policy, reading)
    theirs = None if reference is None else _opened("reference", reference, reading)
    files = [own] if theirs is None else [own, theirs]
    _sampler_by_ref_id(own)
    checks = [_settings(files)]
    for word, name in (("log_policy", score_policy), ("log_ref", score_reference)):
        if name is not None:
            checks.append(_scored(files, word, name))
    for word in ("log_policy", "log_ref"):
        _require(own, word)
    for file in files:
        checks += checks_of_rows(
            file.name,
            file.table.groups.of_row,
            file.columns,
            drawn_by="log_policy" if file is own else "log_ref",
            tokens=_TOKENS,
        )
    notes = tuple(
        f"rows of the {file.name} were scored by text, tokenised again" for file in files if file.retokenised
    )
    return Audited(
        policy=_policy_table(own),
        reference=None if theirs is None else _reference_table(theirs),
        checks=tuple(checks),
        notes=notes,
    )


def _opened(name: str, path: PathLike | Sequence[PathLike], reading: Mapping[str, Any]) -> _File:
    table = read(path, drawn_from="reference", **reading)
    source: Rollouts = table.source
    names = set(source.table.columns)
    if {"beta", "weight"} <= names:
        raise LayoutError(
            f"an audit needs rows as they were drawn; those of {source.files[0]!r} have the columns beta and weight, "
            "as tiltz sample writes rows that it resampled. Give the rollouts that they come from."
        )
    wanted = [word for word in (*_WORDS, *_TOKENS.values()) if word in names]
    columns: dict[str, Any] = {word: _column(source, word) for word in wanted}
    for word in ("log_ref", "log_policy", "log_proposal"):
        if word in columns:
            columns[word] = _log_probs(source, word, columns[word])
    if name == "policy" and "log_policy" not in columns and "log_proposal" in columns:
        columns["log_policy"] = columns["log_proposal"]
    columns = {word: values for word, values in columns.items() if values is not None}
    _refuse_other_sampler(source, columns, "log_policy" if name == "policy" else "log_ref")
    return _File(name=name, table=table, columns=columns, settings=_said(source.metadata))


def _refuse_other_sampler(source: Rollouts, columns: Mapping[str, Any], own: str) -> None:
    """Refuse rows that, by their own ``log_proposal``, neither the policy nor the reference drew."""
    if own not in columns or "log_proposal" not in columns:
        return
    with np.errstate(invalid="ignore"):
        apart = float(np.nan_to_num(np.abs(columns["log_proposal"] - columns[own])).max(initial=0.0))
    if apart > SAME:
        raise LayoutError(
            "an audit is about rows that the policy drew, beside rows that the reference drew; log_proposal, which "
            f"says what drew those of {source.files[0]!r}, differs from {own} by up to {apart:.3g} nats. Give rows "
            f"that were drawn as {own} says, or remove log_proposal if it is wrong."
        )


def _column(source: Rollouts, word: str) -> np.ndarray | list[Any]:
    """Return a column's values, row by row as the table has them."""
    nested = source.table.columns[word].endswith("]") or source.table.columns[word] in ("JSON",)
    column = identifier(word)
    shown = f"CAST(to_json({column}) AS VARCHAR)" if nested else column
    values = source.table.arrays(
        f"SELECT {POSITION} AS position, {shown} AS value FROM {source.table.relation} ORDER BY {POSITION}"
    )
    rows = np.searchsorted(np.ma.getdata(values["position"]), source.position)
    found = values["value"][rows]
    if not nested:
        return found
    return [None if text is None else json.loads(text) for text in np.ma.filled(found, None).tolist()]


def _log_probs(source: Rollouts, word: str, values: Any) -> np.ndarray | None:
    """Return log-probabilities, None where the column is empty."""
    try:
        numbers = np.ma.filled(np.ma.asarray(values).astype(np.float64), np.nan)
    except (TypeError, ValueError) as reason:
        raise LayoutError(
            f"{word} must hold one number per row, the log-probability of the whole completion; found another type in "
            f"{source.files[0]!r}. Sum it over the tokens."
        ) from reason
    if np.all(np.isnan(numbers)):
        return None
    bad = np.isnan(numbers) | (numbers > _ROUNDING)
    if bad.any():
        i = int(np.argmax(bad))
        raise LayoutError(
            f"{word} must be a log-probability, a number of at most 0, in every row; found {numbers[i]:g} in row {i} "
            f"of {source.files[0]!r} ({int(bad.sum()):,} such). Repair or remove them, or score them with a model."
        )
    return np.minimum(numbers, 0.0)


def _said(metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        said = json.loads(metadata.get("ref_id", ""))
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _sampler_by_ref_id(own: _File) -> None:
    """Take ``log_ref`` of a file that says what drew it for the policy's, where no other is there."""
    if "model" in own.settings and "log_policy" not in own.columns and "log_ref" in own.columns:
        own.columns["log_policy"] = own.columns.pop("log_ref")


def _require(own: _File, word: str) -> None:
    if word not in own.columns:
        option = "--score-policy" if word == "log_policy" else "--score-reference"
        raise LayoutError(
            f"an audit needs {word} in the policy's rows; {own.source.files[0]!r} has none. Add the column, or score "
            f"the completions with a model: {option} NAME."
        )


def _settings(files: Sequence[_File]) -> Check:
    """Compare what the files say about how their rows were drawn."""
    name = "sampling settings"
    told = [{key: file.settings[key] for key in _SPEC if key in file.settings} for file in files]
    if len(told) < 2 or not all(told):
        text = (
            "no file says how its rows were drawn"
            if not any(told)
            else "only one file says how its rows were drawn"
        )
        return Check(name=name, status="not checkable", text=text)
    other = [key for key in _SPEC if key in told[0] and key in told[1] and told[0][key] != told[1][key]]
    if other:
        text = "; ".join(
            f"{key} {told[0][key]!r} of the policy, {told[1][key]!r} of the reference" for key in other
        )
        return Check(name=name, status="failed", text=text)
    return Check(name=name, status="passed", text="policy and reference were drawn alike")


def _scored(files: Sequence[_File], word: str, name: str) -> Check:
    """Score the rows of all files with a model; compare with what they say."""
    from tiltz.lm import SamplingSpec, load

    of_policy = word == "log_policy"
    order = files if of_policy else files[::-1]
    said = next((file.settings for file in order if set(_SPEC) <= set(file.settings)), None)
    spec = (
        None
        if said is None
        else SamplingSpec(**{**{key: said[key] for key in _SPEC}, "stop": tuple(said["stop"])})
    )
    model = load(name, spec=spec)
    apart, compared = 0.0, 0
    for file in files:
        found = _scores(file, model)
        if word in file.columns and not file.retokenised:
            given = file.columns[word]
            off = np.abs(found - given)
            off = np.where(found == given, 0.0, off)
            apart = max(apart, float(np.max(off / (1 + 0.05 * np.abs(given)))))
            compared += len(off)
        file.columns[word] = found
    check = f"{word} scored again by {name}"
    if not compared:
        return Check(name=check, status="not checkable", text="the files hold no such scores to compare with")
    status = "failed" if apart > SAME else "passed"
    return Check(name=check, status=status, text=f"largest difference {apart:.3g} nats, of {compared:,} rows")


def _scores(file: _File, model: Any) -> np.ndarray:
    if "prompt" not in file.columns or not {"completion_ids", "completion"} & set(file.columns):
        raise LayoutError(
            "rows are scored by their prompt and their completion_ids (or completion); "
            f"{file.source.files[0]!r} has {', '.join(file.columns) or 'none of these'}. Add the columns."
        )
    file.retokenised = "completion_ids" not in file.columns
    completions = file.columns["completion" if file.retokenised else "completion_ids"]
    prompts = [_prompt(prompt) for prompt in _listed(file.columns["prompt"])]
    found = np.asarray(model.log_prob(prompts, _listed(completions)), dtype=np.float64)
    if np.any(np.isnan(found)):
        raise InputError(f"a model must score every row; row {int(np.argmax(np.isnan(found)))} has no score.")
    return found


def _listed(values: Any) -> list[Any]:
    return values if isinstance(values, list) else np.ma.getdata(values).tolist()


def _prompt(prompt: Any) -> Any:
    """Return text, or the chat messages that a text is the JSON of."""
    if isinstance(prompt, str) and prompt.startswith("[{"):
        try:
            return json.loads(prompt)
        except ValueError:
            return prompt
    return prompt


def _policy_table(file: _File) -> Outcomes:
    return _table(file, log_proposal=file.columns["log_policy"], drawn_from="policy")


def _reference_table(file: _File) -> Outcomes:
    known = {"log_ref", "log_policy"} <= set(file.columns)
    return _table(file, log_densities={"policy": file.columns["log_policy"]} if known else None)


def _table(file: _File, **densities: Any) -> Outcomes:
    table = file.table
    return Outcomes.sampled(
        table.reward,
        prompt=table.prompt[table.groups.of_row],
        step=None if table.step is None else table.step[table.groups.of_row],
        log_ref=file.columns.get("log_ref"),
        stopping=table.stopping,
        reward_range=table.reward_range,
        reward_values=table.reward_values,
        source=table.source,
        **densities,
    )
