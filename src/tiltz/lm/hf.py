"""Models of transformers: on CPU or CUDA, with adapters, scored and drawn from the same logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError, MissingExtraError
from tiltz.lm.local import LocalModel
from tiltz.lm.protocol import Prompt
from tiltz.lm.spec import SamplingSpec

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """A cache of transformers, which of its positions hold a token, and how many each row has."""

    cache: Any
    seen: Any
    lengths: Any


class TransformersEngine:
    """Logits of a causal language model of transformers; see :class:`tiltz.lm.Engine`.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        In evaluation mode.
    tokenizer : transformers.PreTrainedTokenizerBase
        Its tokenizer.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer
        if tokenizer.eos_token_id is None:
            raise InputError(
                "the tokenizer must have an end token (eos_token); without one no completion ends."
            )
        # Renamed in transformers 5.
        self.cache_name = "cache" if "cache" in signature(model.forward).parameters else "past_key_values"
        self.end_id = int(tokenizer.eos_token_id)
        self.vocab_size = int(model.config.vocab_size)

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """Return the tokens of a text as the tokenizer begins it, or of chat messages by its template."""
        if not isinstance(prompt, str):
            if not self.tokenizer.chat_template:
                raise InputError("chat messages need a tokenizer with a chat template; this one has none.")
            ids = self.tokenizer.apply_chat_template(
                prompt, add_generation_prompt=True, tokenize=True, return_dict=False
            )
            return [int(i) for i in ids]
        ids = self.tokenizer(prompt, add_special_tokens=True)["input_ids"]
        # A tokenizer that closes a text with its end token means a whole text, and this is the beginning of one.
        if ids and ids[-1] == self.end_id:
            ids = ids[:-1]
        first = self.tokenizer.bos_token_id
        return list(ids) if ids else [self.end_id if first is None else first]

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a completion's text, without the end token."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)

    def begin(self) -> _State:
        """Return the state before any token."""
        import torch

        empty = torch.zeros((1, 0), dtype=torch.long, device=self.model.device)
        return _State(cache=None, seen=empty, lengths=torch.zeros(1, dtype=torch.long, device=empty.device))

    def extend(
        self, state: _State, rows: Ints, tokens: Ints, lengths: Ints
    ) -> tuple[_State, npt.NDArray[Any]]:
        """Feed tokens; see :class:`tiltz.lm.Engine`."""
        import torch

        device = self.model.device
        chosen = torch.as_tensor(rows, device=device)
        ids = torch.as_tensor(tokens, device=device)
        new = torch.arange(ids.shape[1], device=device) < torch.as_tensor(lengths, device=device)[:, None]
        before, length = state.seen[chosen], state.lengths[chosen]
        cache = state.cache
        if cache is not None and not np.array_equal(rows, np.arange(len(state.lengths))):
            cache.reorder_cache(chosen)
        seen = torch.cat([before, new.long()], dim=1)
        position = length[:, None] + torch.arange(ids.shape[1], device=device)
        with torch.inference_mode():
            out = self.model(
                input_ids=ids,
                attention_mask=seen,
                position_ids=position,
                use_cache=True,
                **{self.cache_name: cache},
            )
        grown = length + torch.as_tensor(lengths, device=device)
        return _State(cache=out[self.cache_name], seen=seen, lengths=grown), out.logits.float().cpu().numpy()


def load_transformers(
    name: str,
    *,
    spec: SamplingSpec,
    revision: str | None = None,
    adapter: str | None = None,
    dtype: str = "float32",
    device: str | None = None,
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
        A LoRA adapter to put on it, for which peft must be installed.
    dtype : str
        What is computed in: a file in half precision is by default computed in single precision.
    device : str, optional
        By default CUDA where there is one.
    batch_size : int
        Sequences at once.

    Raises
    ------
    MissingExtraError
        If torch or transformers is not installed.
    """
    try:
        import torch
        import transformers
    except ImportError as reason:
        raise MissingExtraError(reason.name or "transformers", "hf", "a model of transformers") from reason
    tokenizer = transformers.AutoTokenizer.from_pretrained(name, revision=revision)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(
        name, revision=revision, dtype=getattr(torch, dtype)
    )
    if adapter is not None:
        model.load_adapter(adapter)
    model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    ref_id = {
        "model": name,
        "revision": revision or getattr(model.config, "_commit_hash", None),
        "adapter": adapter,
        "dtype": dtype,
        "chat_template": tokenizer.chat_template,
    }
    return LocalModel(TransformersEngine(model, tokenizer), spec, ref_id=ref_id, batch_size=batch_size)
