"""Whether the log-probabilities that a server reports are those of what is drawn from, found out by drawing."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from tiltz.errors import InputError, ServerError
from tiltz.lm.served.dialect import Drawn, plain
from tiltz.lm.spec import SamplingSpec

_REMEDY_VLLM = "Start vLLM with --logprobs-mode processed_logprobs"
_REMEDY_SGLANG = (
    "Start SGLang without SGLANG_RETURN_ORIGINAL_LOGPROB (temperature), and draw without truncation"
)
_REFUSED = 400  # status of what a server does not do

# vLLM, told to keep one token: that one is certain, to the last bit.
_WARM = 2.0  # the highest temperature that vLLM takes
_N_STEPS = 8  # a model may be sure of its first tokens by itself
_CERTAIN = 1e-6  # nats
_NEAR = 0.5  # nats of all steps; half precision moves them by a tenth, logits for log-probabilities by tens

# SGLang decodes greedily where one token is kept, so it is asked for flat distributions.
_HOT = 1e6  # a temperature at which everything that can be drawn is equally probable
_SAME = 2e-3  # nats
_N = 4

Draw = Callable[[SamplingSpec, int], Awaitable[list[Drawn]]]
Score = Callable[[Sequence[int]], Awaitable[float]]


async def check_reported_by_vllm(spec: SamplingSpec, draw: Draw, score: Score) -> None:
    """Refuse a spec under which vLLM draws from one distribution and reports another.

    Parameters
    ----------
    spec : SamplingSpec
        What is drawn from.
    draw : callable
        Draws some completions under another spec.
    score : callable
        Gives the log-probability of tokens under the model itself.

    Raises
    ------
    InputError
        If what is reported leaves out the temperature or the truncation, or is no log-probability.

    Notes
    -----
    Where only the most probable token is kept, what is drawn is certain: its log-probability is 0, and is not before
    the truncation. That of the model itself is what a spec without temperature and truncation draws from, and then a
    score of the same tokens must be near it; a server that does not score is taken at its word.
    """
    kept = replace(spec, temperature=_WARM, top_k=1, top_p=1.0, min_p=0.0, max_tokens=_N_STEPS, stop=())
    drawn = (await draw(kept, 1))[0]
    if all(abs(log_prob) <= _CERTAIN for log_prob in drawn.log_probs):
        return
    if not plain(spec):
        what = "truncation" if spec.truncates else "temperature"
        raise _refusal(what, "those that it reports are from before it", _REMEDY_VLLM)
    try:
        scored = await score(drawn.ids)
    except ServerError as reason:
        if reason.status != _REFUSED:
            raise
        return
    if abs(sum(drawn.log_probs) - scored) > _NEAR:
        raise InputError(
            "the server must report log-probabilities; for tokens that it scores as "
            f"{scored:.2f} nats it reported {sum(drawn.log_probs):.2f} when it drew them. Start vLLM with "
            "--logprobs-mode processed_logprobs, not with one that tells logits."
        )


async def check_reported_by_sglang(spec: SamplingSpec, draw: Draw) -> None:
    """Refuse a spec under which SGLang draws from one distribution and reports another.

    Parameters
    ----------
    spec : SamplingSpec
        With a temperature or a truncation.
    draw : callable
        Draws some completions under another spec.

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
    what, asked = ("truncation", replace(hot, top_k=2)) if spec.truncates else ("temperature", hot)
    try:
        found = [drawn.log_probs[0] for drawn in await draw(asked, _N)]
    except ServerError as reason:
        raise _refusal(what, str(reason), _REMEDY_SGLANG) from reason
    expected = -math.log(2) if asked.top_k else found[0]
    if any(abs(log_prob - expected) > _SAME for log_prob in found):
        raise _refusal(what, "those that it reports are from before it", _REMEDY_SGLANG)


def _refusal(what: str, reason: str, remedy: str) -> InputError:
    return InputError(
        f"the server must report log-probabilities of what is drawn from, which has a {what}; {reason}. {remedy}, or "
        "draw with temperature 1 and no truncation."
    )
