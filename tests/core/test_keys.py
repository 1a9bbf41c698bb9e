"""Keys: told once, kept as a digest, of one project, useless once revoked."""

import stat

import pytest
from sqlalchemy import func, select

from core import keys
from core.db import Database, transaction
from core.errors import Invalid, NotFound, Unauthorized
from core.models import ApiKey, Project
from core.settings import Settings


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
    given = settings.model_copy(update={"first_key": "spk-" + "g" * 40})
    with transaction(database) as session:
        keys.bootstrap_key(session, given)
        keys.bootstrap_key(session, given)
    with transaction(database) as session:
        assert keys.verify(session, secret="spk-" + "g" * 40).project_id == keys.DEFAULT_PROJECT
    assert number_of_keys(database) == 2
