"""A batch of completions, and rewards called with it: sync ones here, async ones together in an event loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

from tiltz.errors import InputError
from tiltz.rewards.protocol import Reward

_ENDS = (asyncio.CancelledError, SystemExit)  # of a reward, which must not end the run


@dataclass(frozen=True, slots=True)
class Batch:
    """Completions, the prompt of each, and further columns of their rows."""

    prompts: list[Any]
    completions: list[Any]
    columns: dict[str, list[Any]]

    @classmethod
    def of(
        cls, prompts: Iterable[Any], completions: Iterable[Any], columns: Mapping[str, Iterable[Any]]
    ) -> Batch:
        """Return a batch, or refuse columns of unequal lengths."""
        if taken := {"prompts", "completions"} & columns.keys():
            raise InputError(f"no further column may be named prompts or completions; found {taken.pop()!r}.")
        listed = {
            name: _listed(name, values)
            for name, values in {"prompts": prompts, "completions": completions, **columns}.items()
        }
        if len({len(values) for values in listed.values()}) > 1:
            found = ", ".join(f"{len(values)} {name}" for name, values in listed.items())
            raise InputError(f"every column must have one entry per completion; found {found}.")
        return cls(listed.pop("prompts"), listed.pop("completions"), listed)

    def __len__(self) -> int:
        return len(self.completions)

    def row(self, i: int) -> Batch:
        """Return one row as a batch."""
        columns = {name: [values[i]] for name, values in self.columns.items()}
        return Batch([self.prompts[i]], [self.completions[i]], columns)


def call_all(calls: Sequence[tuple[Reward, Batch]]) -> list[Any]:
    """Return what each reward gives for its batch, or the exception that it raised.

    Parameters
    ----------
    calls : sequence of (Reward, Batch)
        Async ones wait at the same time, in an event loop of their own: this may be called inside a running one.
    """
    found = [_called(reward, batch) for reward, batch in calls]
    waiting = [i for i, result in enumerate(found) if inspect.isawaitable(result)]
    if waiting:
        settled = _run(_together([found[i] for i in waiting]))
        for i, result in zip(waiting, settled, strict=True):
            found[i] = result
    return found


def _listed(name: str, values: Any) -> list[Any]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InputError(f"{name} must be a list with one entry per completion; found {values!r:.100}.")
    return list(values)


def _called(reward: Reward, batch: Batch) -> Any:
    columns = {
        name: list(values) for name, values in batch.columns.items()
    }  # its own lists, to change if it likes
    try:
        return reward(prompts=list(batch.prompts), completions=list(batch.completions), **columns)
    except (Exception, *_ENDS) as reason:
        return _as_error(reason)


def _as_error(reason: BaseException) -> Exception:
    """Return an exception that a row can have; those that would end the whole run become one."""
    if isinstance(reason, asyncio.CancelledError):
        return RuntimeError("the reward was cancelled")
    if isinstance(reason, SystemExit):
        return RuntimeError(f"the reward left the program (SystemExit: {reason.code})")
    assert isinstance(reason, Exception)
    return reason


def _run(work: Coroutine[Any, Any, list[Any]]) -> list[Any]:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as other:  # a thread has one running loop at most
        return other.submit(copy_context().run, asyncio.run, work).result()


async def _together(waiting: list[Awaitable[Any]]) -> list[Any]:
    return await asyncio.gather(*map(_settled, waiting))


async def _settled(awaitable: Awaitable[Any]) -> Any:
    try:
        return await awaitable
    except (Exception, *_ENDS) as reason:
        return _as_error(reason)
