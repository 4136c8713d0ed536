"""Values as JSON and UTF-8 can hold them: no NaN or Infinity literals, no NumPy scalars, no halves of characters."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

_HALF = re.compile("[\ud800-\udfff]")


def json_ready(value: Any) -> Any:
    """Return a value that ``json.dumps(..., allow_nan=False)`` accepts.

    Parameters
    ----------
    value : Any
        Nested mappings, sequences, sets, NumPy arrays and scalars.

    Returns
    -------
    Any
        The same with Python scalars and lists; non-finite floats are the strings ``"-inf"``, ``"inf"``
        and ``"nan"``.

    Examples
    --------
    >>> json_ready({"lo": float("-inf"), "n": np.int64(8)})
    {'lo': '-inf', 'n': 8}
    """
    if isinstance(value, Mapping):
        return {str(key): json_ready(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(inner) for inner in value]
    if isinstance(value, set | frozenset):
        return [json_ready(inner) for inner in sorted(value)]
    if isinstance(value, np.ndarray | np.generic):
        plain = value.tolist()
        return str(plain) if isinstance(plain, np.generic) else json_ready(plain)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value


def json_line(value: Any) -> str:
    """Return a value as JSON text in which halves of surrogate pairs are written out, as in :func:`utf8_text`."""
    text = json.dumps(value, ensure_ascii=False)
    return _HALF.sub(lambda half: rf"\\u{ord(half[0]):x}", text)


def utf8_text(text: str) -> str:
    r"""Return text that UTF-8 can hold.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        The same, with each half of a surrogate pair written out as six characters.

    Examples
    --------
    >>> print(utf8_text("a\ud800"))
    a\ud800
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
