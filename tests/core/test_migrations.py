"""The tables come and go on both databases and are those of the models; the command may run at any time."""

import os
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import inspect, select, text
from sqlalchemy.exc import OperationalError

from core import keys, migrate, schema
from core.db import Database, transaction
from core.models import Base, Blob, Model, Project
from core.settings import Settings
from tests.databases import create_database

ROOT = Path(__file__).resolve().parents[2]
names = count(1)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """The settings of a platform whose database has no tables yet."""
    if request.param == "sqlite":
        return Settings(state=tmp_path)
    url = request.getfixturevalue("postgres_url")
    name = f"empty_{next(names)}"
    create_database(url, name, template="template1")
    return Settings(state=tmp_path, database_url=url.format(database=name))


def tables(database: Database) -> set[str]:
    return set(inspect(database.engine).get_table_names()) - {"alembic_version"}


def test_the_migrations_make_what_the_models_tell(database: Database) -> None:
    assert tables(database) == set(Base.metadata.tables)
    with database.engine.begin() as connection:
        command.check(schema.configuration(connection))
        assert schema.current(connection) == schema.newest()


def test_up_down_and_up_again(empty: Settings) -> None:
    database = Database(empty)
    schema.move(database)
    made = tables(database)
    schema.move(database)
    schema.move(database, "base")
    assert tables(database) == set()
    schema.move(database)
    assert tables(database) == made
    database.dispose()


def test_a_migration_that_fails_leaves_the_tables_as_they_were(
    empty: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(empty)

    def half_way(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("alembic.runtime.migration.HeadMaintainer.update_to_step", half_way)
    with pytest.raises(RuntimeError):
        schema.move(database)
    assert tables(database) == set()
    database.dispose()


def test_files_that_are_there_are_counted_and_only_the_first_of_twins_is_shared(empty: Settings) -> None:
    database = Database(empty)
    schema.move(database, "0005")
    project = "INSERT INTO project (id, name, created_at) VALUES (:id, :id, '2026-01-01 00:00:00.000000')"
    file = (
        "INSERT INTO file (id, project_id, filename, purpose, bytes, sha256, key, created_at, deleted_at) "
        "VALUES (:id, :project, 'a', 'fine-tune', :bytes, :sha, :key, '2026-01-01 00:00:00.000000', :gone)"
    )
    rows = [
        ("1", "p", 10, "x", "k1", None),
        ("2", "p", 10, "x", "k2", None),
        ("3", "p", 5, "y", "k3", "2026-01-02 00:00:00.000000"),
        ("4", "q", 10, "x", "k4", None),
        ("5", "q", 7, "z", "", "2026-01-02 00:00:00.000000"),
    ]
    names = ("id", "project", "bytes", "sha", "key", "gone")
    with database.engine.begin() as connection:
        for name in ("p", "q", "r"):
            connection.execute(text(project), {"id": name})
        for row in rows:
            connection.execute(text(file), dict(zip(names, row, strict=True)))
    schema.move(database)
    with transaction(database) as session:
        held = session.execute(select(Blob.key, Blob.project_id, Blob.sha256, Blob.bytes, Blob.files))
        assert sorted(tuple(row) for row in held) == [
            ("k1", "p", "x", 10, 1),
            ("k2", "p", None, 10, 1),
            ("k4", "q", "x", 10, 1),
        ]
        stored = session.execute(select(Project.id, Project.stored_bytes).order_by(Project.id))
        assert [tuple(row) for row in stored] == [("p", 20), ("q", 10), ("r", 0)]
    schema.move(database, "0005")
    database.dispose()


def test_a_database_of_a_newer_version_is_refused(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'from-the-future'"))
    with pytest.raises(ValueError, match="from-the-future"):
        schema.move(database)


def start(**variables: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SPINDLE_")}
    command = [sys.executable, "-m", "core.migrate"]
    return subprocess.Popen(command, cwd=ROOT, env=kept | variables, stderr=subprocess.PIPE, text=True)


def test_the_command_prepares_a_platform_also_when_several_run_at_once(
    empty: Settings, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    (models / "tiny").mkdir(parents=True)
    (models / "tiny" / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    settings = Settings(state=tmp_path / "state")
    if empty.database_url.startswith("postgresql"):
        settings = settings.model_copy(update={"database_url": empty.database_url})
    variables = {
        "SPINDLE_STATE": str(settings.state),
        "SPINDLE_BASE_MODELS": str(models),
        "SPINDLE_DATABASE_URL": settings.database_url,
    }
    for process in [start(**variables) for _ in range(3)]:
        _, said = process.communicate()
        assert process.returncode == 0, said
    database = Database(settings)
    with transaction(database) as session:
        secret = (settings.state / "key").read_text().strip()
        assert keys.verify(session, secret=secret).project_id == keys.DEFAULT_PROJECT
        assert session.get(Model, "tiny") is not None
        assert len(keys.list_keys(session, project_id=keys.DEFAULT_PROJECT).items) == 1
    database.dispose()


def test_it_waits_for_servers_that_do_not_answer_yet(tmp_path: Path) -> None:
    """Two seconds between attempts, until one succeeds or the time is over."""
    away = Settings(state=tmp_path, database_url="postgresql://u:aebc81@127.0.0.1:9/n")
    now, slept = 100.0, []

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    with pytest.raises(OperationalError):
        migrate.migrate_when_served(away, seconds=5, clock=lambda: now, sleep=sleep)
    assert slept == [2.0, 2.0, 2.0]
    there = away.model_copy(update={"database_url": f"sqlite:///{tmp_path}/spindle.db"})
    migrate.migrate_when_served(there, seconds=0)
    assert slept == [2.0, 2.0, 2.0]
    database = Database(there)
    assert tables(database) == set(Base.metadata.tables)
    database.dispose()


def test_it_does_not_wait_for_what_will_not_mend_itself(database: Database, tmp_path: Path) -> None:
    newer = "UPDATE alembic_version SET version_num = 'from-the-future'"
    with database.engine.begin() as connection:
        connection.execute(text(newer))
    settings = Settings(
        state=tmp_path, database_url=database.engine.url.render_as_string(hide_password=False)
    )
    with pytest.raises(ValueError, match="from-the-future"):
        migrate.migrate_when_served(settings, seconds=3600, sleep=never)


def never(_: float) -> None:
    raise AssertionError("it waited")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SPINDLE_DATABASE_URL", "postgresql://u:not-seen@127.0.0.1:9/n", "Connection refused"),
        ("SPINDLE_STORE_URL", "s3://u:not-seen@h", "SPINDLE_STORE_URL: give file:///FOLDER or s3://"),
        ("SPINDLE_LEAS_SECONDS", "3", "SPINDLE_LEAS_SECONDS"),
    ],
)
def test_the_command_refuses_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    said: str,
) -> None:
    monkeypatch.setenv("SPINDLE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv(variable, value)
    assert migrate.main([]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert len(told.splitlines()) == 1
    assert "not-seen" not in told
    assert not (tmp_path / "state" / "key").exists()
