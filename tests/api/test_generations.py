"""Requests for pictures that are looked at again, watched, cancelled, refused, given up."""

import base64
import contextlib
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select

from core import drawing_claims
from core.db import transaction
from core.drawing_claims import DrawingClaim
from core.errors import StaleFence
from core.models import Drawing, DrawingState
from tests.api.conftest import settings_in
from tests.api.platform import Running, Served, platform_in, png
from tests.api.test_images import FOX, PATH, draw, serving

ASYNC = {"Prefer": "respond-async"}
SETTLED_SECONDS = 30.0


def until(told: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SETTLED_SECONDS
    while not told():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def show(platform: Running, drawing_id: str) -> dict[str, Any]:
    answer = platform.client.get(f"{PATH}/{drawing_id}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_who_does_not_wait_looks_again(platform: Running) -> None:
    asked = FOX | {"seeds": [9, 3], "size": "64x32", "negative_prompt": "blue"}
    answer = platform.client.post(PATH, json=asked, headers=ASYNC)
    told = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"{PATH}/{told['id']}"
    assert answer.headers["preference-applied"] == "respond-async"
    assert (told["object"], told["status"], told["data"]) == ("image.generation", "queued", None)
    other = platform.client.post(PATH, json=FOX, headers=ASYNC).json()
    assert [show(platform, each["id"])["queue_position"] for each in (told, other)] == [1, 2]
    with serving(platform):
        until(lambda: show(platform, other["id"])["status"] == "succeeded")
    done = show(platform, told["id"])
    known = ("model", "alias", "prompt", "negative_prompt", "seeds", "size", "steps", "guidance_scale")
    assert {name: done[name] for name in known} == {
        "model": "tiny",
        "alias": None,
        "prompt": "a red fox",
        "negative_prompt": "blue",
        "seeds": [9, 3],
        "size": "64x32",
        "steps": 20,
        "guidance_scale": 7.5,
    }
    assert done["queue_position"] is None
    assert [each["seed"] for each in done["data"]] == [9, 3]
    assert platform.follow(done["data"][0]["url"]).content == png(9)
    listed = platform.client.get(PATH, params={"limit": 1}).json()
    assert [each["id"] for each in listed["data"]] == [other["id"]]
    rest = platform.client.get(PATH, params={"after": listed["last_id"]}).json()
    assert [each["id"] for each in rest["data"]] == [told["id"]]


def test_a_repeated_request_that_does_not_wait_is_one(platform: Running) -> None:
    key = {"Idempotency-Key": "fox"}
    first, again = (platform.client.post(PATH, json=FOX, headers=ASYNC | key) for _ in range(2))
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotent-replayed"] == "true"
    assert platform.counts()["drawing"] == 1


@pytest.mark.parametrize(
    ("prefer", "status"),
    [("respond-async, wait=10", 202), ("wait=10; respond-async", 202), ("handling=strict", 200)],
)
def test_preferences_are_read(embedded: Running, prefer: str, status: int) -> None:
    with serving(embedded):
        assert embedded.client.post(PATH, json=FOX, headers={"Prefer": prefer}).status_code == status


def test_what_is_cancelled_is_not_drawn(platform: Running) -> None:
    waiting = platform.client.post(PATH, json=FOX, headers=ASYNC).json()["id"]
    cancelled = platform.client.post(f"{PATH}/{waiting}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    with serving(platform) as served:
        drawn = platform.client.post(PATH, json=FOX).json()["id"]
    assert [claim.drawing_id for claim in served] == [drawn]
    again = [platform.client.post(f"{PATH}/{each}/cancel").json()["status"] for each in (waiting, drawn)]
    assert again == ["cancelled", "succeeded"]
    assert platform.client.post(f"{PATH}/img-none/cancel").status_code == 404


def test_cancelling_tells_who_waits(platform: Running) -> None:
    def cancel(running: Running, claim: DrawingClaim) -> None:
        running.client.post(f"{PATH}/{claim.drawing_id}/cancel")

    with serving(platform, cancel):
        answer = platform.client.post(PATH, json=FOX)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "drawing_cancelled")


def test_too_many_that_wait_are_refused_and_told_when_to_come_again(home: Path, urls: dict[str, str]) -> None:
    with platform_in(settings_in(home, max_waiting_pictures=3, **urls)) as running:
        assert running.client.post(PATH, json=FOX | {"n": 3}, headers=ASYNC).status_code == 202
        before = running.counts()
        refused = running.client.post(PATH, json=FOX)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        assert refused.headers["retry-after"] == "60"
        assert "x-should-retry" not in refused.headers
        assert running.counts() == before
        with serving(running):
            until(lambda: running.client.get(PATH).json()["data"][0]["status"] == "succeeded")
        assert running.client.post(PATH, json=FOX | {"n": 3}, headers=ASYNC).status_code == 202
        # Three were drawn in the last minute: room for one is there in a third of one.
        assert running.client.post(PATH, json=FOX).headers["retry-after"] == "20"


def test_a_deadline_is_the_askers(platform: Running) -> None:
    before = time.monotonic()
    answer = platform.client.post(PATH, json=FOX | {"timeout_seconds": 0.2})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "drawing_timeout")
    assert time.monotonic() - before < 5
    told = platform.client.get(PATH).json()["data"][0]
    assert (told["status"], told["failure"]["reason"]) == ("failed", "timeout")


def events_of(text: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for block in text.strip().split("\n\n"):
        told = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        found.append((told["event"], json.loads(told["data"])))
    return found


def shown(platform: Running, claim: DrawingClaim) -> None:
    """Let each picture be seen on its way, then draw."""
    partials = []
    for index in range(claim.partial_images):
        for place, seed in enumerate(claim.seeds):
            key = f"{claim.prefix}/partial-{place}-{index}.png"
            platform.store.put(key, io.BytesIO(png(seed + 100)), None)
            partials.append({"picture": place, "index": index, "key": key})
        with transaction(platform.database) as session:
            drawing_claims.show_partials(session, claim, partials)
        time.sleep(0.1)
    draw(platform, claim)


def test_a_stream_shows_pictures_as_they_come_about(platform: Running) -> None:
    asked = FOX | {"stream": True, "partial_images": 2, "seeds": [5, 6]}
    with serving(platform, shown):
        answer = platform.client.post(PATH, json=asked)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = events_of(answer.text)
    partial, completed = "image_generation.partial_image", "image_generation.completed"
    assert [name for name, _ in events] == [partial] * 4 + [completed] * 2
    assert [(told["partial_image_index"], told["seed"]) for _, told in events[:4]] == [
        (0, 5),
        (0, 6),
        (1, 5),
        (1, 6),
    ]
    assert [base64.b64decode(told["b64_json"]) for _, told in events[3:]] == [png(106), png(5), png(6)]
    for name, told in events:
        assert (told["type"], told["size"], told["output_format"]) == (name, "16x16", "png")
        assert told["created_at"] > 0


@pytest.mark.parametrize(("reason", "code"), [("internal", "internal"), ("timeout", "drawing_timeout")])
def test_a_stream_tells_what_went_wrong(platform: Running, reason: str, code: str) -> None:
    def fail(running: Running, claim: DrawingClaim) -> None:
        with transaction(running.database) as session:
            drawing_claims.fail_drawing(session, claim, reason=reason, message="no card")

    with serving(platform, fail):
        [(name, told)] = events_of(platform.client.post(PATH, json=FOX | {"stream": True}).text)
    assert (name, told["error"]["code"]) == ("error", code)


def test_a_stream_ends_at_its_deadline(embedded: Running) -> None:
    answer = embedded.client.post(PATH, json=FOX | {"stream": True, "timeout_seconds": 0.2})
    [(name, told)] = events_of(answer.text)
    assert (name, told["error"]["code"]) == ("error", "drawing_timeout")


def test_a_stream_is_not_repeated(platform: Running) -> None:
    before = platform.counts()
    answer = platform.client.post(PATH, json=FOX | {"stream": True}, headers={"Idempotency-Key": "fox"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "Idempotency-Key")
    assert platform.counts() == before


def cancelled(platform: Running) -> int:
    with transaction(platform.database) as session:
        rows = select(func.count()).where(Drawing.state == DrawingState.cancelled)
        return session.scalar(rows) or 0


@pytest.mark.parametrize("more", [{}, {"stream": True}])
def test_who_hangs_up_frees_the_place(server: Served, more: dict[str, Any]) -> None:
    """A real connection that is closed while the drawing waits, and another while it is drawn."""
    before, already = server.counts()["idempotency"], cancelled(server)
    for drawn_meanwhile in (False, True):
        key = {"Idempotency-Key": "gone"} if not more else {}
        drawer = serving(server, lambda *_: None) if drawn_meanwhile else contextlib.nullcontext([])
        with contextlib.suppress(httpx2.ReadTimeout), drawer as claims:
            server.client.post(PATH, json=FOX | more, headers=key, timeout=1.0)
        already += 1
        until(lambda number=already: cancelled(server) == number)
        for claim in claims:
            with pytest.raises(StaleFence), transaction(server.database) as session:
                drawing_claims.fail_drawing(session, claim, reason="internal", message="late")
        until(lambda: server.counts()["idempotency"] == before)


def test_a_drawing_is_noticed_soon_after_it_is_finished(platform: Running) -> None:
    """From the commit of its end to the answer: the best of five, for a machine that is busy."""
    ended: list[float] = []

    def late(running: Running, claim: DrawingClaim) -> None:
        time.sleep(0.3)
        draw(running, claim)
        ended.append(time.monotonic())

    late_by = []
    with serving(platform, late):
        for _ in range(5):
            assert platform.client.post(PATH, json=FOX | {"response_format": "url"}).status_code == 200
            late_by.append(time.monotonic() - ended[-1])
    assert min(late_by) < 0.3
