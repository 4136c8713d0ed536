"""What is drawn from: temperature, truncation, length and stop strings are part of the reference."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import array_api_compat
import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError

Array = Any
Floats = npt.NDArray[np.float64]

_WHOLE, _REAL = int | np.integer, int | float | np.integer | np.floating
_WANTED: dict[str, tuple[Any, Callable[[Any], bool], str]] = {
    "temperature": (_REAL, lambda x: 0 < x < math.inf, "above 0; for greedy decoding there is no Z"),
    "top_k": (_WHOLE, lambda x: x >= 0, "a whole number, 0 for all tokens"),
    "top_p": (_REAL, lambda x: 0 < x <= 1, "above 0 and at most 1"),
    "min_p": (_REAL, lambda x: 0 <= x < 1, "from 0 to below 1"),
    "max_tokens": (_WHOLE, lambda x: x >= 1, "a whole number, at least 1"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingSpec:
    """How completions are drawn, and therefore what the reference is.

    Attributes
    ----------
    temperature : float
        Logits are divided by it.
    top_k : int
        Only the k most probable tokens (and those as probable as the k-th); 0 keeps all.
    top_p : float
        Only the most probable tokens that together reach this mass, at least one.
    min_p : float
        Only tokens at least this many times as probable as the most probable one.
    max_tokens : int
        A completion ends here at the latest, its end token included; one without end token is truncated.
    stop : tuple of str
        A completion also ends with the token that makes its text contain one of these.

    Raises
    ------
    InputError
        If a value is out of its range.

    Notes
    -----
    Truncations come in the order top_k, top_p, min_p, after the temperature, as in transformers.

    Examples
    --------
    >>> import numpy as np
    >>> logits = np.log([[0.5, 0.3, 0.2]])
    >>> np.exp(SamplingSpec(top_k=2).log_probs(logits)).round(3)
    array([[0.625, 0.375, 0.   ]])
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check every value."""
        for name, (kind, holds, range_) in _WANTED.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, kind) or not holds(value):
                raise InputError(f"{name} must be {range_}; found {value!r}.")
        listed = isinstance(self.stop, tuple | list)
        if not listed or not all(isinstance(text, str) and text for text in self.stop):
            raise InputError(f"stop must be a tuple of texts, none empty; found {self.stop!r}.")

    @property
    def truncates(self) -> bool:
        """Whether some tokens cannot be drawn."""
        return self.top_k > 0 or self.top_p < 1 or self.min_p > 0

    def log_probs(self, logits: Array) -> Array:
        """Return the log-probabilities that are drawn from.

        Parameters
        ----------
        logits : array, shape (..., vocab_size)
            Of the model itself; NumPy or torch.

        Returns
        -------
        array, shape (..., vocab_size)
            In nats and double precision, where the logits are; ``-inf`` for tokens that cannot be drawn.
        """
        xp = array_api_compat.array_namespace(logits)
        scores = xp.astype(logits, xp.float64) / self.temperature
        if 0 < self.top_k < scores.shape[-1]:
            scores = xp.where(scores >= _kth_largest(scores, self.top_k), scores, -math.inf)
        log_probs = log_softmax(scores)
        if self.top_p < 1:
            log_probs = log_softmax(xp.where(_in_nucleus(log_probs, self.top_p), log_probs, -math.inf))
        if self.min_p > 0:
            least = xp.max(log_probs, axis=-1, keepdims=True) + math.log(self.min_p)
            log_probs = log_softmax(xp.where(log_probs >= least, log_probs, -math.inf))
        return log_probs

    def to_dict(self) -> dict[str, Any]:
        """Return the values by name, for file metadata."""
        plain = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in asdict(self).items()
        }
        return {**plain, "stop": list(self.stop)}


def log_softmax(scores: Array) -> Array:
    """Return scores less the log of the sum of their exponentials, over the last axis."""
    xp = array_api_compat.array_namespace(scores)
    shifted = scores - xp.max(scores, axis=-1, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))


def _kth_largest(scores: Array, k: int) -> Array:
    if array_api_compat.is_torch_array(scores):
        return scores.topk(k, dim=-1).values[..., -1:]
    return np.partition(scores, -k, axis=-1)[..., -k, None]


def _in_nucleus(log_probs: Array, mass: float) -> Array:
    """Whether what is more probable than a token does not yet have the mass."""
    if array_api_compat.is_torch_array(log_probs):
        ordered, order = log_probs.sort(dim=-1, descending=True, stable=True)
        prob = ordered.exp()
        return (prob.cumsum(-1) - prob < mass).gather(-1, order.argsort(dim=-1))
    order = np.argsort(-log_probs, axis=-1, kind="stable")
    prob = np.exp(np.take_along_axis(log_probs, order, axis=-1))
    kept = np.zeros(log_probs.shape, dtype=bool)
    np.put_along_axis(kept, order, np.cumsum(prob, axis=-1) - prob < mass, axis=-1)
    return kept
