"""Sessions of browsers: opened by a key, good as long as it is, and no longer than a week."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from core import keys, sessions
from core.db import Database, transaction
from core.errors import Unauthorized
from core.models import Project, WebSession

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
WEEK = timedelta(seconds=sessions.SECONDS)


def made(database: Database, *, scopes: tuple[str, ...] = ("read",)) -> tuple[str, str, str]:
    """Return a key's id and secret, and the token of a session that it opened."""
    with transaction(database) as session:
        row, secret = keys.create_key(session, project_id=keys.DEFAULT_PROJECT, name="laptop", scopes=scopes)
        return row.id, secret, sessions.open_session(session, secret=secret, now=NOON)


def refused(database: Database, token: str, *, now: datetime = NOON) -> str | None:
    with transaction(database) as session, pytest.raises(Unauthorized) as refusal:
        sessions.verify(session, token=token, now=now)
    return refusal.value.code


def test_a_session_may_what_its_key_may_and_keeps_no_token(database: Database) -> None:
    key_id, secret, token = made(database)
    with transaction(database) as session:
        who = sessions.verify(session, token=token, now=NOON)
        assert who == keys.Caller(keys.DEFAULT_PROJECT, key_id, frozenset({"read"}))
        row = session.scalars(select(WebSession)).one()
        assert {token, secret}.isdisjoint({row.sha256, row.secret_sha256, row.key_id})
        assert row.expires_at == NOON + WEEK


def test_it_ends_after_a_week_and_is_swept(database: Database) -> None:
    _, _, token = made(database)
    almost = NOON + WEEK - timedelta(seconds=1)
    with transaction(database) as session:
        assert sessions.sweep(session, now=almost) == 0
        sessions.verify(session, token=token, now=almost)
    assert refused(database, token, now=NOON + WEEK + timedelta(seconds=1)) == "session_ended"
    with transaction(database) as session:
        assert sessions.sweep(session, now=NOON + WEEK + timedelta(seconds=1)) == 1
        assert session.scalar(select(func.count()).select_from(WebSession)) == 0


@pytest.mark.parametrize("token", ["", "nobody's", "x" * 10_000])
def test_nobodys_token_is_refused(database: Database, token: str) -> None:
    made(database)
    assert refused(database, token) == "session_ended"


def test_it_ends_with_its_key(database: Database) -> None:
    key_id, _, token = made(database)
    with transaction(database) as session:
        keys.revoke_key(session, project_id=keys.DEFAULT_PROJECT, key_id=key_id)
    assert refused(database, token) == "session_ended"


def test_it_ends_with_the_grace_of_a_rotated_secret(database: Database) -> None:
    key_id, _, token = made(database)
    with transaction(database) as session:
        keys.rotate_key(session, project_id=keys.DEFAULT_PROJECT, key_id=key_id, grace_seconds=60, now=NOON)
        sessions.verify(session, token=token, now=NOON + timedelta(seconds=59))
    assert refused(database, token, now=NOON + timedelta(seconds=61)) == "session_ended"


def test_a_browser_is_signed_in_to_several_projects_and_what_ended_is_left_out(database: Database) -> None:
    _, _, first = made(database)
    with transaction(database) as session:
        session.add(Project(id="proj-other", name="other"))
        session.flush()
        _, secret = keys.create_key(session, project_id="proj-other", name="theirs", scopes=["serve"])
        second = sessions.open_session(session, secret=secret)
        found = sessions.signed_in(session, tokens=[second, "ended", first])
        assert [(one.project_name, one.key_name) for one in found][:1] == [("other", "theirs")]
        sessions.close_session(session, token=second)
        sessions.close_session(session, token=second)
        assert sessions.signed_in(session, tokens=[second]) == []
