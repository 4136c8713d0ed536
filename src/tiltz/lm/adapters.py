"""One set of base weights under several models: adapters are switched on and off around every call."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

from tiltz.errors import FileError, InputError, MissingExtraError

_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_SETTINGS = "adapter_config.json"


class Weights:
    """A model of transformers that several models of tiltz share, each with its own adapter or none.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        The base; what is added to it is not part of another model's distribution.

    Notes
    -----
    One call at a time has the weights: the calls of models that share them take turns, also from several threads.
    """

    def __init__(self, model: Any) -> None:
        self.model = model.eval()
        self.adapters: dict[str, str] = {}  # identity to name
        self._lock = RLock()
        self._active: str | None = None

    def add(self, folder: str) -> str:
        """Load an adapter unless it is there; return its identity."""
        try:
            import peft  # noqa: F401
        except ImportError as reason:
            raise MissingExtraError(reason.name or "peft", "hf", "an adapter") from reason
        identity = identity_of(folder)
        with self._lock:
            if identity not in self.adapters:
                self._load(folder, f"adapter_{identity}")
                self.adapters[identity] = f"adapter_{identity}"
        return identity

    @contextmanager
    def under(self, adapter: str | None) -> Iterator[Any]:
        """Lend the model with one adapter switched on, or with none."""
        with self._lock:
            if self._active != adapter:
                self._switch(adapter)
            yield self.model

    def _switch(self, adapter: str | None) -> None:
        for layer in self._layers():
            layer.enable_adapters(adapter is not None)
            if adapter is not None:
                name = self.adapters[adapter]
                layer.set_adapter([name] if name in layer.lora_A else [])
        self._active = adapter

    def _load(self, folder: str, name: str) -> None:
        from peft import PeftConfig, inject_adapter_in_model, set_peft_model_state_dict
        from peft.utils import load_peft_weights

        settings = PeftConfig.from_pretrained(folder)
        settings.inference_mode = True
        stored = load_peft_weights(folder, device="cpu")
        stored = {key.removeprefix("base_model.model."): value for key, value in stored.items()}
        self._active = "none known"
        if hasattr(self.model, "peft_config"):  # of the adapter before; peft warns of a second one
            del self.model.peft_config
        try:
            inject_adapter_in_model(settings, self.model, name)
            found = set_peft_model_state_dict(self.model, stored, adapter_name=name)
        except (ValueError, RuntimeError) as reason:
            self._remove(name)
            raise _does_not_fit(folder, str(reason)) from reason
        wrong = [*found.unexpected_keys, *(key for key in found.missing_keys if name in key)]
        if wrong:
            self._remove(name)
            raise _does_not_fit(folder, f"{len(wrong)} weights have no counterpart, the first is {wrong[0]}")
        # An adapter stored in half precision is computed like its base.
        for key, value in self.model.named_parameters():
            if f".{name}." in key:
                value.data = value.data.to(dtype=self.model.dtype, device=self.model.device)
                value.requires_grad_(False)
        self.model.eval()

    def _remove(self, name: str) -> None:
        """Take away an adapter that could not be loaded."""
        for layer in self._layers():
            layer.enable_adapters(False)
            layer.set_adapter([])
            if name in layer.lora_A:
                layer.delete_adapter(name)

    def _layers(self) -> list[Any]:
        from peft.tuners.lora import LoraLayer

        return [module for module in self.model.modules() if isinstance(module, LoraLayer)]


def identity_of(folder: str) -> str:
    """Return the first digits of the SHA-256 of an adapter's settings and weights.

    Parameters
    ----------
    folder : str
        Folder, or identifier of the hub.

    Raises
    ------
    FileError
        If there is no adapter.
    InputError
        If it is not a LoRA adapter alone.
    """
    settings_of(folder)
    found = [path for path in (_file_of(folder, name) for name in (_SETTINGS, *_FILES)) if path is not None]
    if len(found) < 2:
        raise _nothing_there(folder)
    return hashed(found[:2])


def settings_of(folder: str) -> dict[str, Any]:
    """Return the settings of a LoRA adapter, or refuse another kind."""
    path = _file_of(folder, _SETTINGS)
    if path is None:
        raise _nothing_there(folder)
    settings = json.loads(path.read_text(encoding="utf-8"))
    plain = {"peft_type": "LORA", "bias": "none", "modules_to_save": None, "trainable_token_indices": None}
    other = [key for key, value in plain.items() if (settings.get(key) or value) != value]
    if other:
        raise InputError(
            "an adapter must be low-rank (LoRA) and leave everything else of its base as it is, so that it can be "
            f"switched off; the one in {folder!r} has {other[0]} = {settings[other[0]]!r}. Merge it into the base and "
            "load that as a model of its own."
        )
    return settings


def hashed(files: list[Path]) -> str:
    """Return the first digits of the SHA-256 of files, one after the other."""
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()[:16]


def _file_of(folder: str, name: str) -> Path | None:
    if Path(folder).is_dir():
        path = Path(folder) / name
        return path if path.is_file() else None
    from transformers.utils.hub import cached_file

    try:
        found = cached_file(folder, name, _raise_exceptions_for_missing_entries=False)
    except OSError:
        return None
    return None if found is None else Path(found)


def _does_not_fit(folder: str, reason: str) -> InputError:
    return InputError(
        f"an adapter must have been made for the base that it is put on; the one in {folder!r} does not fit: "
        f"{' '.join(reason.split()):.300}. Load it with its own base (base_model_name_or_path in {_SETTINGS})."
    )


def _nothing_there(folder: str) -> FileError:
    return FileError(
        f"an adapter's folder must hold {_SETTINGS} and {' or '.join(_FILES)}, as peft writes them; {folder!r} has no "
        "such files."
    )
