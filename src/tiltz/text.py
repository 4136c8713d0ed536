"""Plain text for summaries: numbers, labels, and tables and sentences of at most 80 columns.

Widths are counted in cells of a terminal: a Chinese character or an emoji takes two.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence

WIDTH = 80
LEAST_LABEL = 8
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


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


def within(value: float, error: float, *, at_most: int = 10) -> str:
    """Return a number with no digit that its error leaves open, and with so many significant digits at most.

    Examples
    --------
    >>> within(5.91910016, 2e-4), within(5.91910016, 0.3), within(5.91910016, 1e-16), within(0.02, 0.4)
    ('5.919', '6', '5.91910016', '0')
    """
    if not math.isfinite(value) or value == 0 or not math.isfinite(error):
        return number(value)
    last = math.floor(math.log10(abs(value))) - at_most + 1
    if error > 0:
        last = max(last, math.ceil(math.log10(error)))
    if last > math.log10(abs(value)):
        return "0"
    return f"{value:.{max(1, math.floor(math.log10(abs(value))) - last + 1)}g}"


def count(n: int, noun: str) -> str:
    """Return a count with its noun.

    Examples
    --------
    >>> count(1, "prompt"), count(12000, "prompt")
    ('1 prompt', '12,000 prompts')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def one_line(label: object) -> str:
    r"""Return a label on one line, with control characters made visible; of chat messages, what the user said last.

    Examples
    --------
    >>> one_line("What is\n2 + 2?\x1b[31m")
    'What is 2 + 2?�[31m'
    >>> one_line('[{"content": "Be brief.", "role": "system"}, {"content": "What is 2 + 2?", "role": "user"}]')
    'What is 2 + 2?'
    """
    return _visible(_said_last(str(label)))


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> str:
    """Return rows of text under headers, at most 80 columns wide.

    Parameters
    ----------
    headers : sequence of str
        Names of the columns.
    rows : iterable of sequences of str
        Cells. Labels in the first column give way where the width is short. Other columns, and a first one that
        stands to the right, hold numbers: they are never cut, even where they need more than 80 columns.
    right : iterable of int
        Columns that stand to the right.
    """
    to_right, lines = set(right), list(rows)
    columns = [[header, *(line[i] for line in lines)] for i, header in enumerate(headers)]
    columns[1:] = [_aligned(column, i in to_right) for i, column in enumerate(columns[1:], 1)]
    if 0 not in to_right:
        room = WIDTH - sum(1 + width_of(column[0]) for column in columns[1:])
        columns[0][1:] = shortened(columns[0][1:], max(room, LEAST_LABEL))
    columns[0] = _aligned(columns[0], 0 in to_right)
    return "\n".join(" ".join(line).rstrip() for line in zip(*columns, strict=True))


def shortened(labels: Sequence[str], width: int) -> list[str]:
    """Return labels on one line of at most so many columns.

    Parameters
    ----------
    labels : sequence of str
        Prompts; repeats are allowed.
    width : int
        Columns for each.

    Returns
    -------
    list of str
        Long labels with their beginning and their end. What all labels begin or end with is left out where it would
        be all that is seen there.

    Examples
    --------
    >>> shortened(["Answer in one word. What is the capital of France?", "Answer in one word. Who is she?"], 20)
    ['…What is the…rance?', '…Who is she?']
    """
    lines = [one_line(label) for label in labels]
    if len(set(lines)) < len(set(labels)):  # the user said the same in different chats
        lines = [_visible(label) for label in labels]
    distinct, tail = list(set(lines)), (width - 1) // 3
    head = width - 1 - tail
    begin = _shared(distinct, head)
    end = _shared([line[begin:][::-1] for line in distinct], tail)

    def fitting(line: str) -> str:
        if _fits(line, width):
            return line
        line = ELLIPSIS * (begin > 0) + line[begin:]
        if _fits(line, width):
            return line
        own = line[: len(line) - end]
        if _fits(own, width - 1):
            return _beginning(line, width - 1).rstrip() + ELLIPSIS
        last = own + ELLIPSIS * (end > 0)
        ending = ELLIPSIS + _beginning(last[::-1], tail)[::-1].lstrip()
        start = _beginning(line, head).rstrip()
        while width_of(start + ending) > width:  # joined characters may take more than each by itself
            start = start[:-1]
        return start + ending

    return [fitting(line) for line in lines]


def paragraph(sentence: str) -> list[str]:
    """Return a sentence as lines of at most 80 columns, the later ones indented."""
    lines, line = [], ""
    for word in _visible(sentence).split(" "):
        longer = f"{line} {word}" if line else word
        if width_of(longer) > WIDTH and line.strip():
            lines.append(line)
            longer = f"  {word}"
        while width_of(longer) > WIDTH:
            lines.append(_beginning(longer, WIDTH))
            longer = "  " + longer[len(lines[-1]) :]
        line = longer
    return [*lines, line]


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # loaded here so that importing tiltz does not load it

    return cell_len(text)


def _fits(line: str, width: int) -> bool:
    # A line of very many characters of no width is long too.
    return len(line) <= 4 * width and width_of(line) <= width


def _beginning(text: str, width: int) -> str:
    """Return the beginning of a text that takes at most so many columns."""
    kept = text[:width]
    while width_of(kept) > width:
        kept = kept[:-1]
    return kept


def _shared(lines: Sequence[str], width: int) -> int:
    """Return how many characters to leave out of what all lines begin with: none if it is narrower than ``width``.

    Some words of it are kept, to be read before what differs.
    """
    if len(lines) < 2:
        return 0
    first, last = min(lines), max(lines)
    same = zip(first, last, range(len(first)), strict=False)
    shared = first[: next((i for a, b, i in same if a != b), len(first))]
    if width_of(shared[:width]) < width:
        return 0
    return shared.find(" ", len(shared) - width // 2) + 1 or len(shared)


def _aligned(column: Sequence[str], to_right: bool) -> list[str]:
    """Return cells on one line, filled with blanks to the width of the widest."""
    cells = [_visible(cell) for cell in column]
    width = max(map(width_of, cells))
    blanks = [" " * (width - width_of(cell)) for cell in cells]
    return [blank + cell if to_right else cell + blank for blank, cell in zip(blanks, cells, strict=True)]


def _visible(text: str) -> str:
    line = " ".join(text.split())
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)


def _said_last(label: str) -> str:
    """Return what the user said last if a label is the JSON of chat messages, else the label."""
    if not label.startswith("[{"):
        return label
    try:
        messages = json.loads(label)
    except (ValueError, RecursionError):
        return label
    said = {message.get("role"): message.get("content") for message in messages if isinstance(message, dict)}
    text = said.get("user", [*said.values()][-1])
    if isinstance(text, list):  # parts, of which some are images
        text = " ".join(str(part.get("text", "")) for part in text if isinstance(part, dict))
    return text if isinstance(text, str) and text.strip() else label
