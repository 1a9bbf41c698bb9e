"""A proxy with faults: HTTP requests to an object store, or the bytes of any TCP connection to a queue."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import Enum, auto
from types import TracebackType
from typing import Any, Self

CHUNK = 1 << 16
LOOPBACK = "127.0.0.1"
REFUSAL = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>"


class Act(Enum):
    """What is done to a request."""

    hold = auto()  # until it is let go
    strand = auto()  # the same, and then the connection ends
    refuse = auto()  # 503 without asking the server
    delay = auto()
    cut = auto()  # the connection ends


class Phase(Enum):
    """When it is done."""

    asked = auto()  # before anything of it reaches the server
    half = auto()  # when half of its body has
    answered = auto()  # when the server has done it and the client does not know


@dataclass
class Rule:
    """Acts on the next requests that fit, ``times`` of them; then it is over."""

    fits: Callable[[str, str], bool]
    """Of method and path; of a TCP connection, ``"TCP"`` and what was sent."""
    act: Act
    phase: Phase = Phase.asked
    times: int = 1
    seconds: float = 0.0
    path: str = ""
    met: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)


class Broken(Exception):  # noqa: N818
    """A rule ended the connection."""


class Proxy:
    """Listens on a port of its own, in a thread of its own, while the ``with`` block runs.

    Args:
        port: where to listen.
        upstream: the port of the server.
        http: whether to understand HTTP; each request then has a connection of its own to the server.
    """

    def __init__(self, port: int, upstream: int, *, http: bool) -> None:
        self.port = port
        self._upstream = upstream
        self._serve = self._http if http else self._tcp
        self._rules: list[Rule] = []
        self._guard = threading.Lock()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._wait(asyncio.start_server(self._safely, LOOPBACK, self.port, limit=1 << 20))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for rule in self._rules:
            rule.released.set()
        self._wait(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def add(self, rule: Rule) -> Rule:
        """Let a rule count from now on."""
        with self._guard:
            self._rules.append(rule)
        return rule

    def drop(self, rule: Rule) -> None:
        """Let go what a rule holds, and forget it."""
        rule.released.set()
        with self._guard:
            if rule in self._rules:
                self._rules.remove(rule)

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _end(self) -> None:
        assert self._server is not None
        self._server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _match(self, method: str, path: str) -> Rule | None:
        with self._guard:
            for rule in self._rules:
                if rule.times > 0 and rule.fits(method, path):
                    rule.times -= 1
                    rule.path = path
                    return rule
        return None

    async def _safely(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except (OSError, Broken, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()
        else:
            writer.close()

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        rule = self._match(method, path)
        if rule is not None and rule.phase is Phase.asked:
            if rule.act is Act.refuse:
                await reader.readexactly(length)
                rule.met.set()
                writer.write(_refusal())
                await writer.drain()
                return
            await _meet(rule)
        theirs, ours = await asyncio.open_connection(LOOPBACK, self._upstream)
        try:
            ours.write(_closing(head))
            await _forward(reader, ours, length // 2)
            if rule is not None and rule.phase is Phase.half:
                await _meet(rule)
            await _forward(reader, ours, length - length // 2)
            answer = await theirs.read()
            if rule is not None and rule.phase is Phase.answered:
                await _meet(rule)
            writer.write(answer)
            await writer.drain()
        finally:
            ours.transport.abort()

    async def _tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection(LOOPBACK, self._upstream)
        back = asyncio.ensure_future(_pour(theirs, writer))
        try:
            while data := await reader.read(CHUNK):
                rule = self._match("TCP", data.decode("latin-1"))
                if rule is not None:
                    await _meet(rule)
                ours.write(data)
                await ours.drain()
        finally:
            back.cancel()
            ours.transport.abort()


async def _meet(rule: Rule) -> None:
    rule.met.set()
    match rule.act:
        case Act.delay:
            await asyncio.sleep(rule.seconds)
        case Act.hold | Act.strand:
            while not rule.released.is_set():
                await asyncio.sleep(0.01)
            if rule.act is Act.strand:
                raise Broken
        case Act.cut | Act.refuse:
            raise Broken


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int) -> None:
    while size:
        data = await reader.read(min(CHUNK, size))
        if not data:
            raise Broken
        writer.write(data)
        await writer.drain()
        size -= len(data)


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    writer.close()


def _closing(head: bytes) -> bytes:
    """Return a request's head that asks for one answer and the connection's end; it is not signed."""
    first, _, rest = head.partition(b"\r\n")
    lines = [line for line in rest.split(b"\r\n") if line and not line.lower().startswith(b"connection:")]
    return b"\r\n".join([first, *lines, b"Connection: close", b"", b""])


def _refusal() -> bytes:
    told = f"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: {len(REFUSAL)}\r\n"
    return told.encode() + b"Connection: close\r\n\r\n" + REFUSAL
