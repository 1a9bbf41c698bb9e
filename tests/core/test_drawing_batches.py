"""Batches on both databases: what fits together is claimed at once, never twice, and in a fair order."""

import random
import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from core import drawing_claims, drawings
from core.clock import utcnow
from core.db import Database, transaction
from core.drawing_claims import DrawingClaim
from core.errors import TooMany
from core.models import DrawingState, Reason
from core.settings import Settings
from core.storage.store import store_for
from tests.core.runs.making import PROJECT, ground

LEASE = 30.0
NOW = utcnow()


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
        "seeds": [7],
        "width": None,
        "height": None,
        "steps": 5,
        "guidance_scale": 2.5,
    }
    with transaction(database) as session:
        return drawings.request_drawing(session, project_id=PROJECT, **(request | values)).id


def claim(
    database: Database, *, pictures: int = 100, seconds: float = 0.0, worker: str = "serve-1"
) -> list[DrawingClaim]:
    with transaction(database) as session:
        return drawing_claims.claim_drawings(
            session,
            worker=worker,
            lease_seconds=LEASE,
            pictures=pictures,
            now=NOW + timedelta(seconds=seconds),
        )


def ids_of(claims: list[DrawingClaim]) -> list[str]:
    return [each.drawing_id for each in claims]


def state(database: Database, drawing_id: str) -> DrawingState:
    with transaction(database) as session:
        return drawings.get_drawing(session, project_id=PROJECT, drawing_id=drawing_id).state


def test_what_differs_in_nothing_that_matters_is_claimed_together(base: Database) -> None:
    together = [
        ask(base),
        ask(base, prompt="another", negative_prompt="blue", seeds=[1, 2, 3]),
        ask(base, guidance_scale=2.50),
    ]
    apart = [
        ask(base, steps=6),
        ask(base, guidance_scale=2.6),
        ask(base, width=64, height=64),
        ask(base, width=64, height=32),
    ]
    assert ids_of(claim(base)) == together
    assert [ids_of(claim(base)) for _ in apart] == [[each] for each in apart]
    assert claim(base) == []


def test_a_batch_holds_no_more_pictures_than_asked_but_for_its_first(base: Database) -> None:
    first, second, third, fourth = (ask(base, seeds=list(range(n))) for n in (3, 2, 2, 1))
    assert ids_of(claim(base, pictures=6)) == [first, second]  # the fourth may not pass the third
    assert ids_of(claim(base, pictures=1)) == [third]
    assert ids_of(claim(base, pictures=1)) == [fourth]


def test_those_that_somebody_waits_for_go_first(base: Database) -> None:
    behind = ask(base, background=True, steps=6)
    also = ask(base, background=True)
    first, second = ask(base), ask(base)
    assert ids_of(claim(base)) == [first, second, also]
    assert ids_of(claim(base)) == [behind]


def test_what_a_worker_was_lost_at_is_drawn_alone(base: Database) -> None:
    ids = [ask(base) for _ in range(3)]
    assert ids_of(claim(base)) == ids
    later = ask(base)
    again = [claim(base, seconds=LEASE + 1) for _ in ids]
    assert [(ids_of(each), each[0].fence) for each in again] == [([one], 2) for one in ids]
    assert ids_of(claim(base, seconds=LEASE + 1)) == [later]


def test_fences_and_ends_are_each_drawings_own(base: Database) -> None:
    one, other, third = (ask(base) for _ in range(3))
    claims = {each.drawing_id: each for each in claim(base)}
    with transaction(base) as session:
        drawings.cancel_drawing(session, project_id=PROJECT, drawing_id=other)
    assert {each.fence for each in claims.values()} == {1}
    with transaction(base) as session:
        assert drawing_claims.still_held(session, list(claims.values())) == {one, third}
        assert drawing_claims.renew_drawings(session, list(claims.values()), now=NOW) == {one, third}
        drawing_claims.fail_drawing(session, claims[one], reason=Reason.user_error, message="wrong")
    found = [state(base, each) for each in (one, other, third)]
    assert found == [DrawingState.failed, DrawingState.cancelled, DrawingState.running]
    with transaction(base) as session:
        assert drawing_claims.still_held(session, list(claims.values())) == {third}


def test_an_overdue_drawing_is_given_up_also_while_it_is_drawn(base: Database) -> None:
    ids = [ask(base, timeout_seconds=5.0), ask(base), ask(base, background=True)]
    held = claim(base)
    waiting = ask(base, timeout_seconds=5.0)
    with transaction(base) as session:
        assert drawings.expire(session, now=utcnow() + timedelta(seconds=6)) == 2
        assert drawing_claims.still_held(session, held) == set(ids[1:])
    assert [state(base, each) for each in (ids[0], waiting)] == [DrawingState.failed] * 2


def test_what_is_kept_stays_until_it_is_let_go(base: Database, settings: Settings) -> None:
    store = store_for(settings)
    kept, waiting = ask(base, kept=True), ask(base, kept=True, background=True, steps=6)
    with transaction(base) as session:
        [held] = drawing_claims.claim_drawings(session, worker="serve-1", lease_seconds=LEASE)
        drawing_claims.fail_drawing(session, held, reason="internal", message="broke")
    later = utcnow() + timedelta(seconds=drawings.KEEP_SECONDS + 60)
    assert drawings.purge(base, store, now=later) == 0
    with transaction(base) as session:
        drawings.let_go(session, [kept, waiting])
    assert state(base, waiting) is DrawingState.cancelled
    assert drawings.purge(base, store, now=later) == 2


def test_background_pictures_are_not_refused_and_count_for_nobody(settings: Settings, base: Database) -> None:
    full = Database(settings.model_copy(update={"max_waiting_pictures": 2}))
    ask(full, background=True, seeds=list(range(9)))
    ask(full, seeds=[1, 2])
    with pytest.raises(TooMany) as refused:
        ask(full)
    assert (refused.value.code, refused.value.retry_after) == ("queue_full", 60)
    ask(full, background=True)
    claim(base)
    ask(full)
    full.dispose()


def test_many_claimers_take_each_drawing_once(base: Database) -> None:
    """The property that batches rest on, under real concurrency: no drawing has two holders."""
    chooser = random.Random(7)
    ids = {
        ask(base, steps=chooser.randint(5, 7), seeds=list(range(chooser.randint(1, 3)))) for _ in range(40)
    }
    taken: list[list[DrawingClaim]] = []
    start = threading.Barrier(4)

    def work(number: int) -> None:
        start.wait()
        while found := claim(base, pictures=6, worker=f"serve-{number}"):
            taken.append(found)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times = Counter(each.drawing_id for batch in taken for each in batch)
    assert (set(times), set(times.values())) == (ids, {1})
    assert len(taken) < len(ids)
    for batch in taken:
        assert len({each.steps for each in batch}) == 1
        assert len(batch) == 1 or sum(len(each.seeds) for each in batch) <= 6


@pytest.mark.parametrize("seed", range(3))
def test_the_order_is_that_of_a_plain_model(base: Database, seed: int) -> None:
    """Each claim takes the oldest drawing of all, and those after it, in their order, that fit."""
    chooser = random.Random(seed)
    waiting: list[tuple[str, int, int]] = []  # id, steps, pictures; the oldest first
    for _ in range(60):
        if chooser.random() < 0.6:
            steps, pictures = chooser.randint(5, 7), chooser.randint(1, 4)
            waiting.append((ask(base, steps=steps, seeds=list(range(pictures))), steps, pictures))
            continue
        most = chooser.randint(1, 8)
        expected, total = [], 0
        for drawing_id, steps, pictures in waiting:
            if steps == waiting[0][1]:
                total += pictures
                if not expected or total <= most:
                    expected.append(drawing_id)
        assert ids_of(claim(base, pictures=most)) == expected
        waiting = [each for each in waiting if each[0] not in expected]
