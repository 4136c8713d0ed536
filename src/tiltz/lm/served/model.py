"""A model behind a server: drawn from and scored over HTTP, many requests at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError, ServerError
from tiltz.lm.calls import check_pairs, streams_of
from tiltz.lm.protocol import Completion, Prompt, Streams
from tiltz.lm.served.client import Access, Client, connected, every, finished
from tiltz.lm.served.connect import dialect_of
from tiltz.lm.served.dialect import Dialect, Drawn
from tiltz.lm.spec import SamplingSpec
from tiltz.lm.tokenizer import Tokenizer
from tiltz.lm.whole import can_be_drawn, outcome_of

Floats = npt.NDArray[np.float64]

_SEEDS = 2**31 - 1


class ServedModel:
    """A language model behind a server; see :class:`tiltz.lm.LanguageModel` for its laws.

    Nothing is asked before it is needed, and no connection outlives a call.

    Parameters
    ----------
    access : Access
        How the server is reached.
    model : str
        Name by which it serves the model; empty for the only one.
    spec : SamplingSpec
        What is drawn from.
    tokenizer : Tokenizer, optional
        Makes tokens of prompts and texts of tokens in place of the server's.
    tokenizer_name : str, optional
        For file metadata.
    server : {"llama.cpp", "vllm", "sglang", "openai"}, optional
        Its kind, where it does not say so.
    extra : dict, optional
        Further fields of every request.
    """

    def __init__(
        self,
        access: Access,
        model: str,
        spec: SamplingSpec,
        *,
        tokenizer: Tokenizer | None = None,
        tokenizer_name: str | None = None,
        server: str | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        self.access, self.model, self.spec = access, model, spec
        self.tokenizer, self.tokenizer_name = tokenizer, tokenizer_name
        self.server, self.extra = server, dict(extra or {})
        self._dialect: Dialect | None = None

    def __repr__(self) -> str:
        """Return the model, its server and its spec."""
        return f"ServedModel({self.model!r}, {self.access.url!r}, {self.spec!r})"

    @property
    def ref_id(self) -> dict[str, Any]:
        """What the model is, for file metadata: what the server says of it, the tokenizer and the spec."""
        dialect = self._dialect or finished(self._known)
        return {
            "model": self.model,
            "server": dialect.kind,
            **dialect.about,
            "tokenizer": self.tokenizer_name,
            **({"extra": self.extra} if self.extra else {}),
            **self.spec.to_dict(),
        }

    def sample(self, prompts: Sequence[Prompt], n: int, rng: Streams) -> list[list[Completion]]:
        """Draw completions.

        Parameters
        ----------
        prompts : sequence
            Texts or chat messages.
        n : int
            Completions of each.
        rng : numpy.random.Generator, or one for each prompt
            Source of the seeds that go with the requests; whether a server repeats itself for a seed is its own matter.

        Returns
        -------
        list of list of Completion
            ``n`` for each prompt.

        Raises
        ------
        ServerError
            If the server does not answer as it must, when no repetition is left.
        """
        seeds = [stream.integers(_SEEDS, size=n) for stream in streams_of(rng, prompts)]
        return finished(lambda: self._sample(list(zip(prompts, seeds, strict=True))))

    def log_prob(self, prompts: Sequence[Prompt], completions: Sequence[Any]) -> Floats:
        """Return the log-probability of each completion of the prompt beside it.

        Parameters
        ----------
        prompts : sequence
            Texts or chat messages.
        completions : sequence, as many
            A :class:`Completion`, its ids, or its text, which is tokenised and ended.

        Returns
        -------
        array, shape (n,)
            In nats; ``-inf`` for what the spec can never draw.

        Raises
        ------
        InputError
            If ids are no whole outcome, or the server cannot score under the spec.
        ServerError
            If the server does not answer as it must.
        """
        check_pairs(prompts, completions)
        ids = [self._outcome(completion) for completion in completions]
        return np.array(finished(lambda: self._score(list(prompts), ids)), dtype=np.float64)

    async def _known(self) -> Dialect:
        async with connected(self.access) as client:
            return await self._of(client)

    async def _of(self, client: Client) -> Dialect:
        """Return how to speak to the server, which is found out once."""
        if self._dialect is None:
            self._dialect, self.model = await dialect_of(
                client, self.model, self.spec, kind=self.server, tokenizer=self.tokenizer, extra=self.extra
            )
        if self._dialect.at_once is not None:
            client.limit(self._dialect.at_once)
        return self._dialect

    async def _encode(self, client: Client, dialect: Dialect, prompt: Prompt) -> list[int]:
        if self.tokenizer is not None:
            return self.tokenizer.encode_prompt(prompt)
        return await dialect.encode(client, prompt)

    async def _sample(self, jobs: list[tuple[Prompt, Any]]) -> list[list[Completion]]:
        n_done = 0

        async def draw(job: tuple[Prompt, Any]) -> list[Completion]:
            nonlocal n_done
            found = await self._draw(client, dialect, *job)
            n_done += 1
            return found

        async with connected(self.access) as client:
            dialect = await self._of(client)
            try:
                if jobs:
                    await dialect.check(client, await self._encode(client, dialect, jobs[0][0]))
                return await every(jobs, draw, self.access.concurrency)
            except ServerError as reason:
                raise ServerError(
                    f"{reason} {n_done:,} of the {len(jobs):,} prompts of this call had all their completions.",
                    status=reason.status,
                ) from reason

    async def _draw(self, client: Client, dialect: Dialect, prompt: Prompt, seeds: Any) -> list[Completion]:
        """Draw all completions of a prompt, in as many requests as the server needs."""
        start = await self._encode(client, dialect, prompt)

        async def some(first: int, size: int) -> list[Completion]:
            found = await dialect.draw(client, start, min(size, len(seeds) - first), int(seeds[first]))
            return [self._completion(drawn) for drawn in found[: len(seeds) - first]]

        drawn = await some(0, dialect.most)
        while len(drawn) < len(seeds):
            # A server that gives fewer than asked is asked for no more than that.
            size = len(drawn)
            if not size:
                raise ServerError("the server must return completions; it returned none.")
            rounds = [(first, size) for first in range(len(drawn), len(seeds), size)]
            for found in await every(rounds, lambda job: some(*job), self.access.concurrency):
                if len(found) < min(size, len(seeds) - len(drawn)):
                    raise ServerError(
                        f"the server must return {size} completions as before; found {len(found)}."
                    )
                drawn += found
        return drawn

    def _completion(self, drawn: Drawn) -> Completion:
        longest = self.spec.max_tokens
        least = longest if drawn.ended == "length" else 1
        if not least <= len(drawn.ids) <= longest:
            raise ServerError(
                f"a completion must have from 1 to max_tokens ({longest}) tokens, and as many where it is cut; the "
                f"server cut one at {len(drawn.ids)}. Its context may be too short for the prompt and max_tokens."
            )
        text = drawn.text
        if self.tokenizer is not None:
            if drawn.ended == "end" and drawn.ids[-1] != self.tokenizer.end_id:
                raise ServerError(
                    f"a completion that ends must end with the end token of the tokenizer ({self.tokenizer.end_id}); "
                    f"the server ended one with {drawn.ids[-1]}. The tokenizer may not be the model's own, or the "
                    "server may have other end tokens from the model's generation_config.json."
                )
            text = self.tokenizer.decode(drawn.ids[:-1] if drawn.ended == "end" else drawn.ids)
        return Completion(ids=drawn.ids, text=text, log_prob=float(sum(drawn.log_probs)), ended=drawn.ended)

    async def _score(self, prompts: list[Prompt], ids: list[tuple[int, ...]]) -> list[float]:
        async with connected(self.access) as client:
            dialect = await self._of(client)
            names = [json.dumps(prompt, sort_keys=True, default=str) for prompt in prompts]
            distinct = dict(zip(names, prompts, strict=True))
            found = await every(
                list(distinct.values()),
                lambda prompt: self._encode(client, dialect, prompt),
                self.access.concurrency,
            )
            start = dict(zip(distinct, found, strict=True))

            async def score(i: int) -> float:
                if not self._possible(ids[i]):
                    return -np.inf
                return await dialect.score(client, start[names[i]], ids[i])

            return await every(list(range(len(ids))), score, self.access.concurrency)

    def _possible(self, ids: tuple[int, ...]) -> bool:
        """Whether it is not too long, and as far as can be told without a tokenizer does not go on after its end."""
        if self.tokenizer is None:
            return len(ids) <= self.spec.max_tokens
        return can_be_drawn(ids, _Tokens(spec=self.spec, tokenizer=self.tokenizer))

    def _outcome(self, completion: Any) -> tuple[int, ...]:
        """Return the ids of a whole outcome, as far as can be told without a tokenizer."""
        if isinstance(completion, Completion):
            return completion.ids
        if self.tokenizer is not None:
            return outcome_of(completion, _Tokens(spec=self.spec, tokenizer=self.tokenizer))
        if isinstance(completion, str):
            raise InputError(
                "texts of completions are scored as what a tokenizer makes of them; name the model's own "
                "(tokenizer=PATH_OR_ID), or score the ids that were drawn."
            )
        ids = tuple(int(i) for i in completion)
        if not ids or min(ids) < 0:
            raise InputError(f"ids must be tokens, whole numbers from 0, at least one; found {ids!r:.80}.")
        return ids


class _Tokens:
    """What says how outcomes end; see :func:`tiltz.lm.whole.outcome_of`."""

    vocab_size = 2**31  # a tokenizer does not know the model's

    def __init__(self, *, spec: SamplingSpec, tokenizer: Tokenizer) -> None:
        self.spec, self.end_id = spec, tokenizer.end_id
        self.encode, self.decode = tokenizer.encode, tokenizer.decode
