"""What kinds of servers have in common: prompts as tokens, completions with log-probabilities, scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tiltz.errors import InputError, ServerError
from tiltz.lm.protocol import Prompt
from tiltz.lm.served.client import Client
from tiltz.lm.spec import SamplingSpec

Ended = Literal["end", "stop", "length"]

_ROUNDING = 1e-6  # nats, by which a log-probability may be above 0

# What, in one server or another, decides which tokens are drawn, with which probabilities, or where they end.
_SAID_BY_SPEC = frozenset({
    "temperature", "dynatemp_range", "dynatemp_exponent", "top_k", "top_p", "min_p", "typical_p", "top_n_sigma",
    "xtc_probability", "xtc_threshold", "samplers", "mirostat", "adaptive_target", "min_keep", "repetition_penalty",
    "repeat_penalty", "presence_penalty", "frequency_penalty", "dry_multiplier", "length_penalty", "logit_bias",
    "bad_words", "allowed_token_ids", "n", "n_cmpl", "best_of", "use_beam_search", "n_predict", "max_tokens",
    "max_new_tokens", "max_completion_tokens", "min_tokens", "min_new_tokens", "thinking_token_budget", "ignore_eos",
    "stop", "stop_token_ids", "stop_regex", "t_max_predict_ms", "prompt", "suffix", "echo", "truncate_prompt_tokens",
    "grammar", "json_schema", "regex", "ebnf", "structural_tag", "guided_json", "guided_regex", "guided_choice",
    "guided_grammar", "structured_outputs", "response_format", "logits_processors", "vllm_xargs",
    "custom_logit_processor", "custom_params",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One completion as a server tells it: its tokens, the log-probability of each, its text, and how it ended."""

    ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    text: str
    ended: Ended


class Dialect(Protocol):
    """How one kind of server is spoken to, for one model and one spec.

    Attributes
    ----------
    kind : str
        Of server.
    about : dict
        What the server says of the model; the same after it was started again.
    most : int
        Completions of one request.
    at_once : int, optional
        Requests that the server works on at once.
    """

    kind: str
    about: dict[str, Any]
    most: int
    at_once: int | None

    async def encode(self, client: Client, prompt: Prompt) -> list[int]:
        """Return the tokens of a prompt, as the server makes them."""
        ...

    async def check(self, client: Client, start: Sequence[int]) -> None:
        """Draw after a prompt, once, to find out whether what is reported is what is drawn from, or refuse."""
        ...

    async def draw(self, client: Client, start: Sequence[int], n: int, seed: int) -> list[Drawn]:
        """Return completions after a prompt, at most ``n``, whose log-probabilities are those of what is drawn from."""
        ...

    async def score(self, client: Client, start: Sequence[int], ids: Sequence[int]) -> float:
        """Return the log-probability of a whole outcome after a prompt."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What is served: its name, what the list of models says of it, what is drawn, and fields of one's own."""

    model: str
    listed: dict[str, Any]
    spec: SamplingSpec
    extra: dict[str, Any]


def plain(spec: SamplingSpec) -> bool:
    """Whether what is drawn from is the model itself, so that log-probabilities before and after are the same."""
    return spec.temperature == 1.0 and not spec.truncates


def with_extra(body: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """Return a request with fields of one's own, none of which may say something else than the spec does."""
    taken = sorted(set(extra) & (_SAID_BY_SPEC | set(body)))
    if taken:
        raise InputError(
            f"what is drawn from is said by the spec alone, and not by further fields; leave out {', '.join(taken)}."
        )
    return {**body, **extra}


def numbers(values: Any, n: int, what: str) -> tuple[float, ...]:
    """Return the log-probability of every token, or say that some are missing."""
    if not isinstance(values, list) or len(values) != n:
        found = len(values) if isinstance(values, list) else "none"
        raise ServerError(
            f"the server must report the log-probability of every token of {what}; found {found} for {n} tokens. It "
            "may have to be started with log-probabilities enabled; without them a completion has no probability."
        )
    if any(isinstance(v, bool) or not isinstance(v, int | float) or math.isnan(v) for v in values):
        raise ServerError(
            f"the log-probability of every token of {what} must be a number; found {values!r:.120}."
        )
    above = [v for v in values if v > _ROUNDING]
    if above:
        raise ServerError(
            f"the log-probability of every token of {what} must be at most 0; the server reported {above[0]:g}. It may "
            "report logits: start vLLM with --logprobs-mode processed_logprobs."
        )
    return tuple(float(v) for v in values)


def field_of(answer: Any, *path: Any) -> Any:
    """Return what an answer holds at a path of names and positions, or say that it is not there."""
    found = answer
    for name in path:
        try:
            found = found[name]
        except (KeyError, IndexError, TypeError):
            raise ServerError(
                f"the answer of the server must have {'.'.join(map(str, path))}; found {str(answer)!r:.160}."
            ) from None
    return found


def token_ids(found: Any) -> list[int]:
    """Return tokens, or say that these are none."""
    if not isinstance(found, list) or not all(isinstance(i, int) for i in found):
        raise ServerError(f"the server must return tokens as whole numbers; found {found!r:.120}.")
    return found
