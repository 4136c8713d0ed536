"""Models of transformers: on CPU or CUDA, with adapters, scored and drawn from the same logits."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError, MissingExtraError
from tiltz.lm.adapters import Weights, hashed
from tiltz.lm.local import LocalModel
from tiltz.lm.protocol import Prompt
from tiltz.lm.spec import SamplingSpec
from tiltz.lm.tokenizer import TransformersTokenizer

Ints = npt.NDArray[np.int64]

# What besides the weights makes tokens of a text and logits of tokens.
_SETTINGS = (
    "config.json",
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """A cache of transformers, what its positions hold, which of them hold a token, and how many each row has."""

    cache: Any
    tokens: Any
    seen: Any
    lengths: Any


class TransformersEngine:
    """Logits of a causal language model of transformers; see :class:`tiltz.lm.Engine`.

    Parameters
    ----------
    model : transformers.PreTrainedModel or Weights
        Put in evaluation mode; as :class:`tiltz.lm.adapters.Weights`, shared with other engines.
    tokenizer : transformers.PreTrainedTokenizerBase
        Its tokenizer.
    adapter : str, optional
        Identity of the adapter that is switched on, one of the weights' own.
    """

    def __init__(self, model: Any, tokenizer: Any, *, adapter: str | None = None) -> None:
        self.weights = model if isinstance(model, Weights) else Weights(model)
        self.tokenizer, self.adapter = tokenizer, adapter
        model = self.weights.model
        self.tokens = TransformersTokenizer(tokenizer)
        # Renamed in transformers 5.
        known = signature(model.forward).parameters
        self.cache_name = "cache" if "cache" in known else "past_key_values"
        self.keeps_logits = "logits_to_keep" in known
        self.end_id = self.tokens.end_id
        config = model.config.get_text_config()
        self.vocab_size = int(config.vocab_size)
        self.n_positions = _learned_positions(config)
        self.counts_places = _counts_places(config)

    @property
    def model(self) -> Any:
        """The model of transformers, which may be shared."""
        return self.weights.model

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """Return the tokens of a text as the tokenizer begins it, or of chat messages by its template."""
        return self.tokens.encode_prompt(prompt)

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a completion's text, without the end token."""
        return self.tokens.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens."""
        return self.tokens.decode(ids)

    def begin(self) -> _State:
        """Return the state before any token."""
        import torch

        empty = torch.zeros((1, 0), dtype=torch.long, device=self.model.device)
        lengths = torch.zeros(1, dtype=torch.long, device=empty.device)
        return _State(cache=None, tokens=empty, seen=empty, lengths=lengths)

    def extend(
        self, state: _State, rows: Ints, tokens: Ints, lengths: Ints, *, last: bool = False
    ) -> tuple[_State, Any]:
        """Feed tokens; see :class:`tiltz.lm.Engine`. The logits stay on the device."""
        import torch

        device = self.model.device
        if self.counts_places and self._leaves_gaps(state, rows, lengths):
            state, rows = self._without_gaps(state, rows), np.arange(len(rows))
        if last:  # at the right of all rows, as generate() has them
            tokens = _to_the_right(tokens, lengths)
        chosen, ids, n_new = (torch.as_tensor(part, device=device) for part in (rows, tokens, lengths))
        place = torch.arange(ids.shape[1], device=device)
        place = place - (ids.shape[1] - n_new)[:, None] if last else place.expand(ids.shape)
        new = (place >= 0) & (place < n_new[:, None])
        length = state.lengths[chosen]
        self._check_positions(length + n_new)
        if state.cache is not None and not np.array_equal(rows, np.arange(len(state.lengths))):
            state.cache.reorder_cache(chosen)
        held = torch.cat([state.tokens[chosen], ids], dim=1)
        seen = torch.cat([state.seen[chosen], new.long()], dim=1)
        # What only fills a row up must not lie beyond the positions that a model knows.
        position = length[:, None] + torch.minimum(place.clamp(min=0), (n_new - 1).clamp(min=0)[:, None])
        only_last = {"logits_to_keep": 1} if last and self.keeps_logits else {}
        with self.weights.under(self.adapter) as model, torch.inference_mode():
            out = model(
                input_ids=ids,
                attention_mask=seen,
                position_ids=position,
                use_cache=True,
                **{self.cache_name: state.cache},
                **only_last,
            )
        logits = out.logits[:, -1:] if last else out.logits
        after = _State(cache=out[self.cache_name], tokens=held, seen=seen, lengths=length + n_new)
        return after, logits.float()

    def _leaves_gaps(self, state: _State, rows: Ints, lengths: Ints) -> bool:
        """Whether a row that gets tokens ends with places that hold none."""
        if not state.seen.shape[1]:
            return False
        return bool(np.any((state.seen[:, -1].cpu().numpy()[rows] == 0) & (lengths > 0)))

    def _without_gaps(self, state: _State, rows: Ints) -> _State:
        """Return the state of some rows as if their tokens had been fed at once."""
        seen, tokens = state.seen.cpu().numpy()[rows], state.tokens.cpu().numpy()[rows]
        lengths = seen.sum(axis=1)
        tokens = np.take_along_axis(tokens, np.argsort(-seen, axis=1, kind="stable"), axis=1)
        nowhere = np.zeros(len(rows), dtype=np.int64)
        return self.extend(self.begin(), nowhere, tokens[:, : lengths.max()], lengths, last=True)[0]

    def _check_positions(self, lengths: Any) -> None:
        if self.n_positions is None:
            return
        longest = int(lengths.max())
        if longest > self.n_positions:
            raise InputError(
                f"a prompt and what follows it must have at most {self.n_positions} tokens, the positions that this "
                f"model has learned; found {longest}. Shorten the prompt, or draw with a smaller max_tokens."
            )


def _learned_positions(config: Any) -> int | None:
    """Return how many positions a model has, None where they are computed for any number."""
    if any(getattr(config, name, None) for name in ("rope_parameters", "rope_theta", "rope_scaling")):
        return None
    return getattr(config, "max_position_embeddings", None)


def _counts_places(config: Any) -> bool:
    """Whether places of the cache that hold no token count, as in windows and in states that go on."""
    kinds = set(getattr(config, "layer_types", None) or ())
    return bool(kinds - {"full_attention"} or getattr(config, "sliding_window", None))


def _to_the_right(tokens: Ints, lengths: Ints) -> Ints:
    """Return rows that begin at the left so that they end at the right."""
    shift = tokens.shape[1] - lengths
    return np.take_along_axis(tokens, (np.arange(tokens.shape[1]) - shift[:, None]) % tokens.shape[1], axis=1)


def load_transformers(
    name: str,
    *,
    spec: SamplingSpec,
    revision: str | None = None,
    adapter: str | None = None,
    base: LocalModel | None = None,
    dtype: str | None = None,
    device: str | None = None,
    chat_template: str | None = None,
    batch_size: int = 256,
) -> LocalModel:
    """Return a model of transformers.

    Parameters
    ----------
    name : str
        Folder or identifier of the hub.
    spec : SamplingSpec
        What is drawn from.
    revision : str, optional
        Of the hub.
    adapter : str, optional
        Folder or identifier of a LoRA adapter to put on it.
    base : LocalModel, optional
        A model loaded earlier from the same name and revision, with another adapter or none: its base weights are used,
        not loaded again.
    dtype : str, optional
        What is computed in, by default that of ``base``, else float32: a file in half precision is computed in single.
    device : str, optional
        By default that of ``base``, else CUDA where there is one.
    chat_template : str, optional
        What makes a prompt of chat messages (Jinja), by default the tokenizer's own. It belongs to the reference, and
        ``ref_id`` holds it.
    batch_size : int
        Sequences at once.

    Returns
    -------
    LocalModel
        The model; its ``ref_id`` names weights and adapter by their hashes.

    Raises
    ------
    MissingExtraError
        If torch, transformers or, for an adapter, peft is not installed.
    InputError
        If the adapter does not fit the base, or ``base`` is another model.

    Notes
    -----
    Models that share weights take turns, so they may be called one after the other in any order and from several
    threads. Two revisions of all weights share nothing: they are two models in memory.
    """
    if base is None:
        weights, tokenizer, ref_id = _loaded(name, revision, dtype or "float32", device)
    else:
        weights, tokenizer, ref_id = _shared(base, model=name, revision=revision, dtype=dtype, device=device)
    identity = None if adapter is None else weights.add(adapter)
    ref_id = {**ref_id, "adapter": adapter} | ({"adapter_weights": identity} if identity else {})
    if chat_template is not None:
        tokenizer = copy(tokenizer)
        tokenizer.chat_template = ref_id["chat_template"] = chat_template
    engine = TransformersEngine(weights, tokenizer, adapter=identity)
    return LocalModel(engine, spec, ref_id=ref_id, batch_size=batch_size)


def _loaded(
    name: str, revision: str | None, dtype: str, device: str | None
) -> tuple[Weights, Any, dict[str, Any]]:
    try:
        import torch
        import transformers
    except ImportError as reason:
        raise MissingExtraError(reason.name or "transformers", "hf", "a model of transformers") from reason
    kind = getattr(torch, dtype, None)
    if not (isinstance(kind, torch.dtype) and kind.is_floating_point):
        raise InputError(f"dtype must be float32, bfloat16, float16 or float64; found {dtype!r:.50}.")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, revision=revision)
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(name, revision=revision, dtype=kind)
    except (OSError, ValueError) as reason:
        raise InputError(
            "hf: must be followed by a folder that holds a causal model and its tokenizer, or by their identifier of "
            f"the hub; {name!r:.200} could not be loaded: {' '.join(str(reason).split()):.300}"
        ) from reason
    model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    ref_id = {
        "model": name,
        "revision": revision or getattr(model.config, "_commit_hash", None),
        "dtype": dtype,
        "chat_template": tokenizer.chat_template,
    }
    files = sorted(path for end in ("safetensors", "bin") for path in Path(name).glob(f"*.{end}"))
    settings = [path for path in (Path(name) / file for file in _SETTINGS) if path.is_file()]
    hashes = {key: hashed(some) for key, some in (("weights", files), ("settings", settings)) if some}
    return Weights(model), tokenizer, ref_id | hashes


def _shared(base: LocalModel, **wanted: str | None) -> tuple[Weights, Any, dict[str, Any]]:
    """Return what a model was loaded from, if that is what is asked for."""
    engine = getattr(base, "engine", None)
    if not isinstance(engine, TransformersEngine):
        raise InputError(
            f"base must be a model of transformers (hf:PATH_OR_ID); found {type(base).__name__}."
        )
    found = {**base.ref_id, "device": str(engine.model.device)}
    other = [key for key, value in wanted.items() if value is not None and value != found.get(key)]
    if other:
        raise InputError(
            f"base must be the same model, so that its weights can be shared; its {other[0]} is "
            f"{found.get(other[0])!r:.100}, asked for is {wanted[other[0]]!r:.100}. Leave base out to load another one."
        )
    kept = ("model", "revision", "dtype", "chat_template", "weights", "settings")
    return engine.weights, engine.tokenizer, {key: found[key] for key in kept if key in found}
