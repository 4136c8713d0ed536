"""What the commands have in common: reading a table with a progress bar, and giving results back."""

from __future__ import annotations

import codecs
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from tiltz.cli.options import reward_weights
from tiltz.errors import FileError, InputError
from tiltz.files import json_ready, write_columns
from tiltz.inference import Overall
from tiltz.outcomes import Outcomes
from tiltz.rollouts import read
from tiltz.text import paragraph

SCHEMA = "tiltz/1"


@contextmanager
def progress(what: str) -> Iterator[Callable[[float], None]]:
    """Show a bar on stderr while work goes on, if a person is watching."""
    if not sys.stderr.isatty():
        yield lambda share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda share: bar.update(task, total=1.0, completed=share)


def read_table(
    files: tuple[str, ...],
    reward: tuple[str, ...],
    step: Any,
    drawn_from: Any,
    wanted: tuple[str, ...],
    *,
    to_write: Sequence[str | None] = (),
    **declared: Any,
) -> Outcomes:
    """Return the rollouts that the options of :func:`tiltz.cli.options.reading` name, none of which is written to."""
    with progress("reading"):
        outcomes = read(
            list(files), reward=reward_weights(reward), step=step, drawn_from=drawn_from, **declared
        )
    for target in to_write:
        keep_from(target, outcomes.source.files)
    return keep(outcomes, wanted) if wanted else outcomes


def keep(outcomes: Outcomes, wanted: tuple[str, ...]) -> Outcomes:
    """Return the prompts whose label is one of the words or, word by word, contains it."""
    labels = [str(label) for label in outcomes.prompt]
    keep = [False] * len(labels)
    for word in wanted:
        found = [label == word for label in labels]
        if not any(found):
            found = [word.casefold() in label.casefold() for label in labels]
        if not any(found):
            raise InputError(
                f"--prompt {word!r} must name a prompt of the table; none of its {len(labels):,} labels is or contains "
                f"it. The first label is {labels[0][:60]!r}."
            )
        keep = [a or b for a, b in zip(keep, found, strict=True)]
    return outcomes.select(keep)


def keep_from(target: str | None, files: Iterable[str]) -> None:
    """Refuse to write to a file that rollouts were read from."""
    if target is None or not os.path.exists(target):
        return
    for file in files:
        if os.path.samefile(file, target):
            raise FileError(
                f"results must go to another file than the rollouts; {target!r} is one that was read. Nothing was "
                "written."
            )


def give(
    outcomes: Outcomes,
    columns: dict[str, list[Any]],
    overall: Any,
    text: str,
    *,
    output: str | None,
    as_json: bool,
    **more: Any,
) -> None:
    """Write the rows where asked, then print the JSON object, with what else belongs to it, or the text."""
    if output is not None:
        write(columns, output)
    if as_json:
        result = {"schema": SCHEMA, "rows": rows_json(columns), "overall": overall, **more}
        result["source"] = outcomes.source.to_dict()
        encoding = getattr(sys.stdout, "encoding", None) or "ascii"
        lossless = codecs.lookup(encoding).name == "utf-8"
        click.echo(json.dumps(json_ready(result), ensure_ascii=not lossless, allow_nan=False))
    else:
        click.echo(text)


def rows_json(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Return one object per row of a table that is given as a list per column."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def write(columns: dict[str, list[Any]], output: str) -> None:
    """Write rows to a file, and say so."""
    write_columns(columns, output)
    click.echo(f"wrote {len(columns['prompt']):,} rows to {output}", err=True)


def about(outcomes: Outcomes, *more: str) -> str:
    """Return what was read, and what else a reader must know, as the lines that head a summary."""
    source = outcomes.source
    sentences = [source.recognised, source.missing, *source.notes, *more]
    return "\n".join(line for sentence in sentences if sentence for line in paragraph(sentence))


def overall_json(overall: Overall, betas: Any, level: float) -> Any:
    """Return means over prompts as JSON: an object for one beta, else a list."""
    found = [
        {
            "beta": float(beta),
            "soft_value": float(overall.soft_value[j]),
            "lo": float(overall.lo[j]),
            "hi": float(overall.hi[j]),
            "level": level,
            "n_prompts": overall.n_prompts,
            "n_unbounded": int(overall.n_unbounded[j]),
            "kind": str(overall.kind[j]),
            "over": overall.over,
        }
        for j, beta in enumerate(betas)
    ]
    return found[0] if len(found) == 1 else found
