"""The audit log: written with the change, read by its project, swept when old, and without secrets."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from core import audit, keys
from core.audit import Act
from core.clock import utcnow
from core.db import Database, transaction
from core.models import ApiKey, AuditEntry, Outcome, Project


@pytest.fixture
def act(database: Database) -> Act:
    with transaction(database) as session:
        key = session.scalars(select(ApiKey)).one()
    return Act(keys.DEFAULT_PROJECT, key.id, "DELETE", "/v1/files/{file_id}", "file-1", "req-1")


def entries(database: Database, **of: str) -> list[AuditEntry]:
    with transaction(database) as session:
        return list(audit.list_entries(session, project_id=keys.DEFAULT_PROJECT, limit=100, **of).items)


def test_an_entry_tells_who_did_what_to_what(database: Database, act: Act) -> None:
    with transaction(database) as session:
        audit.record(session, act)
        audit.record(session, replace(act, method="POST", route="/v1/files", object_id=None), made="file-2")
        audit.record(session, act, outcome=Outcome.denied)
    told = [(each.method, each.object_id, each.outcome, each.request_id) for each in entries(database)]
    assert told == [
        ("DELETE", "file-1", Outcome.denied, "req-1"),
        ("POST", "file-2", Outcome.done, "req-1"),
        ("DELETE", "file-1", Outcome.done, "req-1"),
    ]
    assert [each.object_id for each in entries(database, object_id="file-2")] == ["file-2"]
    assert entries(database, key_id="key-other") == []


def test_what_is_rolled_back_leaves_no_entry(database: Database, act: Act) -> None:
    def break_off() -> None:
        with transaction(database) as session:
            audit.record(session, act)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert entries(database) == []


def test_another_projects_entries_are_not_there(database: Database, act: Act) -> None:
    with transaction(database) as session:
        session.add(Project(id="proj-other", name="other"))
        session.flush()
        audit.record(session, replace(act, project_id="proj-other"))
    assert entries(database) == []


def test_a_secret_in_the_place_of_an_id_is_blanked(database: Database, act: Act) -> None:
    secret = keys.new_secret()
    with transaction(database) as session:
        audit.record(session, replace(act, object_id=secret, request_id=secret), outcome=Outcome.denied)
        audit.record(session, replace(act, object_id="x\0" * 5000), outcome=Outcome.denied)
    long, blank = entries(database)
    assert (blank.object_id, blank.request_id) == ("***", "***")
    assert long.object_id == "x" * audit.LONGEST_ID


def test_old_entries_are_forgotten(database: Database, act: Act) -> None:
    with transaction(database) as session:
        audit.record(session, act)
        assert audit.sweep(session, days=30, now=utcnow() + timedelta(days=29)) == 0
        assert audit.sweep(session, days=30, now=utcnow() + timedelta(days=31)) == 1
    assert entries(database) == []
