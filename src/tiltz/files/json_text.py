"""Values as JSON can hold them: no NaN or Infinity literals, no NumPy scalars."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


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
