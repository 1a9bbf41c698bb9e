"""HTTP to the API, for threads and for asyncio. What is asked: spindle.call; when again: spindle.retry."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import count
from typing import Any, TypeVar

import httpx

from spindle.call import Call, Pause, Plan, known, steps
from spindle.errors import NotRunningError, SpindleError
from spindle.retry import connection, problem, unreachable, wait_after

T = TypeVar("T")
ALIVE_SECONDS = 5.0


class Transport:
    """Sends requests, again where that is safe, and blocks meanwhile.

    Args:
        url: the address, without ``/v1``.
        key: the API key.
        attempts: how often a request is sent at most.
        timeout: seconds to wait for an answer to begin, or for more of it.
        sleep: waits that many seconds; given by tests.
    """

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        attempts: int = 5,
        timeout: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        assert attempts >= 1, "a request must be sent at least once"
        self.url = url
        self.attempts = attempts
        self.sleep = sleep
        self._http = httpx.Client(**connection(url, key, timeout))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def alive(self) -> bool:
        """Tell whether the API's process answers, at the first try."""
        try:
            return self._http.get("/livez", timeout=ALIVE_SECONDS).is_success
        except httpx.TransportError:
            return False

    def send(self, call: Call[T]) -> T:
        """Send a request and return what its answer says.

        Raises:
            ApiError: the API refused.
            NotRunningError: nothing answered in all attempts.
        """
        for attempt in count(1):
            result = self._once(call)
            wait = wait_after(result, attempt=attempt, attempts=self.attempts, url=self.url)
            if wait is None:
                break
            self.sleep(wait)
        assert isinstance(result, httpx.Response), "anything else raises or is sent again"
        return call.read(result.json() if result.content else None)

    def run(self, plan: Call[T] | Plan[T]) -> T:
        """Do the steps of a plan and return its result."""
        running = steps(plan)
        go_on: Callable[[], Call[Any] | Pause] = partial(running.send, None)
        try:
            while True:
                go_on = self._done(running, go_on())
        except StopIteration as end:
            result: T = end.value
            return result

    def _done(self, running: Plan[Any], step: Call[Any] | Pause) -> Callable[[], Call[Any] | Pause]:
        """Do one step; return what tells the plan how it went."""
        if isinstance(step, Pause):
            self.sleep(step.seconds)
            return partial(running.send, None)
        try:
            told = self.send(step)
        except SpindleError as error:
            return partial(running.throw, error)
        return partial(running.send, told)

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Send any request and return the JSON of its answer; raises as ``send``."""
        return self.send(Call(method, path, _as_it_is, params=params or {}, body=body, timeout=timeout))

    @contextmanager
    def stream(
        self,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Iterator[httpx.Response]:
        """Open a GET, or with a ``body`` a POST, whose answer is read as it comes; it is tried once.

        Raises:
            ApiError: the API refused.
            httpx.TransportError: the connection failed, at once or later.
        """
        with self._http.stream(**streamed(path, params, headers, body)) as answer:
            if not answer.is_success:
                answer.read()
                raise problem(answer)
            yield answer

    def fetch(self, link: str) -> bytes:
        """Return what lies at a signed link, which may lead elsewhere: the key is not sent along.

        Raises:
            ApiError: the link is not good, or no longer.
            NotRunningError: nothing answers there.
        """
        request = self._http.build_request("GET", link)
        request.headers.pop("Authorization", None)
        try:
            answer = self._http.send(request)
        except httpx.TransportError as error:
            raise NotRunningError(unreachable(link.partition("?")[0], error)) from error
        if not answer.is_success:
            raise problem(answer)
        return answer.content

    def _once(self, call: Call[Any]) -> httpx.Response | httpx.TransportError:
        try:
            return self._http.request(call.method, call.path, **call.arguments())
        except httpx.TransportError as error:
            return error


class AsyncTransport:
    """The same for asyncio. What a plan does between its steps, such as reading a file, runs in a thread."""

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        attempts: int = 5,
        timeout: float = 60.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        assert attempts >= 1, "a request must be sent at least once"
        self.url = url
        self.attempts = attempts
        self.sleep = sleep
        self._http = httpx.AsyncClient(**connection(url, key, timeout))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def alive(self) -> bool:
        """Tell whether the API's process answers, at the first try."""
        try:
            return (await self._http.get("/livez", timeout=ALIVE_SECONDS)).is_success
        except httpx.TransportError:
            return False

    async def send(self, call: Call[T]) -> T:
        """Send a request and return what its answer says; raises as ``Transport.send``."""
        for attempt in count(1):
            result = await self._once(call)
            wait = wait_after(result, attempt=attempt, attempts=self.attempts, url=self.url)
            if wait is None:
                break
            await self.sleep(wait)
        assert isinstance(result, httpx.Response), "anything else raises or is sent again"
        return call.read(result.json() if result.content else None)

    async def run(self, plan: Call[T] | Plan[T]) -> T:
        """Do the steps of a plan and return its result."""
        if isinstance(plan, Call):
            return await self.send(plan)
        ended: list[T] = []

        def advance(go_on: Callable[[], Call[Any] | Pause]) -> Call[Any] | Pause | None:
            try:
                return go_on()
            except StopIteration as end:  # which cannot leave a thread
                ended.append(end.value)
                return None

        step = await asyncio.to_thread(advance, partial(plan.send, None))
        while step is not None:
            step = await asyncio.to_thread(advance, await self._done(plan, step))
        return ended[0]

    async def _done(self, running: Plan[Any], step: Call[Any] | Pause) -> Callable[[], Call[Any] | Pause]:
        """Do one step; return what tells the plan how it went."""
        if isinstance(step, Pause):
            await self.sleep(step.seconds)
            return partial(running.send, None)
        try:
            told = await self.send(step)
        except SpindleError as error:
            return partial(running.throw, error)
        return partial(running.send, told)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Send any request and return the JSON of its answer; raises as ``Transport.send``."""
        return await self.send(Call(method, path, _as_it_is, params=params or {}, body=body, timeout=timeout))

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """Open what ``Transport.stream`` opens; it is tried once, and raises as that does."""
        async with self._http.stream(**streamed(path, params, headers, body)) as answer:
            if not answer.is_success:
                await answer.aread()
                raise problem(answer)
            yield answer

    async def fetch(self, link: str) -> bytes:
        """Return what lies at a signed link; raises as ``Transport.fetch``."""
        request = self._http.build_request("GET", link)
        request.headers.pop("Authorization", None)
        try:
            answer = await self._http.send(request)
        except httpx.TransportError as error:
            raise NotRunningError(unreachable(link.partition("?")[0], error)) from error
        if not answer.is_success:
            raise problem(answer)
        return answer.content

    async def _once(self, call: Call[Any]) -> httpx.Response | httpx.TransportError:
        try:
            return await self._http.request(call.method, call.path, **call.arguments())
        except httpx.TransportError as error:
            return error


def streamed(
    path: str,
    params: Mapping[str, Any] | None,
    headers: Mapping[str, str] | None,
    body: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return what httpx's ``stream`` takes."""
    told: dict[str, Any] = {"method": "GET" if body is None else "POST", "url": path, "headers": headers}
    told["params"] = known(params or {})
    return told if body is None else told | {"json": body}


def _as_it_is(answer: Any) -> Any:
    return answer
