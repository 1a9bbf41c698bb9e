"""A connection that sends no whole head is ended; one that waits for its answer is not."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from api.connection import ImpatientConnection

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"


class Quick(ImpatientConnection):
    """With less time than tests have."""

    head_seconds = 0.6


async def app(scope: Any, _receive: Any, send: Any) -> None:
    """Answer later than a head may come."""
    assert scope["type"] == "http"
    await asyncio.sleep(0.8)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]


async def served(talk: Talk) -> bytes:
    """Run a server, talk to it over a socket, and return what the talk does."""
    config = uvicorn.Config(app, http=Quick, log_config=None, lifespan="off", timeout_keep_alive=5)
    state = ServerState()
    listening = await asyncio.get_running_loop().create_server(
        lambda: Quick(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with listening:
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        try:
            return await asyncio.wait_for(talk(reader, writer), 30)
        finally:
            writer.close()


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> bytes:
    return await reader.read()


async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    for letter in GET * 10:
        writer.write(bytes([letter]))
        await asyncio.sleep(0.03)
        if reader.at_eof():
            break
    return await reader.read()


async def half_of_a_second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(GET + b"\r\n")
    first = await reader.readuntil(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 204")
    writer.write(GET)
    return await reader.read()


@pytest.mark.parametrize("talk", [silent, dripping, half_of_a_second])
def test_a_head_that_does_not_come_ends_the_connection(talk: Talk) -> None:
    with suppress(ConnectionResetError):  # the same, seen by a client that was still sending
        assert asyncio.run(served(talk)) == b""


async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    answers = b""
    for _ in range(2):
        writer.write(GET + b"\r\n")
        answers += await reader.readuntil(b"\r\n\r\n")
    return answers


def test_a_slow_answer_and_a_second_request_are_fine() -> None:
    assert asyncio.run(served(twice)).count(b"HTTP/1.1 204") == 2
