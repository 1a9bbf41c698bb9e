"""A project with thousands of jobs and datasets, and how much a page asks of the database."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import event, insert

from core.clock import utcnow
from core.db import Database, transaction
from core.ids import new_id
from core.keys import DEFAULT_PROJECT
from core.models import (
    AuditEntry,
    Dataset,
    DatasetState,
    Device,
    File,
    Job,
    JobState,
    Outcome,
    Unit,
    UnitKind,
    UnitState,
)
from core.runs.jobs import resolved_method
from tests.api.conftest import DEFAULTS

METHOD = resolved_method({"type": "sft"}, DEFAULTS)
RUNNING = 4
PLAN = (
    (UnitKind.encode, 0),
    (UnitKind.evaluate, -1),
    (UnitKind.train, 1),
    (UnitKind.evaluate, 1),
    (UnitKind.publish, 1),
)
REJECTED = [{"file": f"{number}.png", "row": number, "reason": "no picture"} for number in range(20)]
MANIFEST = [{"path": f"page-{n}.json", "key": "k", "sha256": "a" * 64, "size": 9} for n in range(5)]


def fill(database: Database, *, number: int, key_id: str) -> None:
    """Write so many datasets and jobs, of which a tenth waits and a few run."""
    start = utcnow() - timedelta(seconds=number)
    datasets: list[dict[str, Any]] = []
    jobs: list[dict[str, Any]] = []
    units: list[dict[str, Any]] = []
    file = {"filename": "a.zip", "purpose": "fine-tune", "bytes": 9, "sha256": "c" * 64, "key": "k"}
    for at in range(number):
        made = start + timedelta(seconds=at)
        told = {
            "rows": 9,
            "rejected": REJECTED,
            "pages": MANIFEST,
            "shards": MANIFEST[:1],
            "sha256": "e" * 64,
        }
        ready = {"state": DatasetState.ready, "statistics": {"rows": 9}, "created_at": made}
        known = {"project_id": DEFAULT_PROJECT, "name": f"set-{at % 100}", "version": at // 100 + 1}
        datasets.append({"id": new_id("ds-"), "file_id": "file-1", **known, **told, **ready})
        state = JobState.queued if at >= 0.9 * number - RUNNING else JobState.succeeded
        state = JobState.running if at >= number - RUNNING else state
        job = {"id": new_id("ftjob-"), "project_id": DEFAULT_PROJECT, "dataset_id": datasets[-1]["id"]}
        origin = dict.fromkeys(("model_id", "base_model_id", "pipeline", "pipeline_digest"), "tiny")
        jobs.append(job | origin | {"method": METHOD, "seed": 1, "state": state, "created_at": made})
        units += _units(str(job["id"]), state)
    entry = {
        "project_id": DEFAULT_PROJECT,
        "key_id": key_id,
        "method": "POST",
        "route": "/v1/fine_tuning/jobs",
    }
    entries = [
        {"id": new_id("audit-"), "object_id": job["id"], "outcome": Outcome.done, **entry} for job in jobs
    ]
    with transaction(database) as session:
        session.execute(insert(File), [{"id": "file-1", "project_id": DEFAULT_PROJECT, **file}])
        for table, rows in ((Dataset, datasets), (Job, jobs), (Unit, units), (AuditEntry, entries)):
            session.execute(insert(table), rows)


def _units(job_id: str, state: JobState) -> Iterator[dict[str, Any]]:
    for position, (kind, iteration) in enumerate(PLAN):
        stands = UnitState.succeeded if state is JobState.succeeded else UnitState.waiting
        if position == 0 and state is not JobState.succeeded:
            stands = UnitState.running if state is JobState.running else UnitState.pending
        own = {"id": new_id("unit-"), "job_id": job_id, "kind": kind, "state": stands, "position": position}
        own |= {"iteration": iteration}
        yield own | {"project_id": DEFAULT_PROJECT, "device": Device.cpu, "needs": [], "worker": "w"}


@dataclass
class Effort:
    """What was asked of a database."""

    statements: list[str] = field(default_factory=list)
    steps: int = 0
    """Of SQLite's machine, in thousands: some for each row that is looked at."""


@contextmanager
def effort(database: Database) -> Iterator[Effort]:
    """Count statements and the machine's steps while something is asked."""
    found = Effort()

    def count() -> int:
        found.steps += 1
        return 0

    def before(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        found.statements.append(statement)
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        raw.set_progress_handler(count, 1000)

    event.listen(database.engine, "before_cursor_execute", before)
    try:
        yield found
    finally:
        event.remove(database.engine, "before_cursor_execute", before)
