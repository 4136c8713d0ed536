"""From the name of a model to the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiltz.errors import InputError
from tiltz.lm.llama import LlamaEngine, file_hash
from tiltz.lm.local import LocalModel
from tiltz.lm.protocol import LanguageModel
from tiltz.lm.spec import SamplingSpec
from tiltz.lm.table import read_table_model

EMBEDDED = Path(__file__).parent / "models"
_LONGEST = 24  # tokens of a completion of the embedded models


def load(name: str, *, spec: SamplingSpec | None = None, **options: Any) -> Any:
    """Return a language model.

    Parameters
    ----------
    name : str
        ``tiny``, the embedded reference, or ``tiny:policy``, fine-tuned from it; ``hf:PATH_OR_ID`` for a model of
        transformers; ``table:FILE`` for a finite reference from a file; ``numpy:FOLDER`` for a small Llama with a
        word-level tokenizer; ``openai:URL#MODEL`` for a model behind a server; ``vllm:PATH_OR_ID`` for one that vLLM
        runs in this process.
    spec : SamplingSpec, optional
        What is drawn from. Left out, everything is drawn as it is, up to the model's own length.
    **options
        Of the kind of model: see :func:`tiltz.lm.hf.load_transformers`, :func:`tiltz.lm.served.load_served` and
        :func:`tiltz.lm.vllm.load_vllm`.

    Returns
    -------
    LanguageModel
        The model: a :class:`LocalModel`, one behind a server, or one that vLLM runs.

    Raises
    ------
    InputError
        If there is no such kind of model, or no such file.
    MissingExtraError
        If the kind needs a package that is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> model = load("tiny")
    >>> model.ref_id["model"]
    'tiny'
    """
    kind, _, place = name.partition(":")
    if kind not in _KINDS or (not place and kind != "tiny"):
        raise InputError(
            "a model is tiny, tiny:policy, hf:PATH_OR_ID, vllm:PATH_OR_ID, openai:URL#MODEL, table:FILE or "
            f"numpy:FOLDER; found {name!r:.100}."
        )
    return _KINDS[kind](place, spec, **options)


def _tiny(which: str, spec: SamplingSpec | None, **options: Any) -> LocalModel:
    folder = EMBEDDED / (which or "reference")
    if not folder.is_dir():
        raise InputError(f"the embedded models are tiny and tiny:policy; found 'tiny:{which:.50}'.")
    return _llama(folder, spec, name=f"tiny:{which}" if which else "tiny", **options)


def _numpy(place: str, spec: SamplingSpec | None, **options: Any) -> LocalModel:
    folder = Path(place)
    if not (folder / "model.safetensors").is_file():
        raise InputError(f"a model's folder must hold model.safetensors; there is none in {place}.")
    return _llama(folder, spec, name=f"numpy:{place}", **options)


def _llama(folder: Path, spec: SamplingSpec | None, *, name: str, **options: Any) -> LocalModel:
    ref_id = {"model": name, "weights": file_hash(folder / "model.safetensors")}
    return LocalModel(
        LlamaEngine(folder), spec or SamplingSpec(max_tokens=_LONGEST), ref_id=ref_id, **options
    )


def _transformers(place: str, spec: SamplingSpec | None, **options: Any) -> LocalModel:
    from tiltz.lm.hf import load_transformers

    return load_transformers(place, spec=spec or SamplingSpec(), **options)


def _vllm(place: str, spec: SamplingSpec | None, **options: Any) -> LanguageModel:
    from tiltz.lm.vllm import load_vllm

    return load_vllm(place, spec=spec or SamplingSpec(), **options)


def _table(place: str, spec: SamplingSpec | None) -> LocalModel:
    return read_table_model(place, spec=spec)


def _served(place: str, spec: SamplingSpec | None, **options: Any) -> LanguageModel:
    from tiltz.lm.served import load_served

    return load_served(place, spec=spec or SamplingSpec(), **options)


_KINDS: dict[str, Callable[..., LanguageModel]] = {
    "tiny": _tiny,
    "hf": _transformers,
    "vllm": _vllm,
    "table": _table,
    "numpy": _numpy,
    "openai": _served,
}
