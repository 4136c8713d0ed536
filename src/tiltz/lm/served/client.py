"""Requests to a server: in parallel, repeated when they fail for a while, and given up with a reason."""

from __future__ import annotations

import asyncio
import email.utils
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tiltz.errors import InputError, ServerError

_PASSING = frozenset(
    {408, 409, 425, 429, 500, 502, 503, 504}
)  # of statuses, what may be otherwise a little later
_LONGEST_WAIT = 60.0  # seconds, also where a server asks for more


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a server is reached.

    Attributes
    ----------
    url : str
        Without ``/v1``.
    api_key : str, optional
        Sent with every request, and shown nowhere.
    concurrency : int
        Requests at once.
    timeout : float
        Seconds for one answer.
    retries : int
        How often a request is repeated that failed in a way that may pass.
    backoff : float
        Seconds before the first repetition, about; twice as many before each further one.
    """

    url: str
    api_key: str | None = field(default=None, repr=False)
    concurrency: int = 32
    timeout: float = 600.0
    retries: int = 6
    backoff: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what cannot be used."""
        if not self.url.startswith(("http://", "https://")):
            raise InputError(
                f"the address of a server must begin with http:// or https://; found {self.url!r:.100}."
            )
        wanted = {
            "concurrency": self.concurrency >= 1,
            "timeout": self.timeout > 0,
            "retries": self.retries >= 0,
        }
        for name, holds in wanted.items():
            if not holds:
                raise InputError(f"{name} must be {'at least 0' if name == 'retries' else 'above 0'}.")


class Client:
    """Requests and answers in JSON; made by :func:`connected`."""

    def __init__(self, http: Any, access: Access) -> None:
        self.http, self.access = http, access
        self.free = asyncio.Semaphore(access.concurrency)

    def limit(self, at_once: int) -> None:
        """Ask for no more at once than a server works on; what waits there in a connection may block others."""
        self.free = asyncio.Semaphore(min(at_once, self.access.concurrency))

    async def get(self, path: str) -> Any:
        """Return what the server answers to a GET."""
        return await self._ask("GET", path, None)

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """Return what the server answers to a POST."""
        return await self._ask("POST", path, body)

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        """Ask until there is a whole answer, a refusal, or no repetition left."""
        answer = await self._once(method, path, body)
        for attempt in range(self.access.retries):
            if isinstance(answer, _Found) or not answer.passing:
                break
            own = self.access.backoff * 2**attempt * random.uniform(0.5, 1.0)
            await asyncio.sleep(min(answer.wait or own, _LONGEST_WAIT))
            answer = await self._once(method, path, body)
        if isinstance(answer, _Found):
            return answer.content
        tries = f"{self.access.retries + 1} {'tries' if self.access.retries else 'try'}"
        raise ServerError(
            f"the server must answer {method} {path}; after {tries} its last answer was: {answer.reason}."
            if answer.passing
            else f"the server refused {method} {path}: {answer.reason}.",
            status=answer.status,
        )

    async def _once(self, method: str, path: str, body: dict[str, Any] | None) -> _Found | _Failed:
        import httpx2

        try:
            # Those of the library begin anew with every byte.
            async with self.free, asyncio.timeout(self.access.timeout):
                response = await self.http.request(method, path, json=body)
        except (TimeoutError, httpx2.TimeoutException):
            return _Failed(reason=f"nothing within {self.access.timeout:g} s")
        except httpx2.RequestError as failure:
            return _Failed(reason=self._shown(f"{type(failure).__name__}: {failure}"))
        if response.status_code != 200:
            said = f"status {response.status_code}, {_message(response.text)}"
            return _Failed(
                reason=self._shown(said),
                status=response.status_code,
                passing=response.status_code in _PASSING,
                wait=seconds_asked(response.headers.get("Retry-After")),
            )
        try:
            return _Found(content=response.json())
        except ValueError:
            return _Failed(reason=self._shown(f"no whole JSON, {response.text[:80]!r}"), status=200)

    def _shown(self, text: str) -> str:
        """Return a text without the key, which some servers repeat."""
        return text.replace(self.access.api_key, "***") if self.access.api_key else text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    content: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failed:
    reason: str
    status: int | None = None
    passing: bool = True
    wait: float | None = None


@asynccontextmanager
async def connected(access: Access) -> AsyncIterator[Client]:
    """Yield a client whose connections are closed at the end."""
    import httpx2

    headers = {"Authorization": f"Bearer {access.api_key}"} if access.api_key else {}
    limits = httpx2.Limits(max_connections=access.concurrency, max_keepalive_connections=access.concurrency)
    timeout = httpx2.Timeout(access.timeout, connect=min(access.timeout, 10.0), pool=None)
    # Certificates take a tenth of a second to load, and every call connects anew.
    verify = _certificates() if access.url.startswith("https:") else False
    async with httpx2.AsyncClient(
        base_url=access.url, headers=headers, limits=limits, timeout=timeout, verify=verify
    ) as http:
        yield Client(http, access)


@cache
def _certificates() -> Any:
    import httpx2

    return httpx2.create_ssl_context()


def finished(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine to its end, also where an event loop is running already, as in notebooks."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()


async def every(jobs: list[Any], work: Callable[[Any], Coroutine[Any, Any, Any]], at_once: int) -> list[Any]:
    """Return what becomes of each job; the first failure ends the others."""
    found: list[Any] = [None] * len(jobs)
    left = iter(enumerate(jobs))

    async def worker() -> None:
        for place, job in left:
            found[place] = await work(job)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, len(jobs))):
                group.create_task(worker())
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return found


def seconds_asked(retry_after: str | None) -> float | None:
    """Return how long a server asks to wait: a number of seconds or a date."""
    if retry_after is None:
        return None
    with suppress(ValueError):
        return max(float(retry_after), 0.0)
    with suppress(ValueError):
        return max(email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time(), 0.0)
    return None


def _message(text: str) -> str:
    """Return what a refusal says, in whichever of the usual places."""
    with suppress(ValueError, AttributeError, TypeError):
        found = json.loads(text)
        error = found.get("error", found)
        said = error if isinstance(error, str) else error.get("message") or error.get("detail")
        if said:
            return repr(str(said)[:300])
    return repr(text[:120])
