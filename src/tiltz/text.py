"""Plain text for summaries: numbers, labels and tables of at most 80 columns."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterable, Sequence

WIDTH = 80


def number(value: float, digits: int = 4) -> str:
    """Return a number with so many significant digits, and all of its digits before the point up to a million.

    Examples
    --------
    >>> number(31.28417), number(-100000.35), number(2.3e-16), number(float("inf"))
    ('31.28', '-100000', '2.3e-16', 'inf')
    """
    if math.isfinite(value) and 10 ** (digits - 1) <= abs(value) < 1e6:
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def count(n: int, noun: str) -> str:
    """Return a count with its noun.

    Examples
    --------
    >>> count(1, "prompt"), count(12000, "prompt")
    ('1 prompt', '12,000 prompts')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def one_line(label: object) -> str:
    r"""Return a label on one line, with control characters made visible.

    Examples
    --------
    >>> one_line("What is\n2 + 2?\x1b[31m")
    'What is 2 + 2?�[31m'
    """
    line = " ".join(str(label).split())
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> str:
    """Return rows of text under headers, at most 80 columns wide.

    Parameters
    ----------
    headers : sequence of str
        Names of the columns.
    rows : iterable of sequences of str
        Cells; the first column gives way where the width is short.
    right : iterable of int
        Columns that stand to the right.
    """
    # Loaded here so that importing tiltz does not load it.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    to_right = set(right)
    grid = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="")
    for i, header in enumerate(headers):
        grid.add_column(
            header,
            justify="right" if i in to_right else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=None if i == 0 else len(header),
            ratio=None,
        )
    for row in rows:
        grid.add_row(*(Text(one_line(cell)) for cell in row))
    out = io.StringIO()
    Console(file=out, width=WIDTH, color_system=None, force_terminal=False, legacy_windows=False).print(grid)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def paragraph(sentence: str) -> list[str]:
    """Return a sentence as lines of at most 80 columns, the later ones indented."""
    return textwrap.wrap(sentence, WIDTH, subsequent_indent="  ", break_on_hyphens=False) or [""]
