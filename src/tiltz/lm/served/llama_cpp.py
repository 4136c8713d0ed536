"""llama.cpp's own server: its native routes, which tell tokens, how they were drawn, and every probability."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

from tiltz.errors import InputError, ServerError
from tiltz.lm.protocol import Prompt
from tiltz.lm.served.client import Client
from tiltz.lm.served.dialect import Drawn, Served, field_of, numbers, plain, token_ids, with_extra
from tiltz.lm.spec import SamplingSpec

# Everything else that can change what is drawn; most is on, or may be set to be on, if nothing is said.
_NEUTRAL = {
    "typical_p": 1.0, "top_n_sigma": -1.0, "xtc_probability": 0.0, "repeat_penalty": 1.0, "presence_penalty": 0.0,
    "frequency_penalty": 0.0, "dry_multiplier": 0.0, "dynatemp_range": 0.0, "mirostat": 0, "adaptive_target": -1.0,
    "min_keep": 0, "ignore_eos": False, "grammar": "", "logit_bias": [],
}  # fmt: skip
# With its cache of prompts, too, the server may go on from another prompt, and says nothing.
_CACHE = False
_FORCE = 1e4  # logits: what is lifted so far above all others is drawn for certain
_ENDS = {"eos": "end", "word": "stop", "limit": "length"}


class LlamaCpp:
    """See :class:`tiltz.lm.served.dialect.Dialect`."""

    kind = "llama.cpp"
    # Asked for several at once (n_cmpl), the server draws some of them after another request's prompt.
    most = 1

    def __init__(self, served: Served, props: dict[str, Any]) -> None:
        self.spec, self.extra = served.spec, served.extra
        meta = served.listed.get("meta") or {}
        self.vocab_size = meta.get("n_vocab")
        self.at_once: int | None = int(props.get("total_slots") or 1)
        told = {name: meta.get(name) for name in ("n_vocab", "n_params", "size", "ftype")}
        self.about = {**told, "build": props.get("build_info"), "chat_template": props.get("chat_template")}

    @classmethod
    async def connect(cls, client: Client, served: Served) -> LlamaCpp:
        """Return the dialect, having asked what the server is."""
        return cls(served, await client.get("/props"))

    async def encode(self, client: Client, prompt: Prompt) -> list[int]:
        """Return the tokens of a text, or of chat messages by the server's template."""
        if not isinstance(prompt, str):
            prompt = field_of(await client.post("/apply-template", {"messages": prompt}), "prompt")
        answer = await client.post(
            "/tokenize", {"content": prompt, "add_special": True, "parse_special": True}
        )
        return token_ids(field_of(answer, "tokens"))

    async def check(self, client: Client, start: Sequence[int]) -> None:
        """Find out nothing: the server says with every completion how it was drawn."""

    async def draw(self, client: Client, start: Sequence[int], n: int, seed: int) -> list[Drawn]:
        """Draw one; it is drawn as asked, or refused."""
        settings = {**_settings(self.spec), "stop": list(self.spec.stop), "n_predict": self.spec.max_tokens}
        body = {**settings, "prompt": list(start), "seed": seed}
        found = await self._complete(client, body)
        for answer in found:
            _check_drawn_as_asked(field_of(answer, "generation_settings"), settings)
        return [await self._drawn(client, start, answer) for answer in found]

    async def score(self, client: Client, start: Sequence[int], ids: Sequence[int]) -> float:
        """Score token by token, the prompt anew for each: what it is given the server does not score."""
        return sum(await self._steps(client, start, ids))

    async def _steps(
        self, client: Client, start: Sequence[int], ids: Sequence[int], first: int = 0
    ) -> tuple[float, ...]:
        """Return the log-probability of every token from the first one asked for."""
        places = range(first, len(ids))
        if not places:
            return ()
        if plain(self.spec):
            steps = [self._forced(client, [*start, *ids[:k]], ids[k]) for k in places]
            return tuple(await asyncio.gather(*steps))
        if not self.vocab_size:
            raise InputError(
                "to score under this spec the server must say how many tokens there are (n_vocab)."
            )
        before = [[*start, *ids[:k]] for k in places]
        body = {**_settings(self.spec), "prompt": before, "n_predict": 1, "n_probs": self.vocab_size}
        found = await self._complete(client, body)
        found.sort(key=lambda answer: field_of(answer, "index"))
        log_probs = []
        for answer, wanted in zip(found, ids[first:], strict=True):
            listed = field_of(answer, "completion_probabilities", 0, "top_probs")
            prob = next((entry["prob"] for entry in listed if entry["id"] == wanted), 0.0)
            log_probs.append(_log(prob))
        return numbers(log_probs, len(places), "a completion")

    async def _forced(self, client: Client, before: list[int], wanted: int) -> float:
        """Return the log-probability that one token follows; it is reported from before the bias that forces it."""
        body = {**_settings(self.spec), "prompt": before, "n_predict": 1, "logit_bias": [[wanted, _FORCE]]}
        (answer,) = await self._complete(client, body)
        step = field_of(answer, "completion_probabilities", 0)
        if step.get("id") != wanted:
            raise ServerError(f"the server must follow a bias of {_FORCE:g} logits; it drew another token.")
        return numbers([step.get("logprob")], 1, "a completion")[0]

    async def _complete(self, client: Client, body: dict[str, Any]) -> list[Any]:
        answer = await client.post("/completion", with_extra(body, self.extra))
        return answer if isinstance(answer, list) else [answer]

    async def _drawn(self, client: Client, start: Sequence[int], answer: dict[str, Any]) -> Drawn:
        ids = tuple(token_ids(field_of(answer, "tokens")))
        stop = str(answer.get("stop_type"))
        if stop not in _ENDS:
            raise ServerError(f"a completion must end by eos, word or limit; found {stop!r:.40}.")
        steps = answer.get("completion_probabilities")
        steps = steps if isinstance(steps, list) else []
        # It leaves out the probabilities of as many tokens as it makes of the stop string.
        n_told = len(steps) if stop == "word" else len(ids)
        log_probs = self._reported(steps, ids[:n_told]) + await self._steps(client, start, ids, first=n_told)
        text = str(answer.get("content", "")) + str(answer.get("stopping_word") or "")
        return Drawn(ids=ids, log_probs=log_probs, text=text, ended=_ENDS[stop])  # pyright: ignore[reportArgumentType]

    def _reported(self, steps: list[Any], ids: tuple[int, ...]) -> tuple[float, ...]:
        if plain(self.spec):
            log_probs = [step.get("logprob") for step in steps]
        else:
            log_probs = [_log(step.get("prob")) for step in steps]
        told = numbers(log_probs, len(ids), "a completion")
        if [step.get("id") for step in steps] != list(ids):
            raise ServerError(
                "the log-probabilities of a completion must be those of its tokens; they are not."
            )
        return told


def _log(prob: Any) -> float | None:
    """Return the log of a probability, None of anything else."""
    if isinstance(prob, bool) or not isinstance(prob, int | float):
        return None
    return math.log(prob) if prob > 0 else -math.inf


def _settings(spec: SamplingSpec) -> dict[str, Any]:
    """Return all that says what is drawn from, and that its probabilities are to be told."""
    used = {"top_k": spec.top_k > 0, "top_p": spec.top_p < 1, "min_p": spec.min_p > 0}
    return {
        **_NEUTRAL,
        "temperature": spec.temperature, "top_k": spec.top_k, "top_p": spec.top_p, "min_p": spec.min_p,
        "samplers": ["temperature", *(name for name, on in used.items() if on)],
        "n_probs": 1, "post_sampling_probs": not plain(spec), "return_tokens": True, "stream": False,
        "cache_prompt": _CACHE,
    }  # fmt: skip


def _check_drawn_as_asked(found: dict[str, Any], asked: dict[str, Any]) -> None:
    """Refuse completions that were drawn otherwise, as by a server too old for one of the settings."""
    for name, wanted in asked.items():
        got = found.get(name, wanted)
        same = math.isclose(got, wanted, rel_tol=1e-5) if isinstance(wanted, float) else got == wanted
        if not same:
            raise ServerError(
                f"completions must be drawn with {name} = {wanted!r}; the server drew with {got!r}."
            )
