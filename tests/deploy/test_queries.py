"""The autoscaler's questions, as the chart renders them, asked of a real PostgreSQL while real jobs go on."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import select, text, update

from core.db import Database, transaction
from core.models import (
    JOB_ACTIVE,
    Device,
    Drawing,
    DrawingState,
    Job,
    JobState,
    Project,
    Reason,
    Unit,
    UnitKind,
    UnitState,
)
from core.runs import control, units
from core.settings import Settings
from tests.conftest import TEMPLATE
from tests.core.runs.making import (
    PROJECT,
    claim_next,
    ground,
    job_of,
    make_job,
    ready_dataset,
    run_until,
    succeed,
    units_of,
)
from tests.databases import create_database, drop_database
from tests.deploy.release import render, scenario

Ask = Callable[[str], int]
numbers = count(1)


def pool_query(**pool: Any) -> str:
    """Return what KEDA asks for a pool, from the rendered ScaledObject."""
    given = {"name": "pool", "max": 64, "gpus": 1} | pool
    values = scenario("minimal", autoscaling={"mode": "scaledObject"}, workers=[given], workersElsewhere=True)
    return query_in(render(values).of("ScaledObject")["worker-pool"])


def query_in(scaled: dict[str, Any]) -> str:
    [trigger] = scaled["spec"]["triggers"]
    query = trigger["metadata"]["query"]
    assert isinstance(query, str)
    return query


@pytest.fixture
def database(postgres_url: str, tmp_path: Path) -> Iterator[Database]:
    name = f"spindle_queries_{next(numbers)}"
    create_database(postgres_url, name, template=TEMPLATE)
    opened = Database(Settings(state=tmp_path, database_url=postgres_url.format(database=name)))
    yield opened
    opened.dispose()
    drop_database(postgres_url, name)


@pytest.fixture
def ask(database: Database) -> Iterator[Ask]:
    """Ask as KEDA does: one row of one number."""
    with psycopg.connect(
        database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False),
        autocommit=True,
    ) as connection:

        def number(query: str) -> int:
            [row] = connection.execute(query.encode()).fetchall()
            [value] = row
            assert type(value) is int
            return value

        yield number


def to_do(database: Database, *kinds: UnitKind) -> int:
    """Count the units of these kinds that run or could, from their rows."""
    with transaction(database) as session:
        active = select(Job.id).where(Job.state.in_(JOB_ACTIVE))
        states = (UnitState.pending, UnitState.running)
        found = select(Unit).where(Unit.state.in_(states), Unit.kind.in_(kinds), Unit.job_id.in_(active))
        return len(session.scalars(found).all())


def test_a_pool_counts_its_units_until_the_last_has_ended(database: Database, ask: Ask) -> None:
    train, draw = pool_query(kinds=["train"]), pool_query(kinds=["encode", "generate", "evaluate"])
    everything = pool_query()
    assert [ask(train), ask(draw), ask(everything)] == [0, 0, 0]
    job_id = make_job(database, ready_dataset(database, rows=1000))
    seen = {"train": 0, "draw": 0}
    while job_of(database, job_id).state is not JobState.succeeded:
        expected = to_do(database, UnitKind.encode, UnitKind.generate, UnitKind.evaluate)
        assert ask(draw) == expected
        seen["draw"] = max(seen["draw"], expected)
        claim = claim_next(database)
        mine = train if claim.kind is UnitKind.train else draw
        if claim.kind is not UnitKind.publish:
            assert ask(mine) > 0
        assert ask(everything) == to_do(database, *UnitKind) > 0
        seen["train"] = max(seen["train"], ask(train))
        succeed(database, claim)
    assert [ask(train), ask(draw), ask(everything)] == [0, 0, 0]
    assert seen == {"train": 1, "draw": 9}  # eight shards are generated beside what is left of the rest


def test_what_cannot_start_is_not_counted_but_what_runs_is(database: Database, ask: Ask) -> None:
    train = pool_query(kinds=["train"])
    job_id = make_job(database, ready_dataset(database))
    claim = run_until(database, UnitKind.train)
    with transaction(database) as session:
        control.pause_job(session, project_id=PROJECT, job_id=job_id)
    assert ask(train) == 1  # it writes its checkpoint
    with transaction(database) as session:
        units.release_unit(session, claim)
    assert ask(train) == 0  # pending, of a paused job
    with transaction(database) as session:
        control.resume_job(session, project_id=PROJECT, job_id=job_id)
    assert ask(train) == 1
    claim = run_until(database, UnitKind.train)
    with transaction(database) as session:
        units.fail_unit(session, claim, reason=Reason.internal, message="it broke")
    with transaction(database) as session:
        session.execute(
            update(Unit).where(Unit.id == claim.unit_id).values(not_before=text("now() + interval '1 h'"))
        )
    assert ask(train) == 0  # waits for its next attempt
    with transaction(database) as session:
        session.execute(update(Unit).where(Unit.id == claim.unit_id).values(not_before=text("now()")))
    assert ask(train) == 1
    with transaction(database) as session:
        control.cancel_job(session, project_id=PROJECT, job_id=job_id)
    assert ask(train) == 0


def test_others_queues_devices_and_sizes_are_not_the_pools(database: Database, ask: Ask) -> None:
    dataset = ready_dataset(database)
    small, big = make_job(database, dataset), make_job(database, dataset, queue="big-1_x")
    with transaction(database) as session:
        session.execute(
            update(Unit)
            .where(Unit.job_id == big)
            .values(device=Device.gpu, memory_bytes=30 << 30, content_key=None)
        )
    [first] = [unit for unit in units_of(database, small) if unit.state is UnitState.pending]
    assert first.device is Device.cpu
    assert ask(pool_query(kinds=["encode"])) == 1
    assert ask(pool_query(kinds=["encode"], queues=["big-1_x"])) == 1
    assert ask(pool_query(kinds=["encode"], queues=["default", "big-1_x"])) == 2
    assert ask(pool_query(kinds=["encode"], queues=["default", "big-1_x"], gpus=0)) == 1
    assert ask(pool_query(kinds=["encode"], queues=["big-1_x"], gpuMemory="24GB")) == 0
    assert ask(pool_query(kinds=["encode"], queues=["big-1_x"], gpuMemory="30GB")) == 1
    assert ask(pool_query(kinds=["train"], queues=["default", "big-1_x"])) == 0


def test_what_another_makes_already_is_not_counted_twice(database: Database, ask: Ask) -> None:
    dataset = ready_dataset(database)
    for _ in range(3):
        make_job(database, dataset)  # they share what is encoded
    encode = pool_query(kinds=["encode"])
    claim = claim_next(database)
    assert claim.kind is UnitKind.encode
    assert ask(encode) == 1


def test_a_project_is_given_no_more_than_it_may_run(database: Database, ask: Ask) -> None:
    make_job(database, ready_dataset(database, rows=1000))
    held = run_until(database, UnitKind.generate)
    generate = pool_query(kinds=["generate"])
    every = ask(generate)
    assert every == 8

    def limit(most: int | None) -> int:
        with transaction(database) as session:
            session.execute(update(Project).where(Project.id == PROJECT).values(max_running=most))
        return ask(generate)

    assert [limit(3), limit(1), limit(0), limit(None)] == [3, 1, 1, every]
    succeed(database, held)
    assert limit(3) == 3


def test_a_gang_is_as_many_pods_as_its_nodes(database: Database, ask: Ask) -> None:
    dataset = ready_dataset(database)
    gang = pool_query(kinds=["train"], nodes=4)
    for _ in range(2):
        make_job(database, dataset)
    claim = run_until(database, UnitKind.train)
    assert ask(gang) == 4
    run_until(database, UnitKind.train)
    assert ask(gang) == 8
    succeed(database, claim)
    assert ask(gang) == 4


def test_pictures_count_until_they_are_drawn_or_overdue(database: Database, ask: Ask) -> None:
    query = query_in(render(scenario("scaled-job")).of("ScaledObject")["serve"])
    assert ask(query) == 0
    with transaction(database) as session:
        ground(session)
        common: dict[str, Any] = {
            "project_id": PROJECT,
            "model_id": "starter",
            "pipeline": "folder:/x",
            "request": {},
        }
        session.add_all(
            [
                Drawing(id="a", pictures=4, **common),
                Drawing(id="b", pictures=2, state=DrawingState.running, **common),
                Drawing(id="c", pictures=8, state=DrawingState.succeeded, **common),
            ]
        )
    assert ask(query) == 6
    with transaction(database) as session:
        overdue = text("now() - interval '1 s'")
        session.execute(update(Drawing).values(deadline_at=overdue))
    assert ask(query) == 2
