"""A serving worker's threads with a child that only plays drawing: batches, deaths, cancellation, looks."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from core import drawings
from core.db import transaction
from core.keys import DEFAULT_PROJECT
from core.logs import configure_logs
from core.migrate import migrate
from core.models import Drawing, DrawingState
from core.settings import Settings
from tests.worker.processes import gone, within
from worker.child import Child, Ending
from worker.easel import Easel
from worker.serve import Studio
from worker.workplace import Workplace, open_workplace

# Speaks the engine's protocol. Notes each batch; dies of "die", and of "faint" when it is nearly done; of
# "wait" it answers when it is cancelled; never answers "sleep"; says of "wrong" that it is; shows a look at
# "watched"; of all else it draws a file.
ENGINE = """
import json, os, pathlib, sys, time
waiting = set()
def say(**told):
    print(json.dumps(told), flush=True)
for line in sys.stdin:
    told = json.loads(line)
    with open("told.jsonl", "a") as log:
        log.write(json.dumps(told | {"pid": os.getpid()}) + "\\n")
    if "cancel" in told:
        for each in told["cancel"]:
            say(id=each, cancelled=True)
        continue
    if any(each["prompt"] == "die" for each in told["drawings"]):
        os._exit(70)
    for each in told["drawings"]:
        out = pathlib.Path(each["out"])
        out.mkdir(parents=True)
        if each["prompt"] == "watched":
            (out / "partial-0-0.png").write_bytes(b"look")
            say(type="partial", id=each["id"], picture=0, index=0, file="partial-0-0.png")
    say(type="nearly", id=told["id"])
    if any(each["prompt"] == "faint" for each in told["drawings"]):
        os._exit(70)
    for each in told["drawings"]:
        if each["prompt"] in ("wait", "sleep"):
            continue
        if each["prompt"] == "wrong":
            say(id=each["id"], error="no such thing", reason="user_error")
            continue
        files = [f"{n}.png" for n in range(len(each["seeds"]))]
        for name in files:
            (pathlib.Path(each["out"]) / name).write_bytes(each["prompt"].encode())
        say(id=each["id"], files=files, seconds=0.1, together=len(told["drawings"]))
"""


PATIENCE = 120.0  # seconds: on a busy machine a process takes a while to start


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("serve")
    migrate(Settings(state=state))
    return state / "spindle.db"


@pytest.fixture
def place(tmp_path: Path, migrated: Path) -> Iterator[Workplace]:
    made = place_in(tmp_path, migrated)
    yield made
    made.lock.close()
    made.database.dispose()


def place_in(folder: Path, migrated: Path, **settings: Any) -> Workplace:
    (folder / "state").mkdir()
    (folder / "state" / "spindle.db").write_bytes(migrated.read_bytes())
    return open_workplace(Settings.model_validate({"state": folder / "state", **settings}), "serve")


@contextmanager
def working(place: Workplace, easel: type[Easel] = Easel) -> Iterator[Studio]:
    """Draw with the child that plays, until the block ends and all that was claimed is drawn."""
    studio = Studio(place, easel(place.folder, (sys.executable, "-c", ENGINE)))
    studio.start()
    try:
        yield studio
    finally:
        place.draining.set()
        studio.finish()


def ask(place: Workplace, *prompts: str, **more: Any) -> list[str]:
    request: dict[str, Any] = {
        "model": "starter",
        "negative_prompt": None,
        "seeds": [1],
        "width": None,
        "height": None,
        "steps": 1,
        "guidance_scale": 1.0,
    }
    with transaction(place.database) as session:
        return [
            drawings.request_drawing(
                session, project_id=DEFAULT_PROJECT, prompt=prompt, **(request | more)
            ).id
            for prompt in prompts
        ]


def row(place: Workplace, drawing_id: str) -> Drawing:
    with transaction(place.database) as session:
        return drawings.get_drawing(session, project_id=DEFAULT_PROJECT, drawing_id=drawing_id)


def states(place: Workplace, ids: list[str]) -> list[str]:
    return [row(place, each).state.value for each in ids]


def eventually(told: Callable[[], bool]) -> None:
    assert within(PATIENCE, told)


def told_to_child(place: Workplace) -> list[dict[str, Any]]:
    path = place.folder / "told.jsonl"
    whole, _, _ = path.read_text().rpartition("\n") if path.exists() else ("", "", "")  # it may be writing
    return [json.loads(line) for line in whole.splitlines()]


def sizes(place: Workplace) -> list[int]:
    return [len(told["drawings"]) for told in told_to_child(place) if "drawings" in told]


def test_what_waits_is_drawn_in_one_go_and_can_be_read(place: Workplace) -> None:
    ids = ask(place, "a", "b", seeds=[1, 2]) + ask(place, "c") + ask(place, "d", steps=2)
    with working(place):
        eventually(lambda: states(place, ids) == ["succeeded"] * 4)
    assert sizes(place) == [3, 1]
    result = row(place, ids[1]).result
    assert result is not None
    assert result["together"] == 3
    assert [file["path"] for file in result["files"]] == ["0.png", "1.png"]
    for file in result["files"]:
        with place.store.open(file["key"]) as stream:
            assert stream.read() == b"b"
    assert list((place.folder / "scratch").iterdir()) == []


def test_no_more_go_together_than_are_allowed(tmp_path: Path, migrated: Path) -> None:
    place = place_in(tmp_path, migrated, serve_batch_pictures=3)
    ids = ask(place, *"abcde", seeds=[1, 2])
    with working(place):
        eventually(lambda: states(place, ids) == ["succeeded"] * 5)
    assert sizes(place) == [1] * 5
    place.lock.close()
    place.database.dispose()


def test_what_kills_the_child_is_told_and_its_neighbours_are_drawn(place: Workplace) -> None:
    ids = ask(place, "a", "die", "b")
    with working(place):
        eventually(lambda: states(place, ids) == ["succeeded", "failed", "succeeded"])
        [after] = ask(place, "c")
        eventually(lambda: states(place, [after]) == ["succeeded"])
    failure = row(place, ids[1]).failure
    assert failure is not None
    assert failure["reason"] == "internal"
    assert sizes(place) == [3, 1, 1, 1, 1]


def test_what_is_wrong_is_told_alone(place: Workplace) -> None:
    ids = ask(place, "a", "wrong", "b")
    with working(place):
        eventually(lambda: states(place, ids) == ["succeeded", "failed", "succeeded"])
    assert row(place, ids[1]).failure == {"reason": "user_error", "message": "no such thing"}
    assert sizes(place) == [3]


def test_what_is_cancelled_leaves_the_child_and_the_next_is_drawn(place: Workplace) -> None:
    ids = ask(place, "wait", "a")
    with working(place):
        eventually(lambda: states(place, ids) == ["running", "succeeded"])
        with transaction(place.database) as session:
            drawings.cancel_drawing(session, project_id=DEFAULT_PROJECT, drawing_id=ids[0])
        eventually(lambda: {"cancel": [f"{ids[0]}-1"]}.items() <= told_to_child(place)[-1].items())
        ids += ask(place, "b")
        eventually(lambda: states(place, ids) == ["cancelled", "succeeded", "succeeded"])


def test_the_next_batch_is_prepared_while_one_is_nearly_done(place: Workplace) -> None:
    first = ask(place, "wait")
    with working(place):
        eventually(lambda: sizes(place) == [1])
        second = ask(place, "a")
        eventually(lambda: states(place, [*first, *second]) == ["running", "succeeded"])
        with transaction(place.database) as session:
            drawings.cancel_drawing(session, project_id=DEFAULT_PROJECT, drawing_id=first[0])


def allow(place: Workplace, **settings: float) -> None:
    """Change the settings of a place at which somebody works."""
    place.settings = place.settings.model_copy(update=settings)


def test_a_child_that_does_not_answer_is_replaced(place: Workplace) -> None:
    ids = ask(place, "sleep", background=True)
    with working(place):
        eventually(lambda: sizes(place) == [1])
        allow(place, drawing_timeout_seconds=1.0)
        eventually(lambda: states(place, ids) == ["failed"])
        allow(place, drawing_timeout_seconds=300.0)
        ids += ask(place, "a", background=True)
        eventually(lambda: states(place, ids) == ["failed", "succeeded"])
    assert row(place, ids[0]).failure == {"reason": "timeout", "message": "not drawn within 1 seconds"}
    assert len({told["pid"] for told in told_to_child(place)}) == 2


def test_what_is_asked_for_while_a_child_is_buried_is_drawn_once(place: Workplace) -> None:
    """Its batch was nearly done, so that another one is sent at once: to the next child."""
    ids = ask(place, "faint")

    class Slow(Easel):
        def bury(self, child: Child) -> Ending:
            ending = super().bury(child)
            if len(ids) == 1:
                ids.extend(ask(place, "a"))
                within(PATIENCE, lambda: sizes(place) == [1, 1])
            return ending

    with working(place, Slow):
        eventually(lambda: states(place, ids) == ["failed", "succeeded"])
    prompts = [told["drawings"][0]["prompt"] for told in told_to_child(place)]
    assert prompts == ["faint", "a", "faint"]


def test_a_lease_that_another_took_writes_nothing(place: Workplace) -> None:
    [drawing_id] = ask(place, "wait")
    with working(place):
        eventually(lambda: sizes(place) == [1])
        with transaction(place.database) as session:
            drawing = session.get_one(Drawing, drawing_id)
            drawing.fence, drawing.worker = 2, "another"
        eventually(lambda: "cancel" in told_to_child(place)[-1])
    assert (row(place, drawing_id).state, row(place, drawing_id).worker) == (DrawingState.running, "another")


def test_leases_are_renewed(tmp_path: Path, migrated: Path) -> None:
    place = place_in(tmp_path, migrated, lease_seconds=2.0)
    [drawing_id] = ask(place, "wait")
    with working(place):
        eventually(lambda: row(place, drawing_id).lease_expires_at is not None)
        first = row(place, drawing_id).lease_expires_at
        assert first is not None
        eventually(lambda: (row(place, drawing_id).lease_expires_at or first) > first)
        with transaction(place.database) as session:
            drawings.cancel_drawing(session, project_id=DEFAULT_PROJECT, drawing_id=drawing_id)
    place.lock.close()
    place.database.dispose()


def test_a_look_at_a_picture_on_its_way_is_a_small_object(place: Workplace) -> None:
    [drawing_id] = ask(place, "watched", partial_images=1)
    with working(place):
        eventually(lambda: states(place, [drawing_id]) == ["succeeded"])
    partials = row(place, drawing_id).partials
    key = f"drawings/{drawing_id}/1/partial-0-0.png"
    assert partials == [{"picture": 0, "index": 0, "key": key}]
    with place.store.open(key) as stream:
        assert stream.read() == b"look"


def test_a_child_that_nobody_needs_is_ended(place: Workplace) -> None:
    ids = ask(place, "a")
    with working(place) as studio:
        eventually(lambda: states(place, ids) == ["succeeded"])
        pid = told_to_child(place)[0]["pid"]
        studio.rest()
        assert not gone(pid)
        allow(place, serve_idle_seconds=0.1)

        def is_ended() -> bool:  # once nothing of the drawing is held any more
            studio.rest()
            return gone(pid)

        eventually(is_ended)
        ids += ask(place, "b")
        eventually(lambda: states(place, ids) == ["succeeded"] * 2)


def test_the_lines_of_a_drawing_carry_the_id_of_its_request(
    place: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    with structlog.contextvars.bound_contextvars(request_id="req-mine"):
        ids = ask(place, "a", "wrong")
    capsys.readouterr()
    configure_logs(place.settings)
    with working(place):
        eventually(lambda: states(place, ids) == ["succeeded", "failed"])
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    structlog.reset_defaults()
    for drawing_id, ended in zip(ids, ("drawing_finished", "drawing_failed"), strict=True):
        found = [line for line in lines if line.get("drawing") == drawing_id]
        assert {"drawing_claimed", ended} <= {line["event"] for line in found}
        assert {line["request_id"] for line in found} == {"req-mine"}
