"""Any other server with OpenAI's routes: completions of tokens, with what little the standard says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tiltz.errors import InputError, ServerError
from tiltz.lm.protocol import Prompt
from tiltz.lm.served.client import Client
from tiltz.lm.served.dialect import Drawn, Served, field_of, numbers, plain, with_extra
from tiltz.lm.tokenizer import Tokenizer

_MOST = 64  # completions of one request


class OpenAi:
    """See :class:`tiltz.lm.served.dialect.Dialect`.

    The standard numbers no tokens, so they are made from the text here; they must be as many as the server reports
    log-probabilities for, and say the same one by one where it reports what they say.
    """

    kind = "openai"
    most = _MOST
    at_once: int | None = None

    def __init__(self, served: Served, tokenizer: Tokenizer | None) -> None:
        self.model, self.spec, self.extra = served.model, served.spec, served.extra
        self.about: dict[str, Any] = {}
        if tokenizer is None:
            raise InputError(
                "a server of this kind does not tell tokens, and an outcome is a sequence of tokens; name the model's "
                "own tokenizer: tokenizer=PATH_OR_ID. (Servers of vLLM, SGLang and llama.cpp need none; server= names "
                "the kind where it is hidden.)"
            )
        if served.spec.stop:
            raise InputError(
                "a server of this kind does not say whether a completion ended by a stop string or its end token; draw "
                "without stop strings, or use vLLM, SGLang or llama.cpp."
            )
        if not plain(served.spec):
            raise InputError(
                "a server of this kind does not say whether its log-probabilities are from before or after temperature "
                "and truncation; draw with temperature 1 and no truncation, or use vLLM, SGLang or llama.cpp."
            )
        self.tokenizer = tokenizer

    async def encode(self, client: Client, prompt: Prompt) -> list[int]:
        """Return the tokens of a prompt."""
        return self.tokenizer.encode_prompt(prompt)

    async def check(self, client: Client, start: Sequence[int]) -> None:
        """Find out nothing: what such a server may report otherwise is refused before."""

    async def draw(self, client: Client, start: Sequence[int], n: int, seed: int) -> list[Drawn]:
        """Draw; a seed goes only with single completions, for those of one request might all be the same."""
        body = {
            "model": self.model, "prompt": list(start), "n": n, "temperature": 1.0, "top_p": 1.0,
            "max_tokens": self.spec.max_tokens, "presence_penalty": 0.0, "frequency_penalty": 0.0, "logprobs": 1,
            **({"seed": seed} if n == 1 else {}),
        }  # fmt: skip
        choices = field_of(await client.post("/v1/completions", with_extra(body, self.extra)), "choices")
        return [await self._drawn(client, start, choice) for choice in choices]

    async def score(self, client: Client, start: Sequence[int], ids: Sequence[int]) -> float:
        """Score as a part of a prompt that the server repeats."""
        body = {
            "model": self.model, "prompt": [*start, *ids], "max_tokens": 0, "echo": True, "logprobs": 1,
            "temperature": 1.0,
        }  # fmt: skip
        try:
            answer = await client.post("/v1/completions", with_extra(body, self.extra))
        except ServerError as reason:
            raise _unscored(str(reason)) from reason
        values = (field_of(answer, "choices", 0, "logprobs") or {}).get("token_logprobs") or []
        if len(values) < len(start) + len(ids):
            raise _unscored(f"log-probabilities of {len(values)} of {len(start) + len(ids)} tokens")
        return sum(numbers(values[len(start) : len(start) + len(ids)], len(ids), "a prompt"))

    async def _drawn(self, client: Client, start: Sequence[int], choice: dict[str, Any]) -> Drawn:
        text, why = str(choice.get("text", "")), choice.get("finish_reason")
        if why not in ("stop", "length"):
            raise ServerError(f"a completion must end by stop or length; found {why!r:.40}.")
        ids = tuple(self.tokenizer.encode(text)) + ((self.tokenizer.end_id,) if why == "stop" else ())
        reported = field_of(choice, "logprobs") or {}
        values = reported.get("token_logprobs")
        self._check_pieces(reported.get("tokens"), ids[:-1] if why == "stop" else ids)
        if why == "stop" and isinstance(values, list) and len(values) == len(ids) - 1:
            # The end token is left out; its log-probability is found by scoring.
            whole = await self.score(client, start, ids)
            values = [*values, whole - sum(numbers(values, len(values), "a completion"))]
        log_probs = numbers(values, len(ids), "a completion")
        return Drawn(ids=ids, log_probs=log_probs, text=text, ended="end" if why == "stop" else "length")

    def _check_pieces(self, told: Any, ids: tuple[int, ...]) -> None:
        """Refuse a completion whose text was drawn as other tokens than it is made into here."""
        if not isinstance(told, list):
            return
        before = ""
        for k, piece in enumerate(told[: len(ids)]):
            whole = self.tokenizer.decode(ids[: k + 1])
            ours, before = whole[len(before) :], whole
            if not _same(str(piece), ours, ids[k], first=k == 0):
                raise ServerError(
                    f"the text of a completion must become the tokens that were drawn; token {k} that the server drew "
                    f"is {piece!r:.40}, and the tokenizer makes {ours!r:.40} of the text. It may not be the model's "
                    "own; if it is, use a server that tells tokens: vLLM, SGLang or llama.cpp."
                )


def _same(told: str, ours: str, token: int, *, first: bool) -> bool:
    """Whether two pieces of text are one, as far as a text can show it."""
    if told.startswith("token_id:"):
        return told == f"token_id:{token}"
    if told.startswith("bytes:") or "\ufffd" in told + ours:
        return True  # a part of a letter
    # Some tokenizers leave out the space before a text.
    return told.lstrip() == ours.lstrip() if first else told == ours


def _unscored(found: str) -> InputError:
    return InputError(
        f"to score, the server must repeat a prompt with its log-probabilities (echo); found {found}. Score with the "
        "same model as hf:PATH, or use a server of vLLM, SGLang or llama.cpp."
    )
