"""A Llama forward pass in NumPy, with a cache of keys and values: enough for a model of a million parameters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from tiltz.errors import InputError
from tiltz.lm.protocol import Prompt
from tiltz.lm.words import Words

Singles = npt.NDArray[Any]  # of single precision
Ints = npt.NDArray[np.int64]

_ROOM = 16  # positions by which a cache grows at least
_NOT_SEEN = np.float32(-1e30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a Llama-type model, as in its config.json."""

    n_layers: int
    n_heads: int
    n_key_heads: int
    head_size: int
    eps: float
    theta: float

    @classmethod
    def of(cls, config: dict[str, Any]) -> Shape:
        """Read a config, or refuse what this forward pass does not do."""
        rope = config.get("rope_parameters") or {}
        plain = rope.get("rope_type", "default") == "default" and not config.get("rope_scaling")
        if config.get("hidden_act", "silu") != "silu" or config.get("attention_bias") or not plain:
            raise InputError(
                "the NumPy engine runs plain Llama models (silu, no attention bias, default rotary embedding); this "
                "config asks for something else. Load the folder as hf:PATH."
            )
        heads = int(config["num_attention_heads"])
        return cls(
            n_layers=int(config["num_hidden_layers"]),
            n_heads=heads,
            n_key_heads=int(config.get("num_key_value_heads") or heads),
            head_size=int(config.get("head_dim") or config["hidden_size"] // heads),
            eps=float(config["rms_norm_eps"]),
            theta=float(rope.get("rope_theta") or config.get("rope_theta", 10000.0)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """Keys and values so far: arrays of shape (n_layers, n_rows, n_key_heads, room, head_size), and row lengths."""

    keys: Singles
    values: Singles
    lengths: Ints

    def take(self, rows: Ints, more: int) -> Cache:
        """Return some of the rows, with room for more positions."""
        longest = int(self.lengths[rows].max(initial=0))
        room = longest + max(more, _ROOM)
        keys, values = (
            np.zeros((kept.shape[0], len(rows), kept.shape[2], room, kept.shape[4]), dtype=np.float32)
            for kept in (self.keys, self.values)
        )
        keys[:, :, :, :longest] = self.keys[:, rows, :, :longest]
        values[:, :, :, :longest] = self.values[:, rows, :, :longest]
        return Cache(keys=keys, values=values, lengths=self.lengths[rows])


class Llama:
    """The forward pass of one folder of weights.

    Parameters
    ----------
    folder : Path
        With config.json and model.safetensors, as transformers writes them.
    """

    def __init__(self, folder: Path) -> None:
        self.shape = Shape.of(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        # A file in half precision is computed in single: that is the model.
        stored = load_file(folder / "model.safetensors")
        self.weights = {name: tensor.astype(np.float32) for name, tensor in stored.items()}

    def begin(self) -> Cache:
        """Return an empty cache with one row."""
        s = self.shape
        nothing = np.zeros((s.n_layers, 1, s.n_key_heads, 0, s.head_size), dtype=np.float32)
        return Cache(keys=nothing, values=nothing, lengths=np.zeros(1, dtype=np.int64))

    def hidden(self, cache: Cache, rows: Ints, tokens: Ints, lengths: Ints) -> tuple[Cache, Singles]:
        """Feed tokens; return the longer cache and the normalised hidden states, shape (n_rows, k, hidden_size)."""
        n_new = tokens.shape[1]
        grown = cache.take(rows, n_new)
        at = grown.lengths[:, None] + np.arange(n_new)
        cos, sin = self._angles(at)
        place = np.arange(grown.keys.shape[3])
        # A token sees what came before it in its row, and itself.
        hides = np.where(place[None, None, :] <= at[:, :, None], np.float32(0), _NOT_SEEN)[:, None]
        x = self.weights["model.embed_tokens.weight"][tokens]
        for layer in range(self.shape.n_layers):
            name = f"model.layers.{layer}."
            normal = self._norm(x, name + "input_layernorm.weight")
            x = x + self._attend(name, normal, grown, layer, at, (cos, sin), hides)
            normal = self._norm(x, name + "post_attention_layernorm.weight")
            x = x + self._mix(name, normal)
        longer = Cache(keys=grown.keys, values=grown.values, lengths=grown.lengths + lengths)
        return longer, self._norm(x, "model.norm.weight")

    def _attend(
        self,
        name: str,
        x: Singles,
        cache: Cache,
        layer: int,
        at: Ints,
        angles: tuple[Singles, Singles],
        hides: Singles,
    ) -> Singles:
        s, (n, k, _) = self.shape, x.shape
        queries = self._heads(x, name + "self_attn.q_proj.weight", s.n_heads)
        keys = _rotated(self._heads(x, name + "self_attn.k_proj.weight", s.n_key_heads), *angles)
        values = self._heads(x, name + "self_attn.v_proj.weight", s.n_key_heads)
        row = np.arange(n)[:, None]
        cache.keys[layer][row, :, at] = keys.transpose(0, 2, 1, 3)
        cache.values[layer][row, :, at] = values.transpose(0, 2, 1, 3)
        # Heads that share a key are rows of one product.
        shared = _rotated(queries, *angles).reshape(n, s.n_key_heads, -1, s.head_size)
        scores = shared @ cache.keys[layer].transpose(0, 1, 3, 2) * np.float32(s.head_size**-0.5)
        scores = scores.reshape(n, s.n_key_heads, -1, k, scores.shape[-1]) + hides[:, :, None]
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed = scores.reshape(n, s.n_key_heads, -1, scores.shape[-1]) @ cache.values[layer]
        mixed = mixed.reshape(n, s.n_heads, k, s.head_size).transpose(0, 2, 1, 3).reshape(n, k, -1)
        return mixed @ self.weights[name + "self_attn.o_proj.weight"].T

    def _mix(self, name: str, x: Singles) -> Singles:
        gate = x @ self.weights[name + "mlp.gate_proj.weight"].T
        up = x @ self.weights[name + "mlp.up_proj.weight"].T
        return (gate / (1 + np.exp(-gate)) * up) @ self.weights[name + "mlp.down_proj.weight"].T

    def _heads(self, x: Singles, name: str, n_heads: int) -> Singles:
        n, k, _ = x.shape
        return (x @ self.weights[name].T).reshape(n, k, n_heads, -1).transpose(0, 2, 1, 3)

    def _norm(self, x: Singles, name: str) -> Singles:
        scale = np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + np.float32(self.shape.eps))
        return x / scale * self.weights[name]

    def _angles(self, at: Ints) -> tuple[Singles, Singles]:
        half = np.arange(0, self.shape.head_size, 2, dtype=np.float64) / self.shape.head_size
        angle = at[:, None, :, None] * self.shape.theta**-half
        angle = np.concatenate([angle, angle], axis=-1)
        return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


class LlamaEngine:
    """A word-level language model on NumPy; see :class:`tiltz.lm.Engine`."""

    def __init__(self, folder: Path) -> None:
        self.words = Words.read(folder)
        self.llama = Llama(folder)
        tied = self.llama.weights["model.embed_tokens.weight"]
        self.head = self.llama.weights.get("lm_head.weight", tied)
        self.vocab_size, self.end_id = len(self.words.words), self.words.end_id

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """Return the tokens of a prompt, after those with which the tokenizer begins."""
        if not isinstance(prompt, str):
            raise InputError(f"the embedded models take prompts as text; found {type(prompt).__name__}.")
        return [*self.words.begin, *self.words.encode(prompt)]

    def encode(self, text: str) -> list[int]:
        """Return the words of a text as tokens."""
        return self.words.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Return tokens as words with spaces between."""
        return self.words.decode(ids)

    def begin(self) -> Cache:
        """Return an empty cache with one row."""
        return self.llama.begin()

    def extend(
        self, state: Cache, rows: Ints, tokens: Ints, lengths: Ints, *, last: bool = False
    ) -> tuple[Cache, Singles]:
        """Feed tokens; see :class:`tiltz.lm.Engine`."""
        cache, hidden = self.llama.hidden(state, rows, tokens, lengths)
        if last:
            hidden = hidden[np.arange(len(rows)), lengths - 1][:, None]
        return cache, hidden @ self.head.T


def file_hash(path: Path) -> str:
    """Return the first digits of the SHA-256 of a file, which name the weights."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _rotated(x: Singles, cos: Singles, sin: Singles) -> Singles:
    half = x.shape[-1] // 2
    turned = np.concatenate([-x[..., half:], x[..., :half]], axis=-1)
    return x * cos + turned * sin
