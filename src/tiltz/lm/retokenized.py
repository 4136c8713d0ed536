"""Where text is all that is known of a completion, its tokens may be others than were drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.lm.protocol import Completion, TokenModel


def retokenized(model: TokenModel, completions: Sequence[Any]) -> npt.NDArray[np.bool_]:
    """Tell which completions the score of their text is not known to be the score of.

    Parameters
    ----------
    model : TokenModel
        What scores them.
    completions : sequence
        A :class:`Completion`, its ids, or its text, as ``log_prob`` takes them.

    Returns
    -------
    bool array, shape (n,)
        True for text alone: it is scored as what it tokenises to, and the same text may have been drawn as other
        tokens. True for ids whose text tokenises to other ids: they are scored as they are, their text is not.

    Examples
    --------
    >>> from tiltz.lm import table_model
    >>> model = table_model({"toss": {"heads": 0.5, "lost it": 0.5}})
    >>> retokenized(model, ["heads", (*model.encode("lost it"), model.end_id)])
    array([ True, False])
    """
    return np.array([isinstance(c, str) or _differs(model, c) for c in completions], dtype=bool)


def _differs(model: TokenModel, completion: Any) -> bool:
    ids = [int(i) for i in (completion.ids if isinstance(completion, Completion) else completion)]
    body = ids[:-1] if ids and ids[-1] == model.end_id else ids
    return list(model.encode(model.decode(body))) != body
