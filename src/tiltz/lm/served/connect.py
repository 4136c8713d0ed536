"""From an address to a dialect: what is served there, and by what kind of server."""

from __future__ import annotations

import os
from typing import Any

from tiltz.errors import InputError, ServerError
from tiltz.lm.served.client import Client
from tiltz.lm.served.dialect import Dialect, Served
from tiltz.lm.served.llama_cpp import LlamaCpp
from tiltz.lm.served.openai import OpenAi
from tiltz.lm.served.sglang import SgLang
from tiltz.lm.served.vllm import Vllm
from tiltz.lm.spec import SamplingSpec
from tiltz.lm.tokenizer import Tokenizer

KINDS = ("llama.cpp", "vllm", "sglang", "openai")
_OWNERS = {"llamacpp": "llama.cpp", "vllm": "vllm", "sglang": "sglang"}
_NOT_FOUND = 404


async def dialect_of(
    client: Client,
    model: str,
    spec: SamplingSpec,
    *,
    kind: str | None,
    tokenizer: Tokenizer | None,
    extra: dict[str, Any],
) -> tuple[Dialect, str]:
    """Return how to speak to a server, and the name of the model there."""
    listed = await _listed(client, model)
    served = Served(model=str(listed["id"]), listed=listed, spec=spec, extra=extra)
    kind = kind or _OWNERS.get(str(listed.get("owned_by")), "openai")
    if kind == "llama.cpp":
        return await LlamaCpp.connect(client, served), served.model
    if kind == "vllm":
        return await Vllm.connect(client, served), served.model
    if kind == "sglang":
        return await SgLang.connect(client, served), served.model
    return OpenAi(served, tokenizer), served.model


async def _listed(client: Client, model: str) -> dict[str, Any]:
    """Return what the server's list of models says of one."""
    try:
        answer = await client.get("/v1/models")
    except ServerError as reason:
        if reason.status == _NOT_FOUND and model:
            return {"id": model}
        raise
    entries = [
        entry for entry in (answer or {}).get("data") or [] if isinstance(entry, dict) and "id" in entry
    ]
    named = [entry for entry in entries if model in (entry["id"], *(entry.get("aliases") or ()))]
    if named or (not model and len(entries) == 1):
        return (named or entries)[0]
    names = ", ".join(repr(entry["id"])[:60] for entry in entries[:5])
    raise InputError(
        f"the model must be one of the {len(entries)} that the server lists: {names or 'none'}"
        f"{', ...' if len(entries) > 5 else ''}; found {model!r:.100}. Name it after #: openai:URL#MODEL."
    )


def key_of(given: str | None) -> str | None:
    """Return the key of the server: the one given, or that of the environment."""
    return given or os.environ.get("OPENAI_API_KEY") or None
