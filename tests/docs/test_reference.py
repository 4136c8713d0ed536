"""docs/reference.md is made from docstrings and --help pages; ``make golden`` writes it anew."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import tiltz
from tiltz.cli import commands

PAGE = Path(__file__).parents[2] / "docs" / "reference.md"
HEAD = """# Reference

Made from the docstrings and help pages (`make golden`). `help(tiltz.estimate)` shows arguments, shapes, units, errors
and sources in full.

"""


def first_line(thing: Any) -> str:
    line = (inspect.getdoc(thing) or "").partition("\n")[0].replace("``", "`")
    return re.sub(r":[a-z]+:(?=`)", "", line)


def signature(name: str, function: Any) -> str:
    shown: list[str] = []
    for p in inspect.signature(function).parameters.values():
        if p.kind is p.KEYWORD_ONLY and "*" not in shown:
            shown.append("*")
        if p.name != "self":
            shown.append(p.name if p.default is p.empty else f"{p.name}={p.default!r}")
    return f"{name}({', '.join(shown)})"


def members(cls: type) -> Iterator[str]:
    for name, member in vars(cls).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            yield f"- `.{name}`: {first_line(member)}"
        elif inspect.isroutine(inspect.unwrap(getattr(cls, name))):
            yield f"- `.{signature(name, getattr(cls, name))}`: {first_line(getattr(cls, name))}"


def sections() -> Iterator[str]:
    functions = [name for name in tiltz.__all__ if inspect.isfunction(getattr(tiltz, name))]
    classes = [name for name in tiltz.__all__ if inspect.isclass(getattr(tiltz, name))]
    yield "## Functions\n"
    for name in functions:
        function = getattr(tiltz, name)
        yield f"- `tiltz.{signature(name, function)}`: {first_line(function)}"
    yield ""
    yield "## Classes\n"
    for name in classes:
        cls = getattr(tiltz, name)
        yield f"### `tiltz.{name}`\n\n{first_line(cls)}\n"
        attributes = list(getattr(cls, "__dataclass_fields__", {}))
        if attributes:
            yield f"Attributes: {', '.join(f'`{attribute}`' for attribute in attributes)}.\n"
        if listed := list(members(cls)):
            yield "\n".join(listed) + "\n"
    for module in (
        tiltz.laws,
        tiltz.known,
        tiltz.lm,
        tiltz.rewards,
        tiltz.sampling,
        tiltz.testbeds,
        tiltz.errors,
    ):
        yield f"## `{module.__name__}`\n\n{first_line(module)}\n"
        names = getattr(module, "__all__", [name for name in vars(module) if name.endswith("Error")])
        things = [(name, getattr(module, name)) for name in sorted(names)]
        listed = [f"- `{name}`: {first_line(thing)}" for name, thing in things if callable(thing)]
        yield "\n".join(listed) + "\n"
    yield "## Commands\n"
    for name, command in sorted(commands.commands.items()):
        context = click.Context(command, info_name=f"tiltz {name}", max_content_width=100, terminal_width=100)
        yield f"### `tiltz {name}`\n\n```text\n{command.get_help(context)}\n```\n"


def test_reference(request: pytest.FixtureRequest):
    text = HEAD + "\n".join(sections()).rstrip() + "\n"
    if request.config.getoption("--regenerate-golden"):
        PAGE.write_text(text, encoding="utf-8")
    assert text == PAGE.read_text(encoding="utf-8"), "run make golden and review docs/reference.md"
