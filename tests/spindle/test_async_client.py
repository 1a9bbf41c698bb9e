"""The client for asyncio asks what the other one asks: the same methods, retries, pages and streams."""

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from spindle import async_client, client, results
from spindle.async_client import AsyncSpindle
from spindle.binding import AsyncResource, Resource
from spindle.errors import ApiError, NotRunningError, WaitedTooLongError
from tests.spindle.scripted import Answer, Script, scripted
from tests.spindle.test_client import BUSY, FILE, JOB, sse

DONE = JOB | {"status": "succeeded"}
RESOURCES = ("Files", "Datasets", "Jobs", "Models", "Images", "Keys", "Webhooks")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPINDLE_URL", "SPINDLE_API_KEY", "SPINDLE_STATE"):
        monkeypatch.delenv(name, raising=False)


def ask(script: Script, work: Callable[[AsyncSpindle], Awaitable[Any]]) -> tuple[Any, list[float]]:
    """Do some work with a client that does not really sleep; return its result and the naps."""
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)

    async def main() -> Any:
        async with AsyncSpindle(url=script.url, key="sk-test") as opened:
            opened.transport.sleep = nap
            return await work(opened)

    return asyncio.run(main()), naps


@pytest.mark.parametrize("name", RESOURCES)
def test_both_clients_have_the_same_methods_with_the_same_arguments(name: str) -> None:
    blocking, awaiting = getattr(client, name), getattr(async_client, f"Async{name}")
    assert issubclass(blocking, Resource)
    assert issubclass(awaiting, AsyncResource)
    methods = {each for each in vars(blocking) if not each.startswith("_")}
    assert methods == {each for each in vars(awaiting) if not each.startswith("_")}
    with client.Spindle(url="http://127.0.0.1:9") as opened:
        mine, theirs = blocking(opened.transport), awaiting(AsyncSpindle(url="http://127.0.0.1:9").transport)
    for method in methods:
        one, other = getattr(mine, method), getattr(theirs, method)
        assert inspect.signature(one).parameters == inspect.signature(other).parameters, method
        assert one.__doc__ == other.__doc__, method


def test_a_busy_server_is_asked_again_with_the_same_idempotency_key() -> None:
    with scripted(BUSY, Answer(429, {}, {"Retry-After": "7"}), Answer(200, JOB)) as script:
        job, naps = ask(script, lambda client: client.jobs.create("starter", "ds-1", priority=5))
    assert (job.id, naps[1]) == ("ftjob-1", 7)
    assert len({asked.headers["idempotency-key"] for asked in script.asked}) == 1
    assert json.loads(script.asked[2].body)["priority"] == 5


def test_refusals_and_silence_are_the_same_errors() -> None:
    with (
        scripted(Answer(404, {"error": {"message": "there is no job"}})) as script,
        pytest.raises(ApiError, match="there is no job"),
    ):
        ask(script, lambda client: client.jobs.get("ftjob-x"))
    with pytest.raises(NotRunningError, match="spindle up"):
        ask(Script([], "http://127.0.0.1:9"), lambda client: client.project())


def test_lists_are_paged() -> None:
    def page(*ids: str, more: bool) -> Answer:
        data = [FILE | {"id": each} for each in ids]
        return Answer(200, {"data": data, "has_more": more, "last_id": ids[-1]})

    async def names(client: AsyncSpindle) -> list[str]:
        return [file.id async for file in client.files.list()]

    with scripted(page("f3", "f2", more=True), page("f1", more=False)) as script:
        found, _ = ask(script, names)
    assert found == ["f3", "f2", "f1"]
    assert script.asked[1].path == "/v1/files?after=f2&limit=100"


def test_a_job_is_waited_for_and_watched_over_a_broken_stream() -> None:
    cut = Answer(200, sse(("evt-1", "started")) + b'id: evt-2\ndata: {"id": "ev', cut=True)
    rest = Answer(200, sse(("evt-2", "done")))

    async def watch(client: AsyncSpindle) -> tuple[list[str], str]:
        job = await client.jobs.get("ftjob-1")
        messages = [event.message async for event in job.stream()]
        return messages, (await job.wait()).status

    running, done = Answer(200, JOB), Answer(200, DONE)
    with scripted(running, running, cut, done, rest, running, done) as script:
        (messages, status), naps = ask(script, watch)
    assert (messages, status) == (["started", "done"], "succeeded")
    assert script.asked[4].headers["last-event-id"] == "evt-1"
    assert naps[-1] == 2.0


def test_waiting_ends_in_time(tmp_path: Path) -> None:
    with scripted(Answer(200, JOB)) as script, pytest.raises(WaitedTooLongError, match="ftjob-1"):
        ask(script, lambda client: client.jobs.wait("ftjob-1", timeout=1.0, poll=2.0))
    with scripted(Answer(200, b"model")) as script:
        size, _ = ask(script, lambda client: client.models.download("m", tmp_path / "model.zip"))
    assert (size, (tmp_path / "model.zip").read_bytes()) == (5, b"model")


def test_a_file_goes_up_whole(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(b"PICTURES" * 5000)
    told: list[tuple[int, int]] = []
    with scripted(BUSY, Answer(200, FILE)) as script:
        file, _ = ask(
            script, lambda client: client.files.upload(archive, progress=lambda *both: told.append(both))
        )
    assert isinstance(file, results.File)
    assert [b"PICTURES" * 5000 in asked.body for asked in script.asked] == [True, True]
    assert told == [(40_000, 40_000)]
