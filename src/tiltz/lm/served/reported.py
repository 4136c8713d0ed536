"""Whether the log-probabilities that a server reports are those of what is drawn from, found out by drawing."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import replace

from tiltz.errors import InputError, ServerError
from tiltz.lm.served.dialect import Drawn
from tiltz.lm.spec import SamplingSpec

_HOT = 1e6  # a temperature at which everything that can be drawn is equally probable
_SAME = 2e-3  # nats
_N = 4
_REMEDIES = {
    "vllm": "Start vLLM with --logprobs-mode processed_logprobs",
    "sglang": "Start SGLang without SGLANG_RETURN_ORIGINAL_LOGPROB (temperature), and draw without truncation",
}

Draw = Callable[[SamplingSpec, int], Awaitable[list[Drawn]]]


async def check_reported(spec: SamplingSpec, draw: Draw, kind: str) -> None:
    """Refuse a spec under which a server draws from one distribution and reports another.

    Parameters
    ----------
    spec : SamplingSpec
        With a temperature or a truncation.
    draw : callable
        Draws some completions under another spec.
    kind : str
        Of server.

    Raises
    ------
    InputError
        If what is reported leaves out the temperature or the truncation.

    Notes
    -----
    Very hot, all tokens are equally probable: the two that top_k = 2 leaves have log 1/2, and any that are drawn from
    the whole vocabulary have one and the same log-probability. Neither holds before the temperature or the truncation.
    """
    hot = replace(spec, temperature=_HOT, top_k=0, top_p=1.0, min_p=0.0, max_tokens=1, stop=())
    wanted = {"truncation": replace(hot, top_k=2)} if spec.truncates else {"temperature": hot}
    for what, asked in wanted.items():
        try:
            found = [drawn.log_probs[0] for drawn in await draw(asked, _N)]
        except ServerError as reason:
            raise _refusal(what, kind, str(reason)) from reason
        expected = -math.log(2) if asked.top_k else found[0]
        if any(abs(log_prob - expected) > _SAME for log_prob in found):
            raise _refusal(what, kind, "those that it reports are from before it")


def _refusal(what: str, kind: str, reason: str) -> InputError:
    remedy = _REMEDIES.get(kind, "Use a server that does")
    return InputError(
        f"the server must report log-probabilities of what is drawn from, which has a {what}; {reason}. {remedy}, or "
        "draw with temperature 1 and no truncation."
    )
