"""A project with a model, a file, a ready dataset, and jobs in any state: made by the real functions."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core import datasets
from core.db import Database, transaction
from core.models import Dataset, Event, File, Job, Model, ModelKind, Project, Unit, UnitKind
from core.runs import claims, jobs, units
from core.runs.claims import Claim

PROJECT = "proj-1"
START = datetime(2026, 1, 1, tzinfo=UTC)
LEASE = 30.0
FILES = [
    {"path": "weights/unet.safetensors", "key": "k/1", "sha256": "a" * 64, "size": 1},
    {"path": "model/model_index.json", "key": "k/2", "sha256": "b" * 64, "size": 2},
]
TINY = {"n_iterations": 2, "steps": [3, 4], "learning_rate": 1e-4, "beta": 10.0}


def after(seconds: float) -> datetime:
    """Return the tests' clock, so many seconds after its start."""
    return START + timedelta(seconds=seconds)


def ground(session: Session) -> None:
    """Make a project, a base model and a file."""
    session.add_all(
        [
            Project(id=PROJECT, name="one"),
            Model(
                id="starter", kind=ModelKind.base, source="folder:/models/starter", digest="d1", defaults={}
            ),
        ]
    )
    session.flush()
    session.add(
        File(
            id="file-1",
            project_id=PROJECT,
            filename="pictures.zip",
            purpose="fine-tune",
            bytes=9,
            sha256="c" * 64,
            key="k/file",
        )
    )
    session.flush()


def ready_dataset(database: Database, *, rows: int = 100) -> str:
    """Make the ground and a dataset that is ready; return its id."""
    with transaction(database) as session:
        ground(session)
        dataset = datasets.create_dataset(session, project_id=PROJECT, name="pictures", file_id="file-1")
    claim = claim_next(database)
    assert claim.kind is UnitKind.ingest
    with transaction(database) as session:
        units.succeed_unit(session, claim, output=ingested(rows))
    return dataset.id


def ingested(rows: int = 100) -> dict[str, Any]:
    """Return what an ingest found."""
    shard = {"path": "shard-00000.tar", "key": "k/shard", "sha256": "e" * 64, "size": 5}
    return {
        "rows": rows,
        "rejected": [],
        "statistics": {},
        "sha256": "f" * 64,
        "shards": [shard],
        "pages": [],
    }


def make_job(
    database: Database,
    dataset_id: str,
    *,
    kind: str = "spin",
    hyperparameters: dict[str, Any] | None = None,
    **values: Any,
) -> str:
    """Make a job, of self-play in two small iterations if nothing else is asked for; return its id."""
    tiny = TINY if kind == "spin" else {}
    method = {"type": kind, kind: {"hyperparameters": tiny | (hyperparameters or {})}}
    with transaction(database) as session:
        return jobs.create_job(
            session,
            project_id=PROJECT,
            model="starter",
            training_file=dataset_id,
            method=method,
            seed=7,
            **values,
        ).id


def claim_next(
    database: Database,
    *,
    worker: str = "units-1",
    now: datetime = START,
    kinds: tuple[UnitKind, ...] = tuple(UnitKind),
) -> Claim:
    """Claim the next unit, which must be there."""
    with transaction(database) as session:
        claim = claims.claim_unit(session, worker=worker, lease_seconds=LEASE, kinds=kinds, now=now)
    assert claim is not None, "nothing to claim"
    return claim


def nothing_to_claim(database: Database, *, now: datetime = START) -> bool:
    """Tell whether a worker would get nothing."""
    with transaction(database) as session:
        return claims.claim_unit(session, worker="idle", lease_seconds=LEASE, now=now) is None


def succeed(database: Database, claim: Claim) -> None:
    """Finish a job's unit with the usual files."""
    with transaction(database) as session:
        units.succeed_unit(session, claim, output={"files": FILES})


def run_until(database: Database, kind: UnitKind, iteration: int | None = None) -> Claim:
    """Claim and finish units until one of this kind (and iteration) is claimed; return that claim."""
    while True:
        claim = claim_next(database)
        if claim.kind is kind and iteration in (None, claim.iteration):
            return claim
        succeed(database, claim)


def job_of(database: Database, job_id: str) -> Job:
    """Return a job as it is."""
    with transaction(database) as session:
        return session.scalars(select(Job).where(Job.id == job_id)).one()


def units_of(database: Database, job_id: str) -> list[Unit]:
    """Return a job's units in the order of the plan."""
    with transaction(database) as session:
        return list(session.scalars(select(Unit).where(Unit.job_id == job_id).order_by(Unit.position)))


def events_of(database: Database, job_id: str) -> list[Event]:
    """Return a job's events in order."""
    with transaction(database) as session:
        return list(session.scalars(select(Event).where(Event.job_id == job_id).order_by(Event.seq)))


def snapshot(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table, to show that nothing has changed."""
    with transaction(database) as session:
        return {
            table.name: sorted((tuple(row) for row in session.execute(select(table))), key=repr)
            for table in Dataset.metadata.sorted_tables
        }
