"""One key, one answer: also when two come at once, when the first is lost, and when the key is misused."""

import threading
from datetime import timedelta

import pytest

from core import idempotency
from core.clock import utcnow
from core.db import Database, transaction
from core.errors import Conflict, Invalid
from core.idempotency import Answer
from core.keys import DEFAULT_PROJECT
from core.models import Project


def begin(database: Database, *, fingerprint: str = "f", later: float = 0.0) -> Answer | None:
    with transaction(database) as session:
        return idempotency.begin(
            session,
            project_id=DEFAULT_PROJECT,
            key="k",
            fingerprint=fingerprint,
            now=utcnow() + timedelta(seconds=later),
        )


def finish(database: Database) -> None:
    with transaction(database) as session:
        idempotency.finish(session, project_id=DEFAULT_PROJECT, key="k", status=201, body={"id": "x"})


def test_the_first_answer_is_given_again(database: Database) -> None:
    assert begin(database) is None
    finish(database)
    assert begin(database) == Answer(201, {"id": "x"})


def test_a_request_that_runs_is_a_conflict(database: Database) -> None:
    assert begin(database) is None
    with pytest.raises(Conflict) as refused:
        begin(database)
    assert refused.value.code == "idempotency_in_progress"


def test_another_request_under_the_same_key_is_refused(database: Database) -> None:
    assert begin(database) is None
    finish(database)
    with pytest.raises(Invalid) as refused:
        begin(database, fingerprint="g")
    assert (refused.value.param, refused.value.code) == ("Idempotency-Key", "idempotency_key_reused")
    assert begin(database) == Answer(201, {"id": "x"})


def test_a_request_that_was_lost_is_replaced_by_one_other(database: Database) -> None:
    assert begin(database) is None
    assert begin(database, later=15 * 60 + 5) is None
    with pytest.raises(Conflict):
        begin(database, later=15 * 60 + 6)


def test_an_answer_does_not_grow_old_within_a_day(database: Database) -> None:
    begin(database)
    finish(database)
    assert begin(database, later=15 * 60 + 5) == Answer(201, {"id": "x"})
    with transaction(database) as session:
        assert idempotency.sweep(session) == 0
        assert idempotency.sweep(session, now=utcnow() + timedelta(days=1, seconds=5)) == 1
    assert begin(database) is None


def test_a_request_that_came_to_nothing_can_be_sent_again(database: Database) -> None:
    begin(database)
    with transaction(database) as session:
        idempotency.abandon(session, project_id=DEFAULT_PROJECT, key="k")
    assert begin(database, fingerprint="mended") is None


def test_what_is_rolled_back_was_never_begun(database: Database) -> None:
    def break_off() -> None:
        with transaction(database) as session:
            idempotency.begin(session, project_id=DEFAULT_PROJECT, key="k", fingerprint="f")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert begin(database) is None


def test_projects_do_not_share_keys(database: Database) -> None:
    assert begin(database) is None
    with transaction(database) as session:
        session.add(Project(id="proj-other", name="other"))
        session.flush()
        assert idempotency.begin(session, project_id="proj-other", key="k", fingerprint="g") is None


def test_of_two_at_once_one_works_and_the_other_gets_its_answer(database: Database) -> None:
    """The work is in the transaction that begins: the second waits for its commit."""
    answers: list[Answer | None] = []
    both = threading.Barrier(2)

    def request() -> None:
        both.wait()
        with transaction(database) as session:
            kept = idempotency.begin(session, project_id=DEFAULT_PROJECT, key="k", fingerprint="f")
            if kept is None:
                idempotency.finish(session, project_id=DEFAULT_PROJECT, key="k", status=200, body={"n": 1})
            answers.append(kept)

    threads = [threading.Thread(target=request) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers, key=str) == [Answer(200, {"n": 1}), None]
