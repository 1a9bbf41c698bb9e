"""Databases that tests use one after the other are as new, or are not used again."""

import psycopg
import pytest

from tests import databases
from tests.conftest import TEMPLATE
from tests.databases import Copies, drop_database


def test_a_copy_is_used_again_as_it_was_unless_its_tables_are_others(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "AT_REST", 0)
    copies = Copies(postgres_url, TEMPLATE)
    first = copies.take()
    with psycopg.connect(postgres_url.format(database=first.name)) as connection:
        connection.execute("INSERT INTO project (id, name, created_at) VALUES ('p', 'p', now())")
        connection.execute("DELETE FROM alembic_version")
    with psycopg.connect(postgres_url.format(database=first.name)) as left:
        copies.give_back(first)
        with pytest.raises(psycopg.OperationalError):
            left.execute("SELECT 1")
    again = copies.take()
    assert again == first
    with psycopg.connect(postgres_url.format(database=again.name)) as connection:
        assert connection.execute("SELECT count(*) FROM project").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
        connection.execute("ALTER TABLE project RENAME COLUMN name TO called")
    copies.give_back(again)
    other = copies.take()
    assert other.name != first.name
    drop_database(postgres_url, other.name)
