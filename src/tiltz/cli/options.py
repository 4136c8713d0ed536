"""Options that several commands share, and how their words become values."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
import numpy as np

from tiltz.files.names import kind_of
from tiltz.inference.request import INTERVALS

F = TypeVar("F", bound=Callable[..., Any])

MOST_BETAS = 10_000


class Betas(click.ParamType):
    """A beta, or ``low:high:n``, a geometric grid."""

    name = "beta"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Return the betas that one word stands for."""
        parts = str(value).split(":")
        try:
            numbers = [float(part) for part in parts[:2]]
            count = int(parts[2]) if len(parts) == 3 else 1
        except ValueError:
            self.fail(f"{value!r} is neither a number nor LOW:HIGH:N, such as 0.01:10:25.", param, ctx)
        if len(parts) not in (1, 3) or any(not 0 < number < np.inf for number in numbers) or count < 1:
            self.fail(
                f"{value!r} must be a positive number, or LOW:HIGH:N with positive LOW and HIGH.", param, ctx
            )
        if count > MOST_BETAS:
            self.fail(
                f"a grid may have {MOST_BETAS:,} betas at most; {value!r} asks for {count:,}.", param, ctx
            )
        return (
            (numbers[0],) if len(parts) == 1 else tuple(np.geomspace(numbers[0], numbers[1], count).tolist())
        )


def all_betas(ctx: click.Context, param: click.Parameter, words: Sequence[tuple[float, ...]]) -> list[float]:
    """Return the betas of all the words."""
    return [beta for word in words for beta in word]


def one_beta(ctx: click.Context, param: click.Parameter, words: Sequence[tuple[float, ...]]) -> float:
    """Return the beta of a command that takes only one."""
    betas = all_betas(ctx, param, words)
    if len(betas) != 1:
        raise click.BadParameter(f"{ctx.command.name} takes one beta; found {len(betas):,}.", ctx, param)
    return betas[0]


def only_one(ctx: click.Context, param: click.Parameter, values: Sequence[Any]) -> Any:
    """Return the value of an option of which a second one would be lost."""
    if len(values) > 1:
        raise click.BadParameter(f"only one can be given; found {len(values)}.", ctx, param)
    return values[0] if values else None


class NewFile(click.Path):
    """A file to write, refused before any work where its name or its folder cannot be right."""

    def __init__(self, *suffixes: str) -> None:
        super().__init__(dir_okay=False)
        self.suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name."""
        path = str(super().convert(value, param, ctx))
        if not self.takes(path):
            *others, last = self.suffixes
            ends = f"{', '.join(others)} or {last}" if others else last
            self.fail(f"{path!r} must end in {ends}.", param, ctx)
        folder = os.path.dirname(path)
        if folder and not os.path.isdir(folder):
            self.fail(f"the folder {folder!r} of {path!r} does not exist; create it first.", param, ctx)
        return path

    def takes(self, path: str) -> bool:
        """Say whether the name ends as it must."""
        return os.path.splitext(path)[1] in self.suffixes


class NewTable(NewFile):
    """A table to write; other spellings and compressed files are taken too."""

    def __init__(self) -> None:
        super().__init__(".parquet", ".jsonl", ".csv")

    def takes(self, path: str) -> bool:
        """Say whether the name ends as it must."""
        kind = kind_of(path)
        return kind is not None and kind.format != "arrow"


class Numbers(click.ParamType):
    """Numbers with a separator between them."""

    name = "numbers"

    def __init__(self, separator: str, example: str, count: int | None = None) -> None:
        self.separator, self.example, self.count = separator, example, count

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Return the numbers."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(float(part) for part in str(value).split(self.separator))
        except ValueError:
            numbers = ()
        if not numbers or (self.count is not None and len(numbers) != self.count):
            self.fail(f"{value!r} must be numbers such as {self.example}.", param, ctx)
        return numbers


class Step(click.ParamType):
    """A training step, or the word ``all``."""

    name = "step"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Return the step."""
        if value == "all" or isinstance(value, int):
            return value
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} must be a step's number or 'all'.", param, ctx)


def reading(command: F) -> F:
    """Add the options that say what to read, and how."""
    options = [
        # A folder or a pattern too, so click is not asked whether it exists; a path, so that shells complete it.
        click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path()),
        click.option(
            "--reward",
            "reward",
            multiple=True,
            metavar="NAME",
            help="Reward column; several, or WEIGHT*NAME, are summed with their weights.",
        ),
        click.option(
            "--step",
            type=Step(),
            multiple=True,
            callback=only_one,
            help="Training step to read, or 'all' for each on its own.",
        ),
        click.option(
            "--drawn-from",
            type=click.Choice(["reference", "policy"]),
            help="Who drew the rows, where the columns do not say it.",
        ),
        click.option(
            "--prompt",
            "wanted",
            multiple=True,
            metavar="TEXT",
            help="Keep the prompts with this label or, if there is none, those that contain it.",
        ),
    ]
    return _apply(options, command)


def declaring(command: F) -> F:
    """Add the options that declare rewards and choose the interval."""
    options = [
        click.option("--level", type=float, default=0.95, show_default=True, help="Confidence level."),
        click.option(
            "--interval",
            type=click.Choice([*INTERVALS, "none"]),
            metavar="METHOD",
            default="auto",
            show_default=True,
            help=f"How samples get their interval: {', '.join(INTERVALS)} or none.",
        ),
        click.option(
            "--reward-range",
            type=Numbers(":", "0:1", count=2),
            metavar="LOW:HIGH",
            help="Declare the lowest and highest possible reward.",
        ),
        click.option(
            "--reward-values",
            type=Numbers(",", "0,1"),
            metavar="A,B",
            help="Declare all possible rewards.",
        ),
    ]
    return _apply(options, command)


def writing(command: F) -> F:
    """Add the options that say where results go."""
    options = [
        click.option(
            "--output",
            "-o",
            type=NewTable(),
            help="Write the rows to FILE as well: .parquet, .jsonl or .csv.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object; messages go to stderr."),
    ]
    return _apply(options, command)


def reward_weights(words: tuple[str, ...]) -> str | dict[str, float] | None:
    """Return what ``--reward`` words mean: nothing, one column, or weights by column.

    A word ``WEIGHT*NAME`` carries a weight if what stands before the first ``*`` is a number.
    """
    weights: dict[str, float] = {}
    for word in words:
        before, star, name = word.partition("*")
        try:
            weight = float(before) if star else 1.0
        except ValueError:
            weight, name = 1.0, word
        name = name.strip() if star and name else word
        if name in weights:
            raise click.BadParameter(f"the column {name!r} is named twice.", param_hint="--reward")
        weights[name] = weight
    if not weights:
        return None
    return next(iter(weights)) if list(weights.values()) == [1.0] else weights


def _apply(options: list[Any], command: F) -> F:
    for option in reversed(options):
        command = option(command)
    return command
