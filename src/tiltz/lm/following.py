"""What may follow, row by row: drawn from and scored where the logits are, on NumPy or torch, CPU or CUDA."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import array_api_compat
import numpy as np
import numpy.typing as npt

from tiltz.lm.spec import SamplingSpec, log_softmax

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_BLOCK = 256  # tokens whose shares are summed before one of them is looked for


class Following:
    """The next token of several rows under a spec.

    Parameters
    ----------
    scores : array, shape (n, vocab_size)
        Log-probabilities but for a constant of each row; NumPy or torch.

    Notes
    -----
    Only what is asked for is computed. Shares have the precision of the scores, their sums are in double precision: a
    log-probability is as exact as its score, whatever the size of the vocabulary.
    """

    def __init__(self, scores: Any) -> None:
        self.scores, self.xp = scores, array_api_compat.array_namespace(scores)

    @classmethod
    def of(cls, logits: Any, spec: SamplingSpec) -> Following:
        """Return what follows from logits of the model itself, shape (n, vocab_size)."""
        if spec.truncates:
            return cls(spec.log_probs(logits))
        return cls(logits if spec.temperature == 1 else logits / spec.temperature)

    @classmethod
    def joined(cls, parts: list[Following]) -> Following:
        """Return the rows of several."""
        return parts[0] if len(parts) == 1 else cls(parts[0].xp.concat([part.scores for part in parts]))

    def __len__(self) -> int:
        return int(self.scores.shape[0])

    def __getitem__(self, rows: Ints) -> Following:
        """Return some of the rows, repeated ones too."""
        return Following(self.scores[self._there(rows)])

    def log_probs(self) -> Floats:
        """Return the log-probabilities of all tokens, shape (n, vocab_size); they sum to 1 in double precision."""
        return _numpy(log_softmax(self.xp.astype(self.scores, self.xp.float64)))

    def log_prob(self, tokens: Ints) -> Floats:
        """Return the log-probability of one token of each row."""
        taken = self.scores[self._rows, self._there(tokens)]
        return _numpy(self.xp.astype(taken, self.xp.float64) - self._log_total)

    def draw(self, uniform: Floats) -> tuple[Ints, Floats]:
        """Return the token whose share of the unit interval holds each uniform, and its log-probability."""
        block, within = self._located(self._sums, self._there(uniform))
        shares = self.xp.astype(self._blocks[self._rows, block], self.xp.float64)
        token, _ = self._located(shares, within)
        drawn = _numpy(block * _BLOCK + token)
        return drawn, self.log_prob(drawn)

    def _located(self, shares: Any, at: Any) -> tuple[Any, Any]:
        """Return the share in which a point of the unit interval lies, and where in it, from 0 to 1."""
        xp, places = self.xp, self._there(np.arange(shares.shape[1]))
        upto = xp.cumulative_sum(shares, axis=1)
        target = at * upto[:, -1]
        # Rounding at the upper end must not choose what cannot be drawn.
        last = xp.max(xp.where(shares > 0, places, 0), axis=1)
        chosen = xp.minimum(xp.sum(xp.astype(upto <= target[:, None], xp.int64), axis=1), last)
        share = shares[self._rows, chosen]
        within = (target - (upto[self._rows, chosen] - share)) / share
        return chosen, xp.minimum(xp.maximum(within, 0 * within), 0 * within + 1)

    @cached_property
    def _top(self) -> Any:
        return self.xp.max(self.scores, axis=1)

    @cached_property
    def _blocks(self) -> Any:
        """Exponentials less that of the top, in blocks; the last one is filled with zeros."""
        shares = self.xp.exp(self.scores - self._top[:, None])
        n, size = shares.shape
        if size % _BLOCK:
            rest = self.xp.zeros_like(shares[:, :1])
            shares = self.xp.concat([shares, self.xp.broadcast_to(rest, (n, -size % _BLOCK))], axis=1)
        return self.xp.reshape(shares, (n, shares.shape[1] // _BLOCK, _BLOCK))

    @cached_property
    def _sums(self) -> Any:
        return self.xp.astype(self.xp.sum(self._blocks, axis=2), self.xp.float64)

    @cached_property
    def _log_total(self) -> Any:
        return self.xp.astype(self._top, self.xp.float64) + self.xp.log(self.xp.sum(self._sums, axis=1))

    @cached_property
    def _rows(self) -> Any:
        return self._there(np.arange(len(self)))

    def _there(self, values: npt.NDArray[Any]) -> Any:
        return self.xp.asarray(values, device=array_api_compat.device(self.scores))


def _numpy(values: Any) -> npt.NDArray[Any]:
    return np.asarray(array_api_compat.to_device(values, "cpu"))
