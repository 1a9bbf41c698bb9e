"""Drawings on both databases: asked for, claimed once, fenced, tried again, given up."""

import dataclasses
import io
import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from core import drawing_claims, drawings
from core.clock import utcnow
from core.db import Database, transaction
from core.drawing_claims import DrawingClaim
from core.errors import NotFound, StaleFence
from core.models import Drawing, DrawingState, Outbox, Reason
from core.queue import DRAW
from core.settings import Settings
from core.sources import Source
from core.storage.store import store_for
from tests.core.runs.making import PROJECT, ground

LEASE = 30.0
NOW = utcnow()
FILES = [{"path": f"{n}.png", "key": f"k/{n}", "sha256": f"{n}" * 64, "size": n + 1} for n in range(2)]


@pytest.fixture
def base(database: Database) -> Database:
    """A database with a project and a base model."""
    with transaction(database) as session:
        ground(session)
    return database


def ask(database: Database, **values: Any) -> str:
    request: dict[str, Any] = {
        "model": "starter",
        "prompt": "a red bird",
        "negative_prompt": None,
        "seeds": [7, 8],
        "width": None,
        "height": 64,
        "steps": 5,
        "guidance_scale": 2.5,
    }
    with transaction(database) as session:
        return drawings.request_drawing(session, project_id=PROJECT, **(request | values)).id


def claim(database: Database, *, seconds: float = 0.0, worker: str = "serve-1") -> DrawingClaim | None:
    with transaction(database) as session:
        found = drawing_claims.claim_drawings(
            session, worker=worker, lease_seconds=LEASE, now=NOW + timedelta(seconds=seconds)
        )
    return found[0] if found else None


def claimed(database: Database, *, seconds: float = 0.0, worker: str = "serve-1") -> DrawingClaim:
    found = claim(database, seconds=seconds, worker=worker)
    assert found is not None
    return found


def row(database: Database, drawing_id: str) -> Drawing:
    with transaction(database) as session:
        return drawings.get_drawing(session, project_id=PROJECT, drawing_id=drawing_id)


def test_a_request_is_a_row_and_a_doorbell(base: Database) -> None:
    drawing_id = ask(base)
    with transaction(base) as session:
        assert session.scalars(select(Outbox.payload).where(Outbox.task == DRAW)).all() == [drawing_id]
        assert drawing_claims.anything_pending(session)
    assert row(base, drawing_id).state is DrawingState.pending


def test_a_claim_has_all_that_is_drawn_with(base: Database) -> None:
    drawing_id = ask(base)
    assert claimed(base) == DrawingClaim(
        drawing_id=drawing_id,
        project_id=PROJECT,
        model_id="starter",
        fence=1,
        worker="serve-1",
        lease_seconds=LEASE,
        prompt="a red bird",
        negative_prompt=None,
        seeds=(7, 8),
        width=None,
        height=64,
        steps=5,
        guidance_scale=2.5,
        base=Source(folder="/models/starter"),
        weights=None,
    )
    assert claim(base) is None
    with transaction(base) as session:
        assert not drawing_claims.anything_pending(session, now=NOW)


def test_an_unknown_model_asks_for_nothing(base: Database) -> None:
    with pytest.raises(NotFound, match="there is no model other; there are: starter"):
        ask(base, model="other")
    with transaction(base) as session:
        assert session.scalar(select(func.count(Drawing.id))) == 0
        assert session.scalar(select(func.count(Outbox.id))) == 0


def test_another_projects_drawing_does_not_exist(base: Database) -> None:
    drawing_id = ask(base)
    with transaction(base) as session, pytest.raises(NotFound):
        drawings.get_drawing(session, project_id="proj-default", drawing_id=drawing_id)


def test_the_oldest_goes_first(base: Database) -> None:
    ids = [ask(base) for _ in range(3)]
    assert [claimed(base).drawing_id for _ in ids] == ids


def test_a_finished_drawing_tells_where_its_pictures_are(base: Database) -> None:
    drawing_id = ask(base)
    held = claimed(base)
    with transaction(base) as session:
        drawing_claims.finish_drawing(session, held, files=FILES, seconds=1.5)
    drawing = row(base, drawing_id)
    assert drawing.state is DrawingState.succeeded
    assert drawing.result == {"files": FILES, "seconds": 1.5, "together": 1}
    assert drawing.finished_at is not None
    assert claim(base, seconds=1000) is None


def test_claims_at_the_same_moment_never_double(base: Database) -> None:
    ids = {ask(base) for _ in range(12)}
    taken: list[str] = []
    start = threading.Barrier(4)

    def work(number: int) -> None:
        start.wait()
        while (found := claim(base, worker=f"serve-{number}")) is not None:
            taken.append(found.drawing_id)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(ids)


def test_a_lease_that_expires_lets_another_draw_and_refuses_the_first(base: Database) -> None:
    drawing_id = ask(base)
    first = claimed(base)
    assert claim(base, seconds=LEASE - 1) is None
    second = claimed(base, seconds=LEASE + 1, worker="serve-2")
    assert (second.drawing_id, second.fence, first.fence) == (drawing_id, 2, 1)
    before = row(base, drawing_id)
    with pytest.raises(StaleFence), transaction(base) as session:
        drawing_claims.finish_drawing(session, first, files=FILES, seconds=1.0)
    with pytest.raises(StaleFence), transaction(base) as session:
        drawing_claims.fail_drawing(session, first, reason="internal", message="late")
    with transaction(base) as session:
        assert drawing_claims.renew_drawings(session, [first], now=NOW) == set()
    after = row(base, drawing_id)
    assert (after.state, after.result, after.failure) == (DrawingState.running, None, None)
    assert after.lease_expires_at == before.lease_expires_at


def test_a_renewed_lease_holds(base: Database) -> None:
    ask(base)
    held = claimed(base)
    with transaction(base) as session:
        assert drawing_claims.renew_drawings(session, [held], now=NOW + timedelta(seconds=20)) == {
            held.drawing_id
        }
    assert claim(base, seconds=LEASE + 1) is None
    assert claim(base, seconds=LEASE + 21) is not None


def test_what_a_dead_worker_held_is_given_back(base: Database) -> None:
    ids = [ask(base), ask(base)]
    mine, other = claimed(base), claimed(base, worker="serve-2")
    with transaction(base) as session:
        assert drawing_claims.give_back(session, worker="serve-1") == 1
    again = claimed(base)
    assert (again.drawing_id, again.fence) == (ids[0], 2)
    with pytest.raises(StaleFence), transaction(base) as session:
        drawing_claims.finish_drawing(session, mine, files=FILES, seconds=1.0)
    with transaction(base) as session:
        drawing_claims.finish_drawing(session, other, files=FILES, seconds=1.0)


def test_a_lost_worker_is_replaced_so_many_times(base: Database, settings: Settings) -> None:
    drawing_id = ask(base)
    for attempt in range(1, settings.max_attempts + 1):
        assert row(base, drawing_id).state is DrawingState.pending
        held = claimed(base)
        assert held.fence == attempt
        with transaction(base) as session:
            drawing_claims.fail_drawing(session, held, reason=Reason.worker_lost, message="killed")
    drawing = row(base, drawing_id)
    assert drawing.state is DrawingState.failed
    assert drawing.failure == {"reason": "worker_lost", "message": "killed"}


def test_a_worker_killer_is_given_up_also_when_nobody_tells(base: Database, settings: Settings) -> None:
    drawing_id = ask(base)
    for attempt in range(settings.max_attempts):
        assert claim(base, seconds=attempt * (LEASE + 1)) is not None
    assert claim(base, seconds=settings.max_attempts * (LEASE + 1)) is None
    drawing = row(base, drawing_id)
    assert drawing.state is DrawingState.failed
    assert drawing.failure == {"reason": "worker_lost", "message": "the workers that drew it were lost"}


@pytest.mark.parametrize("reason", [Reason.user_error, Reason.out_of_memory, Reason.internal, Reason.timeout])
def test_other_failures_are_told_at_once(base: Database, reason: Reason) -> None:
    drawing_id = ask(base)
    held = claimed(base)
    with transaction(base) as session:
        drawing_claims.fail_drawing(session, held, reason=reason, message="x" * 5000)
    drawing = row(base, drawing_id)
    assert drawing.state is DrawingState.failed
    assert drawing.failure == {"reason": reason.value, "message": "x" * 4000}


def test_what_nobody_waits_for_any_more_is_not_drawn(base: Database, settings: Settings) -> None:
    drawing_id = ask(base)
    assert claim(base, seconds=settings.drawing_timeout_seconds + 86_400) is None
    drawing = row(base, drawing_id)
    assert drawing.failure == {"reason": "timeout", "message": "it was not drawn in time"}


def test_attempts_write_under_prefixes_of_their_own(base: Database) -> None:
    drawing_id = ask(base)
    first = claimed(base)
    second = dataclasses.replace(first, fence=2)
    assert (first.prefix, second.prefix) == (f"drawings/{drawing_id}/1", f"drawings/{drawing_id}/2")


def test_pictures_are_deleted_a_day_after_they_were_drawn(base: Database, settings: Settings) -> None:
    store = store_for(settings)
    drawn, waiting = ask(base), ask(base)
    holder = claimed(base)
    assert holder.drawing_id == drawn
    for name in ("0.png", "1.png"):
        store.put(f"{holder.prefix}/{name}", io.BytesIO(b"png"), 3)
    with transaction(base) as session:
        drawing_claims.finish_drawing(session, holder, files=FILES, seconds=1.0)
    day = utcnow() + timedelta(seconds=drawings.KEEP_SECONDS)
    assert drawings.purge(base, store, now=day - timedelta(seconds=60)) == 0
    assert len(list(store.list("drawings/"))) == 2
    assert drawings.purge(base, store, now=day + timedelta(seconds=60)) == 1
    assert list(store.list("drawings/")) == []
    with transaction(base) as session:
        assert session.scalars(select(Drawing.id)).all() == [waiting]
