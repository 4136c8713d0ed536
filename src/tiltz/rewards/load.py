"""From the name of a reward to the reward."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from tiltz.errors import InputError, TiltzError
from tiltz.rewards.classifier import load_classifier
from tiltz.rewards.embedded import EmbeddedReward
from tiltz.rewards.protocol import Reward, range_of

_KINDS = "tiny, package.module:function, path/to/file.py:function or hf:FOLDER_OR_ID"


def load(name: str, **options: Any) -> Reward:
    """Return a reward.

    Parameters
    ----------
    name : str
        ``tiny``, the embedded reward model; ``package.module:function``, where the module may lie in the current
        folder; ``path/to/file.py:function``; or ``hf:FOLDER_OR_ID``, a sequence classifier of transformers.
    **options
        Of a classifier: see :func:`load_classifier`.

    Returns
    -------
    Reward
        The function, or the classifier.

    Raises
    ------
    InputError
        If the name is none of these, or there is no such module, file, function or classifier.
    MissingExtraError
        If a classifier is wanted and torch or transformers is not installed.

    Examples
    --------
    >>> load("tiltz.rewards.protocol:no_such")
    Traceback (most recent call last):
    tiltz.errors.InputError: the module tiltz.rewards.protocol must have a function no_such; found name_of, ...
    """
    kind, _, rest = name.partition(":")
    if name == "tiny" and not options:
        return EmbeddedReward()
    if kind == "hf" and rest:
        return load_classifier(rest, **options)
    place, _, function = name.rpartition(":")
    if not place or not function.isidentifier():
        raise InputError(f"a reward is {_KINDS}; found {name!r:.100}.")
    if options:
        raise InputError(f"only hf: takes options; found {', '.join(options)} for {name!r:.100}.")
    if place.endswith(".py"):
        return _found(_from_file(Path(place)), f"the file {place}", function)
    if not all(part.isidentifier() for part in place.split(".")):
        raise InputError(f"a reward is {_KINDS}; found {name!r:.100}.")
    return _found(_from_module(place), f"the module {place}", function)


def _from_module(name: str) -> ModuleType:
    _reachable(Path.cwd())
    try:
        return importlib.import_module(name)
    except TiltzError:
        raise
    except Exception as reason:
        if (
            isinstance(reason, ModuleNotFoundError)
            and reason.name
            and f"{name}.".startswith(f"{reason.name}.")
        ):
            raise InputError(
                f"a reward is {_KINDS}; there is no module {reason.name!r}, neither installed nor in {Path.cwd()}."
            ) from reason
        raise _broken(f"the module {name}", reason) from reason


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"a reward is {_KINDS}; there is no file {path}.")
    _reachable(path.resolve().parent)
    name = str(path.resolve())  # no module that is imported by name has this one
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException as reason:
        del sys.modules[name]
        if isinstance(reason, TiltzError) or not isinstance(reason, Exception):
            raise
        raise _broken(f"the file {path}", reason) from reason
    return module


def _reachable(folder: Path) -> None:
    """Let modules of a folder be imported, now and when the function runs; installed ones come first."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    importlib.invalidate_caches()


def _broken(where: str, reason: Exception) -> InputError:
    return InputError(f"{where} must run when it is imported; it raised {type(reason).__name__}: {reason}.")


def _found(module: ModuleType, where: str, name: str) -> Reward:
    if not hasattr(module, name):
        own = [key for key, thing in vars(module).items() if _is_own_function(thing, module)]
        raise InputError(
            f"{where} must have a function {name}; found {', '.join(own[:10]) or 'no function in it'}."
        )
    reward: Reward = getattr(module, name)
    what = f"{name} in {where} must be a function of prompts and completions"
    if isinstance(reward, type):
        raise InputError(f"{what}; found the class {name}, not an object of it.")
    if not callable(reward):
        raise InputError(f"{what}; found {type(reward).__name__}.")
    range_of(reward)  # a bad one is refused now, not after all completions are drawn
    return reward


def _is_own_function(thing: Any, module: ModuleType) -> bool:
    return (
        inspect.isfunction(thing)
        and thing.__module__ == module.__name__
        and not thing.__name__.startswith("_")
    )
