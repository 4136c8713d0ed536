"""Models behind servers: llama.cpp, vLLM, SGLang, and others with OpenAI's routes."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from tiltz.errors import InputError, MissingExtraError
from tiltz.lm.served.client import Access
from tiltz.lm.served.connect import KINDS, key_of
from tiltz.lm.served.model import ServedModel
from tiltz.lm.spec import SamplingSpec
from tiltz.lm.tokenizer import Tokenizer, tokenizer_of

__all__ = ["ServedModel", "Tokenizer", "load_served"]


def load_served(
    place: str,
    *,
    spec: SamplingSpec,
    api_key: str | None = None,
    tokenizer: Any = None,
    server: str | None = None,
    concurrency: int = 32,
    timeout: float = 600.0,
    retries: int = 6,
    backoff: float = 0.5,
    extra: dict[str, Any] | None = None,
) -> ServedModel:
    """Return a model behind a server, of which nothing is asked yet.

    Parameters
    ----------
    place : str
        ``URL#MODEL``; the model may be left out where only one is served.
    spec : SamplingSpec
        What is drawn from.
    api_key : str, optional
        By default that of the variable ``OPENAI_API_KEY``, if it is set.
    tokenizer : str, Path or object, optional
        The model's own, as a folder, an identifier of the hub or an object, to make tokens of texts here. Servers of
        llama.cpp, vLLM and SGLang need none, but to score texts.
    server : {"llama.cpp", "vllm", "sglang", "openai"}, optional
        Its kind, where it does not say so.
    concurrency : int
        Requests at once.
    timeout : float
        Seconds for one answer: far more than the longest completions take, for those that are drawn anew after it are
        shorter.
    retries : int
        How often a request is repeated that failed in a way that may pass.
    backoff : float
        Seconds before the first repetition, about; twice as many before each further one, unless the server says.
    extra : dict, optional
        Further fields of every request, such as a provider's own; they belong to the reference, and must be none that
        the spec speaks of.

    Returns
    -------
    ServedModel
        The model.

    Raises
    ------
    InputError
        If something is no address, kind or number of its kind.
    MissingExtraError
        If httpx2 is not installed.
    """
    if find_spec("httpx2") is None:
        raise MissingExtraError("httpx2", "server", "a model behind a server")
    url, _, model = place.partition("#")
    if server is not None and server not in KINDS:
        raise InputError(f"server must be one of {', '.join(KINDS)}; found {server!r:.40}.")
    access = Access(
        url=url.rstrip("/").removesuffix("/v1"),
        api_key=key_of(api_key),
        concurrency=concurrency,
        timeout=timeout,
        retries=retries,
        backoff=backoff,
    )
    name = None if tokenizer is None else str(tokenizer) if hasattr(tokenizer, "__fspath__") else tokenizer
    return ServedModel(
        access,
        model,
        spec,
        tokenizer=None if tokenizer is None else tokenizer_of(tokenizer),
        tokenizer_name=name if isinstance(name, str) or name is None else type(name).__name__,
        server=server,
        extra=extra,
    )
