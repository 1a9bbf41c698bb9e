"""Pictures: asked for, drawn by somebody else, waited for without holding anything."""

import base64
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from core import drawing_claims
from core.db import transaction
from core.drawing_claims import DrawingClaim
from core.errors import StaleFence
from tests.api.conftest import settings_in
from tests.api.platform import Running, platform_in, png

PATH = "/v1/images/generations"
FOX = {"model": "tiny", "prompt": "a red fox"}


def draw(platform: Running, claim: DrawingClaim) -> None:
    """Draw as a serving worker would: one picture a seed."""
    files = []
    for index, seed in enumerate(claim.seeds):
        key = f"{claim.prefix}/{index}.png"
        data = png(seed)
        stored = platform.store.put(key, io.BytesIO(data), len(data))
        files.append({"path": f"{index}.png", "key": key, "sha256": stored.sha256, "size": stored.size})
    with transaction(platform.database) as session:
        drawing_claims.finish_drawing(session, claim, files=files, seconds=0.1)


@contextmanager
def serving(
    platform: Running, answer: Callable[[Running, DrawingClaim], None] = draw
) -> Iterator[list[DrawingClaim]]:
    """Serve drawings from another thread while the block runs."""
    over, served = threading.Event(), list[DrawingClaim]()

    def serve() -> None:
        while not over.wait(0.01):
            with transaction(platform.database) as session:
                claims = drawing_claims.claim_drawings(session, worker="drawer", lease_seconds=30)
            for claim in claims:
                served.append(claim)
                with suppress(StaleFence):  # somebody cancelled it meanwhile
                    answer(platform, claim)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield served
    finally:
        over.set()
        thread.join()


def test_pictures_come_back_in_base64_with_their_seeds(platform: Running) -> None:
    with serving(platform) as served:
        answer = platform.client.post(PATH, json=FOX | {"n": 2, "seed": 40, "size": "64x32", "steps": 5})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert [each["seed"] for each in told["data"]] == [40, 41]
    assert [base64.b64decode(each["b64_json"]) for each in told["data"]] == [png(40), png(41)]
    assert isinstance(told["created"], int)
    [claim] = served
    assert (claim.width, claim.height, claim.steps, claim.guidance_scale) == (64, 32, 5, 7.5)


def test_pictures_can_be_links_and_seeds_a_list(platform: Running) -> None:
    with serving(platform):
        told = platform.client.post(PATH, json=FOX | {"seeds": [9, 3], "response_format": "url"}).json()
    assert [each["seed"] for each in told["data"]] == [9, 3]
    assert told["data"][0]["b64_json"] is None
    assert platform.follow(told["data"][1]["url"]).content == png(3)


def test_a_seed_that_was_not_given_is_told(platform: Running) -> None:
    with serving(platform) as served:
        told = platform.client.post(PATH, json=FOX).json()
    assert told["data"][0]["seed"] == served[0].seeds[0]
    assert (served[0].width, served[0].height) == (None, None)


def test_a_repeated_request_is_drawn_once(platform: Running) -> None:
    key = {"Idempotency-Key": "fox"}
    with serving(platform) as served:
        first = platform.client.post(PATH, json=FOX, headers=key)
        again = platform.client.post(PATH, json=FOX, headers=key)
    assert again.json() == first.json()
    assert len(served) == 1


def test_while_the_first_is_drawn_the_same_key_is_409(platform: Running) -> None:
    key = {"Idempotency-Key": "fox"}
    answers: list[int] = []

    def slowly(running: Running, claim: DrawingClaim) -> None:
        answers.append(running.client.post(PATH, json=FOX, headers=key).status_code)
        draw(running, claim)

    with serving(platform, slowly):
        assert platform.client.post(PATH, json=FOX, headers=key).status_code == 200
    assert answers == [409]


def test_waiting_blocks_nobody(platform: Running) -> None:
    slowest: list[float] = []

    def late(running: Running, claim: DrawingClaim) -> None:
        for _ in range(5):
            began = time.monotonic()
            assert running.client.get("/v1/models").status_code == 200
            slowest.append(time.monotonic() - began)
        draw(running, claim)

    with serving(platform, late):
        assert platform.client.post(PATH, json=FOX).status_code == 200
    assert len(slowest) == 5
    assert platform.database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # QueuePool has it


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        ("user_error", 422, "user_error"),
        ("out_of_memory", 500, "out_of_memory"),
        ("internal", 500, "internal"),
        ("timeout", 503, "drawing_timeout"),
    ],
)
def test_a_failed_drawing_says_why_and_can_be_asked_again(
    platform: Running, reason: str, status: int, code: str
) -> None:
    def fail(running: Running, claim: DrawingClaim) -> None:
        with transaction(running.database) as session:
            drawing_claims.fail_drawing(session, claim, reason=reason, message="too big for this card")

    key = {"Idempotency-Key": "fox"}
    with serving(platform, fail):
        answer = platform.client.post(PATH, json=FOX, headers=key)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert "too big for this card" in answer.json()["error"]["message"]
    with serving(platform):
        assert platform.client.post(PATH, json=FOX, headers=key).status_code == 200


def test_a_drawing_that_nobody_draws_ends_the_wait(home: Path, urls: dict[str, str]) -> None:
    with platform_in(settings_in(home, drawing_timeout_seconds=0.2, **urls)) as running:
        answer = running.client.post(PATH, json=FOX, headers={"Idempotency-Key": "fox"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "drawing_timeout")
        assert answer.headers["x-should-retry"] == "false"
        assert running.counts()["idempotency"] == 0


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"model": "nothing"}, 404, "model"),
        ({"model": "ftckpt-nothing"}, 404, "model"),
        ({"n": 0}, 422, "n"),
        ({"n": 11}, 422, "n"),
        ({"size": "big"}, 422, "size"),
        ({"size": "65x64"}, 422, None),
        ({"size": "8000x64"}, 422, None),
        ({"seed": -1}, 422, "seed"),
        ({"seeds": []}, 422, "seeds"),
        ({"seeds": [-1]}, 422, None),
        ({"seeds": [1], "n": 2}, 422, None),
        ({"steps": 0}, 422, "steps"),
        ({"guidance_scale": 0.5}, 422, "guidance_scale"),
        ({"quality": "hd"}, 422, "quality"),
        ({"prompt": None}, 422, "prompt"),
        ({"response_format": "jpg"}, 422, "response_format"),
        ({"partial_images": 1}, 422, None),
        ({"stream": True, "partial_images": 4}, 422, "partial_images"),
        ({"timeout_seconds": 0}, 422, "timeout_seconds"),
        ({"request_key": ""}, 422, "request_key"),
    ],
)
def test_a_wrong_request_is_refused_and_nothing_is_drawn(
    platform: Running, change: dict[str, Any], status: int, param: str | None
) -> None:
    before = platform.counts()
    answer = platform.client.post(PATH, json=FOX | change)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text
    assert platform.counts() == before
