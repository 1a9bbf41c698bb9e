"""Keys: told once, kept as a digest, of one project, useless once revoked."""

import hashlib
import stat
import threading
from datetime import UTC, datetime, timedelta

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import func, select, text, update

from core import keys, schema
from core.clock import utcnow
from core.db import Database, transaction
from core.errors import Conflict, Invalid, NotFound, Unauthorized
from core.models import ApiKey, FormerSecret, Project
from core.settings import Settings

GIVEN = "spk-a-key-of-the-operators-own-0123456789"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def number_of_keys(database: Database) -> int | None:
    with transaction(database) as session:
        return session.scalar(select(func.count()).select_from(ApiKey))


def test_a_key_opens_its_project_until_it_is_revoked(database: Database) -> None:
    with transaction(database) as session:
        row, secret = keys.create_key(session, project_id=keys.DEFAULT_PROJECT, name="ci", scopes=["read"])
    with transaction(database) as session:
        caller = keys.verify(session, secret=secret)
        assert caller == keys.Caller(keys.DEFAULT_PROJECT, row.id, frozenset({"read"}))
        keys.revoke_key(session, project_id=keys.DEFAULT_PROJECT, key_id=row.id)
    with transaction(database) as session, pytest.raises(Unauthorized):
        keys.verify(session, secret=secret)


def test_the_secret_is_not_kept(database: Database) -> None:
    with transaction(database) as session:
        _, secret = keys.create_key(session, project_id=keys.DEFAULT_PROJECT, name="ci")
    with transaction(database) as session:
        for key in session.scalars(select(ApiKey)):
            assert secret not in {key.id, key.name, key.sha256, str(key.scopes)}


@pytest.mark.parametrize("secret", ["", "spk-nobody", "ä", "spk-" + "x" * 10_000])
def test_nobodys_secret_is_refused(database: Database, secret: str) -> None:
    with transaction(database) as session, pytest.raises(Unauthorized):
        keys.verify(session, secret=secret)


def test_another_projects_key_is_not_there(database: Database) -> None:
    with transaction(database) as session:
        session.add(Project(id="proj-other", name="other"))
        session.flush()
        row, secret = keys.create_key(session, project_id="proj-other", name="theirs")
    with transaction(database) as session:
        with pytest.raises(NotFound):
            keys.revoke_key(session, project_id=keys.DEFAULT_PROJECT, key_id=row.id)
        found = keys.list_keys(session, project_id=keys.DEFAULT_PROJECT, after=None, limit=10)
        assert row.id not in {key.id for key in found.items}
        assert keys.verify(session, secret=secret).project_id == "proj-other"


def test_pages_go_from_new_to_old(database: Database) -> None:
    project = keys.DEFAULT_PROJECT
    with transaction(database) as session:
        made = [keys.create_key(session, project_id=project, name=str(n))[0].id for n in range(4)]
    with transaction(database) as session:
        first = keys.list_keys(session, project_id=project, limit=3)
        assert [key.id for key in first.items] == made[:0:-1]
        assert first.has_more
        second = keys.list_keys(session, project_id=project, after=first.items[-1].id, limit=3)
        assert [key.name for key in second.items] == ["0", keys.FIRST_KEY]
        assert not second.has_more
        with pytest.raises(Invalid) as refused:
            keys.list_keys(session, project_id=project, after="key-unknown", limit=3)
        assert refused.value.param == "after"


def test_the_first_key_is_made_once(database: Database, settings: Settings) -> None:
    path = settings.state / "key"
    secret = path.read_text().strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with transaction(database) as session:
        keys.bootstrap_key(session, settings)
    assert path.read_text().strip() == secret
    assert number_of_keys(database) == 1
    with transaction(database) as session:
        assert keys.verify(session, secret=secret).scopes == frozenset(keys.SCOPES)


def test_a_first_key_that_was_revoked_is_replaced(database: Database, settings: Settings) -> None:
    old = (settings.state / "key").read_text().strip()
    with transaction(database) as session:
        caller = keys.verify(session, secret=old)
        keys.revoke_key(session, project_id=caller.project_id, key_id=caller.key_id)
        keys.bootstrap_key(session, settings)
    new = (settings.state / "key").read_text().strip()
    with transaction(database) as session:
        assert keys.verify(session, secret=new).project_id == keys.DEFAULT_PROJECT
        with pytest.raises(Unauthorized):
            keys.verify(session, secret=old)


def test_the_first_key_can_be_given(database: Database, settings: Settings) -> None:
    given = settings.model_copy(update={"first_key": GIVEN})
    with transaction(database) as session:
        keys.bootstrap_key(session, given)
        keys.bootstrap_key(session, given)
    with transaction(database) as session:
        assert keys.verify(session, secret=GIVEN).project_id == keys.DEFAULT_PROJECT
    assert number_of_keys(database) == 2


def opens(database: Database, secret: str, *, now: datetime = NOON) -> bool:
    with transaction(database) as session:
        try:
            keys.verify(session, secret=secret, now=now)
        except Unauthorized:
            return False
        return True


def rotate(database: Database, key_id: str, *, grace_seconds: float, now: datetime = NOON) -> str:
    with transaction(database) as session:
        return keys.rotate_key(
            session,
            project_id=keys.DEFAULT_PROJECT,
            key_id=key_id,
            grace_seconds=grace_seconds,
            now=now,
        ).secret


def make(database: Database) -> tuple[str, str]:
    with transaction(database) as session:
        row, secret = keys.create_key(session, project_id=keys.DEFAULT_PROJECT, name="ci")
    return row.id, secret


def test_a_former_secret_is_good_for_its_grace_time_and_no_longer(database: Database) -> None:
    key_id, first = make(database)
    second = rotate(database, key_id, grace_seconds=60)
    assert (opens(database, first), opens(database, second)) == (True, True)
    late = NOON + timedelta(seconds=61)
    assert (opens(database, first, now=late), opens(database, second, now=late)) == (False, True)


def test_a_rotation_without_grace_ends_the_grace_of_those_before(database: Database) -> None:
    key_id, first = make(database)
    second = rotate(database, key_id, grace_seconds=3600)
    third = rotate(database, key_id, grace_seconds=0)
    assert [opens(database, each) for each in (first, second, third)] == [False, False, True]


def test_a_longer_grace_does_not_bring_a_former_secret_back(database: Database) -> None:
    key_id, first = make(database)
    rotate(database, key_id, grace_seconds=10)
    rotate(database, key_id, grace_seconds=3600)
    assert not opens(database, first, now=NOON + timedelta(seconds=11))


def test_revoking_ends_former_secrets_too(database: Database) -> None:
    key_id, first = make(database)
    second = rotate(database, key_id, grace_seconds=3600)
    with transaction(database) as session:
        keys.revoke_key(session, project_id=keys.DEFAULT_PROJECT, key_id=key_id)
    assert (opens(database, first), opens(database, second)) == (False, False)
    with transaction(database) as session, pytest.raises(Conflict):
        keys.rotate_key(session, project_id=keys.DEFAULT_PROJECT, key_id=key_id, grace_seconds=0)


def test_of_two_rotations_at_once_each_tells_a_secret_that_works_or_none(database: Database) -> None:
    key_id, _ = make(database)
    told: list[str] = []
    both = threading.Barrier(2)

    def run() -> None:
        both.wait()
        try:
            told.append(rotate(database, key_id, grace_seconds=60))
        except Conflict:
            told.append("")

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 2
    assert any(told)
    assert all(opens(database, secret) for secret in told if secret)


def test_a_key_ends_by_the_databases_clock(database: Database) -> None:
    end = utcnow() + timedelta(seconds=60)
    with transaction(database) as session:
        _, secret = keys.create_key(session, project_id=keys.DEFAULT_PROJECT, name="guest", expires_at=end)
    assert opens(database, secret, now=end - timedelta(seconds=1))
    assert not opens(database, secret, now=end)
    with transaction(database) as session, pytest.raises(Invalid):
        keys.create_key(session, project_id=keys.DEFAULT_PROJECT, name="late", expires_at=utcnow())


def test_a_use_is_noted_once_a_minute(database: Database) -> None:
    key_id, secret = make(database)

    def used_at(seconds: float) -> datetime | None:
        now = NOON + timedelta(seconds=seconds)
        with transaction(database) as session:
            if keys.verify(session, secret=secret, now=now).unnoted:
                keys.note_use(session, key_id=key_id, now=now)
        with transaction(database) as session:
            return session.get_one(ApiKey, key_id).last_used_at

    assert [used_at(each) for each in (0, 59, 61)] == [NOON, NOON, NOON + timedelta(seconds=61)]


def test_secrets_that_begin_alike_are_told_apart(database: Database) -> None:
    key_id, secret = make(database)
    assert not opens(database, secret[:-1] + ("A" if secret[-1] != "A" else "B"))
    assert not opens(database, secret[: keys.KEPT_CHARACTERS])
    twin = secret[: keys.KEPT_CHARACTERS] + "x" * 40
    other, _ = make(database)
    with transaction(database) as session:
        session.execute(
            update(ApiKey)
            .where(ApiKey.id == other)
            .values(prefix=twin[: keys.KEPT_CHARACTERS], sha256=keys.digest(twin))
        )
    with transaction(database) as session:
        assert keys.verify(session, secret=secret).key_id == key_id
        assert keys.verify(session, secret=twin).key_id == other


def test_a_rotated_first_key_is_not_made_again(database: Database, settings: Settings) -> None:
    old = (settings.state / "key").read_text().strip()
    with transaction(database) as session:
        first = keys.verify(session, secret=old)
    rotate(database, first.key_id, grace_seconds=0)
    with transaction(database) as session:
        keys.bootstrap_key(session, settings)  # after a crash before the file was written
    new = (settings.state / "key").read_text().strip()
    assert (opens(database, old), opens(database, new)) == (False, True)


def test_a_given_first_key_that_was_rotated_stays_shut(database: Database, settings: Settings) -> None:
    given = settings.model_copy(update={"first_key": GIVEN})
    with transaction(database) as session:
        keys.bootstrap_key(session, given)
        row = keys.verify(session, secret=GIVEN)
    rotate(database, row.key_id, grace_seconds=0)
    with transaction(database) as session:
        keys.bootstrap_key(session, given)
    assert not opens(database, GIVEN)


def test_keys_of_before_work_on_and_may_what_they_could(database: Database) -> None:
    """A key without a prefix, whose ``write`` has become ``train`` and ``serve``, and back."""
    before = ScriptDirectory.from_config(schema.configuration()).get_revision("0008").down_revision
    assert isinstance(before, str)
    schema.move(database, before)
    secret = keys.new_secret()
    row = {"id": "key-old", "sha256": hashlib.sha256(secret.encode()).hexdigest()}
    with transaction(database) as session:
        session.execute(
            text(
                "INSERT INTO api_key (id, project_id, name, sha256, scopes, created_at) "
                "VALUES (:id, 'proj-default', 'old', :sha256, '[\"read\", \"write\"]', CURRENT_TIMESTAMP)"
            ),
            row,
        )
    schema.move(database)
    with transaction(database) as session:
        assert keys.verify(session, secret=secret).scopes == {"read", "train", "serve"}
        assert session.get_one(ApiKey, "key-old").scopes == ["read", "write", "train", "serve"]
    rotate(database, "key-old", grace_seconds=60)
    assert opens(database, secret)
    with transaction(database) as session:
        assert session.get_one(FormerSecret, row["sha256"]).prefix is None
    schema.move(database, before)
    with transaction(database) as session:
        held = session.execute(text("SELECT scopes FROM api_key WHERE id = 'key-old'")).scalar_one()
    assert held in (["read", "write"], '["read", "write"]')
