"""SGLang's server: its native route, which tells tokens and log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tiltz.errors import InputError, ServerError
from tiltz.lm.protocol import Prompt
from tiltz.lm.served.client import Client
from tiltz.lm.served.dialect import Drawn, Served, field_of, numbers, plain, token_ids, with_extra
from tiltz.lm.served.reported import check_reported_by_sglang
from tiltz.lm.spec import SamplingSpec

_MOST = 256  # completions of one request

_NEUTRAL = {
    "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "min_new_tokens": 0,
    "ignore_eos": False,
}  # fmt: skip


class SgLang:
    """See :class:`tiltz.lm.served.dialect.Dialect`."""

    kind = "sglang"
    most = _MOST
    at_once: int | None = None

    def __init__(self, served: Served, info: dict[str, Any]) -> None:
        self.model, self.spec, self.extra = served.model, served.spec, served.extra
        self.about = {name: info.get(name) for name in ("model_path", "tokenizer_path")}
        self.checked = plain(served.spec)

    @classmethod
    async def connect(cls, client: Client, served: Served) -> SgLang:
        """Return the dialect, having asked what the server is."""
        return cls(served, await client.get("/get_model_info"))

    async def encode(self, client: Client, prompt: Prompt) -> list[int]:
        """Return the tokens of a text."""
        if not isinstance(prompt, str):
            raise InputError(
                "chat messages become tokens by the model's template, which SGLang's server does not apply for "
                "others; name the model's own tokenizer: tokenizer=PATH_OR_ID."
            )
        answer = await client.post("/tokenize", {"model": self.model, "prompt": prompt})
        return token_ids(field_of(answer, "tokens"))

    async def check(self, client: Client, start: Sequence[int]) -> None:
        """Find out whether log-probabilities are of what is drawn from."""
        if not self.checked:
            await check_reported_by_sglang(
                self.spec, lambda spec, k: self._draw(client, spec, start, k, None)
            )
            self.checked = True

    async def draw(self, client: Client, start: Sequence[int], n: int, seed: int) -> list[Drawn]:
        """Draw; a seed goes only with single completions, for those of one request would all be the same."""
        return await self._draw(client, self.spec, start, n, seed if n == 1 else None)

    async def _draw(
        self, client: Client, spec: SamplingSpec, start: Sequence[int], n: int, seed: int | None
    ) -> list[Drawn]:
        sampling = {
            **_NEUTRAL, "temperature": spec.temperature, "top_p": spec.top_p, "top_k": spec.top_k or -1,
            "min_p": spec.min_p, "max_new_tokens": spec.max_tokens, "stop": list(spec.stop), "n": n,
            "no_stop_trim": True, **({} if seed is None else {"sampling_seed": seed}),
        }  # fmt: skip
        body = {
            "input_ids": list(start),
            "sampling_params": with_extra(sampling, self.extra),
            "return_logprob": True,
            "stream": False,
        }
        answer = await client.post("/generate", body)
        return [_drawn(one) for one in (answer if isinstance(answer, list) else [answer])]

    async def score(self, client: Client, start: Sequence[int], ids: Sequence[int]) -> float:
        """Score as a part of the prompt, whose log-probabilities are those of the model itself."""
        if not plain(self.spec):
            raise InputError(
                "SGLang's server scores under the model itself, not under a temperature or truncation. Score with the "
                "same model as hf:PATH, or draw with temperature 1 and no truncation."
            )
        body = {
            "input_ids": [*start, *ids], "return_logprob": True, "logprob_start_len": 0, "stream": False,
            "sampling_params": with_extra(
                {**_NEUTRAL, "temperature": 1.0, "max_new_tokens": 1}, self.extra
            ),
        }  # fmt: skip
        answer = await client.post("/generate", body)
        steps = field_of(answer, "meta_info", "input_token_logprobs")[-len(ids) :]
        if [field_of(step, 1) for step in steps] != list(ids):
            raise ServerError(
                f"the server must report the log-probability of each of {len(ids)} tokens of a prompt."
            )
        return sum(numbers([step[0] for step in steps], len(ids), "a prompt"))


def _drawn(answer: dict[str, Any]) -> Drawn:
    meta = field_of(answer, "meta_info")
    steps = meta.get("output_token_logprobs")
    ids = answer.get("output_ids")
    if not isinstance(ids, list):
        ids = [field_of(step, 1) for step in steps or []]
    log_probs = numbers([step[0] for step in steps or []] or None, len(ids), "a completion")
    why = field_of(meta, "finish_reason", "type")
    if why not in ("stop", "length"):
        raise ServerError(f"a completion must end by stop or length; found {why!r:.40}.")
    matched = meta["finish_reason"].get("matched")
    text = str(answer.get("text", ""))
    ended = "length" if why == "length" else "stop" if isinstance(matched, str) else "end"
    if ended == "end" and isinstance(matched, int) and matched != ids[-1]:
        raise ServerError(
            f"a completion that ends must have its end token last; the server says that it ended with {matched}, and "
            f"its last token is {ids[-1]}."
        )
    return Drawn(ids=tuple(ids), log_probs=log_probs, text=text, ended=ended)
