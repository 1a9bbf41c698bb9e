"""Pictures by both clients and by commands: asked for without waiting, waited for, watched, cancelled."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from spindle.async_client import AsyncSpindle
from spindle.cli.main import app
from spindle.client import Spindle
from spindle.errors import ApiError, NotRunningError, SpindleError
from tests.spindle.scripted import Answer, Script, scripted

PNG = b"\x89PNG made up"
QUEUED: dict[str, Any] = {
    "id": "img-1",
    "object": "image.generation",
    "created": 1,
    "model": "starter",
    "status": "queued",
    "prompt": "a fox",
    "seeds": [7, 8],
    "queue_position": 3,
    "data": None,
}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPINDLE_URL", "SPINDLE_API_KEY", "SPINDLE_STATE"):
        monkeypatch.delenv(name, raising=False)


def done(url: str = "http://nowhere/") -> dict[str, Any]:
    data = [{"url": f"{url}{seed}.png?signature=x", "seed": seed} for seed in (7, 8)]
    return QUEUED | {"status": "succeeded", "queue_position": None, "data": data}


def sse(*told: tuple[str, dict[str, Any]]) -> bytes:
    lines = [": still here\n"]
    lines += [f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in told]
    return "".join(lines).encode()


def event(kind: str, png: bytes, seed: int, **more: Any) -> tuple[str, dict[str, Any]]:
    told = {"type": f"image_generation.{kind}", "b64_json": base64.b64encode(png).decode(), "seed": seed}
    return told["type"], told | {"size": "64x64"} | more  # type: ignore[return-value]  # it is a text


STREAM = sse(
    event("partial_image", b"look", 7, partial_image_index=0),
    event("completed", PNG, 7),
    event("completed", PNG, 8),
)
FAILED = sse(
    (
        "error",
        {"error": {"message": "img-1: no card", "type": "server_error", "code": "internal", "status": 500}},
    )
)


def client_of(script: Script) -> Spindle:
    client = Spindle(url=script.url, key="sk-test")
    client.transport.sleep = lambda _: None
    return client


def test_who_does_not_wait_says_so_and_waits_later() -> None:
    with (
        scripted(Answer(202, QUEUED), Answer(200, QUEUED), Answer(200, done())) as script,
        client_of(script) as client,
    ):
        asked = client.images.submit("starter", "a fox", seeds=[7, 8], deadline=60.0)
        found = client.images.wait(asked.id)
    assert (asked.status, asked.has_ended, asked.queue_position) == ("queued", False, 3)
    assert (found.status, found.has_ended) == ("succeeded", True)
    assert script.asked[0].headers["prefer"] == "respond-async"
    assert json.loads(script.asked[0].body) == {
        "model": "starter",
        "prompt": "a fox",
        "seeds": [7, 8],
        "timeout_seconds": 60.0,
    }


def test_links_are_followed_without_the_key() -> None:
    with (
        scripted(Answer(200, done()), Answer(200, PNG), Answer(200, PNG)) as script,
        client_of(script) as client,
    ):
        found = client.images.get("img-1")
        assert found.data is not None
        moved = found.model_copy(
            update={"data": tuple(each.model_copy(update={"url": f"{script.url}/x"}) for each in found.data)}
        )
        assert client.images.pictures(moved) == [PNG, PNG]
    assert "authorization" in script.asked[0].headers
    assert "authorization" not in script.asked[1].headers


def test_what_has_no_pictures_says_why() -> None:
    failed = QUEUED | {
        "status": "failed",
        "failure": {"reason": "timeout", "message": "it was not drawn in time"},
    }
    with (
        scripted(Answer(200, failed)) as script,
        client_of(script) as client,
        pytest.raises(SpindleError, match="img-1 is failed and has no pictures: it was not drawn in time"),
    ):
        client.images.pictures(client.images.get("img-1"))


def test_a_stream_yields_looks_and_pictures() -> None:
    with scripted(Answer(200, STREAM)) as script, client_of(script) as client:
        events = list(client.images.stream("starter", "a fox", partial_images=1, n=2, seed=7))
    assert [(each.seed, each.is_final, each.partial_image_index) for each in events] == [
        (7, False, 0),
        (7, True, None),
        (8, True, None),
    ]
    assert [each.png for each in events] == [b"look", PNG, PNG]
    [asked] = script.asked
    assert (asked.method, "idempotency-key" in asked.headers) == ("POST", False)
    told = {"model": "starter", "prompt": "a fox", "stream": True, "partial_images": 1, "n": 2, "seed": 7}
    assert json.loads(asked.body) == told


def test_a_stream_that_fails_or_breaks_raises() -> None:
    with (
        scripted(Answer(200, FAILED)) as script,
        client_of(script) as client,
        pytest.raises(ApiError) as failed,
    ):
        list(client.images.stream("starter", "a fox"))
    assert (failed.value.status, failed.value.code, str(failed.value)) == (500, "internal", "img-1: no card")
    with (
        scripted(Answer(200, STREAM[:-40], cut=True)) as script,
        client_of(script) as client,
        pytest.raises(NotRunningError, match="broke off"),
    ):
        list(client.images.stream("starter", "a fox"))


def test_the_client_for_asyncio_does_the_same() -> None:
    async def work(url: str) -> tuple[list[bytes], str, str]:
        async with AsyncSpindle(url=url, key="sk-test") as client:
            seen = [each.png async for each in client.images.stream("starter", "a fox", partial_images=1)]
            asked = await client.images.submit("starter", "a fox")
            gone = await client.images.cancel(asked.id)
            return seen, asked.status, gone.status

    cancelled = QUEUED | {"status": "cancelled"}
    with scripted(Answer(200, STREAM), Answer(202, QUEUED), Answer(200, cancelled)) as script:
        assert asyncio.run(work(script.url)) == ([b"look", PNG, PNG], "queued", "cancelled")
    assert script.asked[2].path == "/v1/images/generations/img-1/cancel"


def run(script: Script, *arguments: str) -> str:
    told = {"SPINDLE_URL": script.url, "SPINDLE_API_KEY": "sk-test"}
    result = CliRunner().invoke(app, list(arguments), env=told)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_commands_ask_look_and_cancel() -> None:
    with scripted(Answer(202, QUEUED)) as script:
        assert run(script, "generate", "starter", "a fox", "-n", "2", "--async").strip() == "img-1"
    with scripted(Answer(200, QUEUED)) as script:
        shown = run(script, "images", "show", "img-1")
    assert "queued" in shown
    assert "position" in shown
    with scripted(Answer(200, {"data": [QUEUED], "has_more": False, "last_id": "img-1"})) as script:
        assert "img-1" in run(script, "images", "list")
    with scripted(Answer(200, QUEUED | {"status": "cancelled"})) as script:
        assert run(script, "images", "cancel", "img-1").strip() == "img-1 cancelled"


def test_a_command_waits_and_writes_the_pictures(tmp_path: Path) -> None:
    answers = [Answer(200, QUEUED), Answer(200, PNG), Answer(200, PNG)]
    with scripted(*answers) as script:
        answers_url = f"{script.url}/v1/objects/"
        script.answers[0] = Answer(200, done(answers_url))
        run(script, "images", "wait", "img-1", "-o", str(tmp_path / "fox.png"))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["fox-1.png", "fox-2.png"]
    assert (tmp_path / "fox-2.png").read_bytes() == PNG
