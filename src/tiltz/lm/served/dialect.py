"""What kinds of servers have in common: prompts as tokens, completions with log-probabilities, scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tiltz.errors import ServerError
from tiltz.lm.protocol import Prompt
from tiltz.lm.served.client import Client
from tiltz.lm.spec import SamplingSpec

Ended = Literal["end", "stop", "length"]


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
