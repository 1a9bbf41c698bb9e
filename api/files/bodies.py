"""Bodies that flow to the store while they arrive, from a thread that may wait for a slow client."""

from collections.abc import AsyncIterator, Callable
from typing import BinaryIO, ParamSpec, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
from fastapi import Request

from core import blobs
from core.errors import Invalid
from core.storage.objects import Pulled, buffered

ParametersT = ParamSpec("ParametersT")
ResultT = TypeVar("ResultT")

# A slow upload holds a thread; these must not be the ones that answer everyone else.
_uploading = anyio.CapacityLimiter(32)


def chunks_of(request: Request) -> Callable[[], bytes]:
    """Return what gives a request's body piece by piece, in a thread, and ``b""`` at its end."""

    async def pieces() -> AsyncIterator[bytes]:
        async for piece in request.stream():
            if piece:
                yield piece

    body = pieces()

    async def next_piece() -> bytes:
        return await anext(body, b"")

    return lambda: anyio.from_thread.run(next_piece)


async def in_upload_thread(
    work: Callable[ParametersT, ResultT], *args: ParametersT.args, **kwargs: ParametersT.kwargs
) -> ResultT:
    """Run what reads a body and stores it in a thread of those that may be slow."""
    return await anyio.to_thread.run_sync(lambda: work(*args, **kwargs), limiter=_uploading)


def within_room(stream: BinaryIO, room: int | None) -> BinaryIO:
    """Return a stream that ends in TooMany when it holds more than a project may store."""
    if room is None:
        return stream
    left = room

    def piece() -> bytes:
        nonlocal left
        data = stream.read(1 << 18)
        left -= len(data)
        if left < 0:
            raise blobs.no_room(-left)
        return data

    return buffered(Pulled(piece))


def expected_digest(told: str | None, *, param: str) -> str | None:
    """Return a digest that a header or a form told, as it is written here; Invalid when it is none."""
    if told is None:
        return None
    digest = told.strip().lower()
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise Invalid(f"{param}: give the sha256 in 64 hexadecimal digits", param=param, code="bad_sha256")
    return digest
