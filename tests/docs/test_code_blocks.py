"""Every code block of README.md, CONTRIBUTING.md and docs/ is run, and what it prints is compared.

- ``python``: with ``>>>`` a doctest, else executed; all blocks of a file share one namespace and one empty folder.
- ``output`` directly after a plain ``python`` block: what that block prints.
- ``console``: lines after ``$`` are run by the shell, the lines below them are what it prints.
- ``sh``, or no language: each line is run.
- ``json``: each line, or the whole, is a JSON value. ``text`` is no code.
- ``<!-- run ... -->``: shell lines that a reader does not see, to lay out the files that a page speaks of.

``...`` stands for anything. ``make X`` is checked to be a target of the Makefile and not run here, nor are the lines
that would leave the folder or install something (``NOT_RUN``). Any other language is a failure.
"""

import contextlib
import doctest
import io
import json
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOT_RUN = re.compile(r"(git (clone|tag|push)|cd|pip install|python -m pip install|source)\b")
BLOCK = re.compile(
    r"^(?P<indent>[ ]*)(?P<fence>`{3,})(?P<language>[^\n`]*)\n(?P<body>.*?)^(?P=indent)(?P=fence)[ ]*$"
    r"|^<!-- run\n(?P<hidden>.*?)-->",
    re.MULTILINE | re.DOTALL,
)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    language: str
    body: str
    line: int
    follows: bool  # nothing but blank lines stands between it and the block before


def blocks_of(text: str) -> list[Block]:
    blocks, end = [], 0
    for match in BLOCK.finditer(text):
        hidden = match["hidden"]
        blocks.append(
            Block(
                language="sh" if hidden is not None else match["language"].strip(),
                body=hidden if hidden is not None else textwrap.dedent(match["body"]),
                line=text.count("\n", 0, match.start()) + 2,
                follows=bool(blocks) and not text[end : match.start()].strip(),
            )
        )
        end = match.end()
    return blocks


class Page:
    """Runs the blocks of one page, in order, in one folder and one namespace."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.printed: str | None = None  # by the plain python block just above

    def run_all(self, text: str) -> None:
        for block in blocks_of(text):
            self.run(block)

    def run(self, block: Block) -> None:
        where = f"{self.path.name}, line {block.line}"
        printed, self.printed = self.printed, None
        if block.language == "python" and ">>>" in block.body:
            self.doctest(block, where)
        elif block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile("\n" * (block.line - 1) + block.body, str(self.path), "exec"), self.names)
            self.printed = out.getvalue()
        elif block.language == "output" and block.follows and printed is not None:
            compare(block.body, printed, where)
        elif block.language == "console":
            for command, wanted in commands_of(block.body):
                self.shell(command, wanted, where)
        elif block.language in ("sh", ""):
            for command in block.body.replace("\\\n", "").splitlines():
                self.shell(command, None, where)
        elif block.language == "json":
            for value in block.body.splitlines() if "\n{" in block.body else [block.body]:
                json.loads(value)
        elif block.language != "text":
            pytest.fail(
                f"{where}: a block of {block.language!r} is not checked by anything; see {Path(__file__).name}"
            )

    def doctest(self, block: Block, where: str) -> None:
        example = doctest.DocTestParser().get_doctest(
            block.body, self.names, where, str(self.path), block.line - 1
        )
        report: list[str] = []
        doctest.DocTestRunner(optionflags=OPTIONS).run(example, out=report.append, clear_globs=False)
        self.names.update(example.globs)
        assert not report, "".join(report)

    def shell(self, command: str, wanted: str | None, where: str) -> None:
        command = re.sub(r"(^|\s)#.*", "", command).strip()
        if not command or all(NOT_RUN.match(part.strip()) for part in command.split("&&")):
            return
        if command.startswith("make "):
            # MAKEFLAGS is dropped: the tests may themselves have been started by make.
            environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
            done = run(f"make --question --dry-run {command[5:]}", ROOT, environment)
            assert done.returncode in (0, 1), f"{where}: {command}: {done.stderr}"
            return
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        done = run(command, Path.cwd(), {**os.environ, "PATH": path, "COLUMNS": "80", "NO_COLOR": "1"})
        expected_failure = wanted is not None and re.search(r"^Error|^tiltz: ", wanted, re.MULTILINE)
        assert done.returncode == 0 or expected_failure, f"{where}: {command}\n{done.stdout}{done.stderr}"
        if wanted is not None:
            compare(wanted, done.stdout + done.stderr, f"{where}: {command}")


def run(command: str, folder: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=SECONDS,
        check=False,
    )


def commands_of(body: str) -> list[tuple[str, str]]:
    """Split a console block at its prompts into commands and what they print."""
    pieces = re.split(r"^\$ ", body.replace("\\\n", ""), flags=re.MULTILINE)
    assert not pieces[0].strip(), "a console block begins with '$ '"
    return [(command, wanted) for command, _, wanted in (piece.partition("\n") for piece in pieces[1:])]


def compare(wanted: str, got: str, where: str) -> None:
    same = doctest.OutputChecker().check_output(wanted.strip() + "\n", got.strip() + "\n", OPTIONS)
    assert same, f"{where}\n--- the page says\n{wanted.strip()}\n--- it prints\n{got.strip()}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_blocks(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Page(path).run_all(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "text",
    [
        "```python\n>>> 1 + 1\n3\n```\n",
        "```python\nprint(2)\n```\n\n```output\n3\n```\n",
        "```python\nundefined\n```\n",
        "```console\n$ echo 2\n3\n```\n",
        "```console\n$ false\n```\n",
        "```sh\nmake no-such-target\n```\n",
        "```output\nfloating\n```\n",
        "```json\n{'a': 1}\n```\n",
        "```rust\n1\n```\n",
        "<!-- run\nfalse\n-->\n",
    ],
)
def test_a_wrong_page_is_found(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((AssertionError, NameError, ValueError, pytest.fail.Exception)):
        Page(tmp_path / "page.md").run_all(text)


def test_a_right_page_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (
        "<!-- run\necho one > file\n-->\n```python\nx = 2\nprint(x)\n```\n```output\n2\n```\n"
        "```python\n>>> x + 1\n3\n```\n"
        "```console\n$ cat file  # comment\none\n$ seq 5\n1\n...\n5\n```\n"
        "```sh\nmake test\ngit clone somewhere && cd there\n```\n"
    )
    assert len(blocks_of(text)) == 6
    Page(tmp_path / "page.md").run_all(text)
