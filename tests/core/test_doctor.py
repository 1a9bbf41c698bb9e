"""The doctor finds what works and what does not, on both profiles, and says what to do."""

import json
import os
import stat
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from sqlalchemy import text, update

from core import doctor, workers
from core.clock import database_now
from core.db import Database, transaction
from core.doctor import GIB, Finding, Health, check_disk, check_gpu, check_workers, examine
from core.models import Unit, UnitKind, UnitState, WorkerNode
from core.queue import RUN_UNIT, UNITS, Bell, messages
from core.settings import Settings
from core.storage.store import store_for
from tests.services import free_ports

Usage = namedtuple("Usage", "free")


def found_by(settings: Settings) -> dict[str, Finding]:
    return {finding.part: finding for finding in examine(settings)}


def seen(database: Database, *kinds: str, unheard_seconds: float | None = None) -> None:
    with transaction(database) as session:
        for kind in kinds:
            workers.heartbeat(session, name=f"{kind}-1@host", kind=kind, unheard_seconds=unheard_seconds)


def pending(database: Database, state: UnitState = UnitState.pending, worker: str | None = None) -> None:
    with transaction(database) as session:
        session.add(Unit(id="unit-1", kind=UnitKind.ingest, state=state, worker=worker))


def test_all_is_well(settings: Settings, database: Database) -> None:
    seen(database, "units", "serve", "beat")
    found = found_by(settings)
    assert {part: each.told for part, each in found.items() if each.health is Health.fail} == {}
    assert found["database"].told.startswith(("sqlite answers", "postgresql answers"))
    assert found["database clock"].health is Health.ok
    assert found["queue"].told.endswith("holds none")
    assert found["store"].told.startswith("an object was put, read back and deleted")
    assert found["workers"].told == "alive and consuming: beat-1@host, serve-1@host, units-1@host"
    assert list(store_for(settings).list("doctor/")) == []


def test_messages_are_counted_by_queue(settings: Settings) -> None:
    bell = Bell(settings)
    for _ in range(2):
        assert bell.ring(RUN_UNIT[UnitKind.train], "unit-1")
    bell.close()
    assert {name: number for name, number in messages(settings).items() if number} == {
        UNITS[UnitKind.train]: 2
    }


def test_tables_of_another_version_say_how_to_move_them(settings: Settings, database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    finding = found_by(settings)["database"]
    assert (finding.health, "core.migrate" in finding.todo) == (Health.fail, True)


def test_a_worker_that_lives_but_does_not_consume_is_named(database: Database) -> None:
    pending(database)
    assert check_workers(database).health is Health.fail  # nobody is there
    seen(database, "units", unheard_seconds=doctor.UNHEARD_SECONDS - 10)
    assert check_workers(database).health is Health.ok
    seen(database, "units", unheard_seconds=doctor.UNHEARD_SECONDS + 10)
    finding = check_workers(database)
    assert finding.health is Health.fail
    assert "units-1@host" in finding.told
    assert "restart" in finding.todo


def test_a_worker_that_is_busy_need_not_hear(database: Database) -> None:
    seen(database, "units", unheard_seconds=1000)
    pending(database, UnitState.running, "units-1@host")
    assert check_workers(database).told == "alive and consuming: units-1@host (busy)"


def test_a_worker_that_fell_silent_is_none(database: Database) -> None:
    seen(database, "units")
    with transaction(database) as session:
        session.execute(update(WorkerNode).values(seen_at=database_now(plus=-workers.SEEN_SECONDS - 5)))
    finding = check_workers(database)
    assert (finding.health, finding.told) == (Health.warn, "none alive; nothing waits")
    assert doctor.check_beat(database).health is Health.warn


def test_what_cannot_be_reached_hides_nothing_else_and_tells_no_secret(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    told = Settings(
        state=tmp_path,
        database_url=f"postgresql://user:not-to-be-seen@127.0.0.1:{port}/n",
        store_url=f"s3://user:not-to-be-seen@127.0.0.1:{port}/b?secure=0",
        broker_url=f"redis://:not-to-be-seen@127.0.0.1:{port}/0",
    )
    found = found_by(told)
    failed = {part for part, each in found.items() if each.health is Health.fail}
    assert failed == {"database", "database clock", "queue", "store", "workers", "beat"}
    assert found["disk"].health is not Health.fail
    assert "not-to-be-seen" not in str(found)
    assert all(each.todo for each in found.values() if each.health is not Health.ok)


@pytest.mark.parametrize(
    ("says", "code", "health"),
    [("NVIDIA H100, 81559 MiB, 4 MiB", 0, Health.ok), ("Unknown Error", 9, Health.fail)],
)
def test_the_driver_is_asked(tmp_path: Path, says: str, code: int, health: Health) -> None:
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    finding = check_gpu(str(command))
    assert (finding.health, says in finding.told) == (health, True)
    assert check_gpu(str(tmp_path / "absent")).health is Health.ok


@pytest.mark.parametrize(("free", "health"), [(0.5, Health.fail), (5.0, Health.warn), (50.0, Health.ok)])
def test_a_full_disk_is_told(tmp_path: Path, free: float, health: Health) -> None:
    finding = check_disk(Settings(state=tmp_path), usage=lambda _: Usage(int(free * GIB)))
    assert finding.health is health
    assert f"{free:.1f} GiB free" in finding.told


def test_the_command_prints_a_line_a_part_and_fails_when_one_does(tmp_path: Path) -> None:
    given = {name: value for name, value in os.environ.items() if not name.startswith("SPINDLE_")}
    command = [sys.executable, "-m", "core.doctor"]
    told = given | {"SPINDLE_STATE": str(tmp_path), "SPINDLE_DATABASE_URL": f"sqlite:///{tmp_path}/absent/x"}
    ran = subprocess.run(command, env=told, capture_output=True, text=True, check=False)
    found = {each["part"]: each for each in map(json.loads, ran.stdout.splitlines())}
    assert (ran.returncode, found["database"]["health"]) == (1, "fail")
    assert len(found) == 8
    wrong = subprocess.run(
        command, env=given | {"SPINDLE_STAET": "x"}, capture_output=True, text=True, check=False
    )
    assert (wrong.returncode, json.loads(wrong.stdout)["part"]) == (1, "settings")
