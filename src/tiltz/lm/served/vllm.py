"""vLLM's server: OpenAI's routes with fields of its own for tokens and for everything that changes what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tiltz.errors import InputError, ServerError
from tiltz.lm.protocol import Prompt
from tiltz.lm.served.client import Client
from tiltz.lm.served.dialect import Drawn, Served, field_of, numbers, plain, token_ids, with_extra
from tiltz.lm.served.reported import check_reported_by_vllm
from tiltz.lm.spec import SamplingSpec

_MOST = 256  # completions of one request
_TEMPERATURES = (0.01, 2.0)  # what vLLM takes; below, it would silently draw at the lowest, or greedily
_SUM = 1e-3  # by which the probabilities of all tokens may miss 1: some servers round

# What the model's generation_config.json or the server's own defaults would set otherwise.
_NEUTRAL = {
    "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "min_tokens": 0,
    "ignore_eos": False, "watermarking": False, "stream": False,
}  # fmt: skip


class Vllm:
    """See :class:`tiltz.lm.served.dialect.Dialect`."""

    kind = "vllm"
    most = _MOST
    at_once: int | None = None

    def __init__(self, served: Served, version: str | None) -> None:
        self.model, self.spec, self.extra = served.model, served.spec, served.extra
        told = {name: served.listed.get(name) for name in ("root", "parent")}
        self.about = {**told, "version": version}
        self.checked = False

    @classmethod
    async def connect(cls, client: Client, served: Served) -> Vllm:
        """Return the dialect, having asked what the server is."""
        check_spec(served.spec)
        return cls(served, (await client.get("/version")).get("version"))

    async def encode(self, client: Client, prompt: Prompt) -> list[int]:
        """Return the tokens of a text, or of chat messages by the server's template."""
        said = {"prompt": prompt} if isinstance(prompt, str) else {"messages": prompt}
        answer = await client.post("/tokenize", {"model": self.model, **said})
        return token_ids(field_of(answer, "tokens"))

    async def check(self, client: Client, start: Sequence[int]) -> None:
        """Find out whether log-probabilities are reported, and of what is drawn from."""
        if not self.checked:
            await check_reported_by_vllm(
                self.spec,
                lambda spec, k: self._draw(client, spec, start, k, 0),
                lambda ids: self.score(client, start, ids),
            )
            self.checked = True

    async def draw(self, client: Client, start: Sequence[int], n: int, seed: int) -> list[Drawn]:
        """Draw; the completions of one request have seeds that follow each other."""
        return await self._draw(client, self.spec, start, n, seed)

    async def _draw(
        self, client: Client, spec: SamplingSpec, start: Sequence[int], n: int, seed: int
    ) -> list[Drawn]:
        body = {
            **_NEUTRAL, "model": self.model, "prompt": list(start), "n": n, "seed": seed,
            "temperature": spec.temperature, "top_p": spec.top_p, "top_k": spec.top_k or -1, "min_p": spec.min_p,
            "max_tokens": spec.max_tokens, "stop": list(spec.stop), "include_stop_str_in_output": True,
            "logprobs": 0, "return_token_ids": True,
        }  # fmt: skip
        choices = field_of(await client.post("/v1/completions", with_extra(body, self.extra)), "choices")
        return [_drawn(choice) for choice in sorted(choices, key=lambda choice: field_of(choice, "index"))]

    async def score(self, client: Client, start: Sequence[int], ids: Sequence[int]) -> float:
        """Score as a part of the prompt, whose log-probabilities are always those of the model itself."""
        every = -1  # of the vocabulary
        body = {
            **_NEUTRAL, "model": self.model, "prompt": [*start, *ids], "max_tokens": 1,
            "prompt_logprobs": 0 if plain(self.spec) else every,
        }  # fmt: skip
        try:
            answer = await client.post("/v1/completions", with_extra(body, self.extra))
        except ServerError as reason:
            if plain(self.spec) or reason.status != 400:
                raise
            raise InputError(
                "scores under a temperature or truncation need the log-probabilities of all tokens, which this server "
                f"does not give ({reason}). Start vLLM with --max-logprobs -1, score with the same model as hf:PATH, "
                "or draw with temperature 1 and no truncation."
            ) from reason
        steps = field_of(answer, "choices", 0, "prompt_logprobs")
        if not isinstance(steps, list) or len(steps) != len(start) + len(ids):
            raise ServerError(
                f"the server must report the log-probability of each of {len(start) + len(ids)} tokens of a prompt; "
                f"found {len(steps) if isinstance(steps, list) else 'none'}."
            )
        return sum(self._step(step, i) for step, i in zip(steps[len(start) :], ids, strict=True))

    def _step(self, step: dict[str, Any], wanted: int) -> float:
        """Return the log-probability of one token under the spec, given those of some or all tokens."""
        raw = numbers([field_of(step, str(wanted), "logprob")], 1, "a prompt")[0]
        if plain(self.spec):
            return raw
        # By token, so that what is as probable as another one is truncated in the same order as elsewhere.
        listed = sorted((int(i), entry["logprob"]) for i, entry in step.items())
        log_probs = np.array([log_prob for _, log_prob in listed])
        total = float(np.exp(log_probs).sum())
        if abs(total - 1) > _SUM:
            raise ServerError(
                f"the probabilities of all tokens must sum to 1; those of the server sum to {total:.6g}."
            )
        place = [i for i, _ in listed].index(wanted)
        return float(self.spec.log_probs(log_probs)[place])


def check_spec(spec: SamplingSpec) -> None:
    """Refuse a spec that vLLM, behind a server or not, draws otherwise.

    Parameters
    ----------
    spec : SamplingSpec
        What is drawn from.

    Raises
    ------
    InputError
        If its temperature is out of range, or its truncations come in another order.
    """
    low, high = _TEMPERATURES
    if not low <= spec.temperature <= high:
        raise InputError(
            f"vLLM draws at temperatures from {low} to {high}; found {spec.temperature}. Take hf: for another one."
        )
    if spec.min_p > 0 and spec.top_p < 1:
        raise InputError(
            "vLLM truncates by min_p before top_p, and what is drawn from here by top_p before min_p; choose one "
            f"of them; found min_p = {spec.min_p:g} and top_p = {spec.top_p:g}."
        )


def _drawn(choice: dict[str, Any]) -> Drawn:
    ids = token_ids(choice.get("token_ids"))
    reported = field_of(choice, "logprobs")
    log_probs = numbers((reported or {}).get("token_logprobs"), len(ids), "a completion")
    why, stop = choice.get("finish_reason"), choice.get("stop_reason")
    if why not in ("stop", "length"):
        raise ServerError(f"a completion must end by stop or length; found {why!r:.40}.")
    if why == "stop" and isinstance(stop, int):
        raise ServerError(
            f"a completion must end with the model's end token, a stop string or at max_tokens; the server ended one "
            f"with {stop}, another end token. Start vLLM with --generation-config vllm."
        )
    ended = "length" if why == "length" else "stop" if isinstance(stop, str) else "end"
    return Drawn(ids=tuple(ids), log_probs=log_probs, text=str(choice.get("text", "")), ended=ended)
