"""A PostgreSQL database full of jobs, units, attempts and events, written by the server itself."""

from dataclasses import dataclass

import psycopg

from core import schema
from core.db import Database, transaction
from core.models import Dataset, DatasetState, File, Model, ModelKind, Project
from core.settings import Settings

PROJECTS = 10
UNITS_OF_JOB = 10
EVENTS_OF_JOB = 50
BACKLOG = 0.01  # of the jobs wait for a worker, each with one unit
RUNNING = 0.001
SHARD = {"path": "shard-00000.tar", "key": "k/s", "sha256": "b" * 64, "size": 5}


@dataclass(frozen=True)
class Filled:
    """A database, how much is in it, and some of its jobs."""

    settings: Settings
    jobs: int
    units: int
    events: int
    open_job: str
    """One that runs, whose train unit is held under fence 1."""
    open_unit: str
    middle_job: str
    """One in the middle of a project's list."""


def fill(
    settings: Settings, *, jobs: int, backlog: float = BACKLOG, events_of_job: int = EVENTS_OF_JOB
) -> Filled:
    """Make the tables and write so many jobs, the newest of them waiting or running."""
    database = Database(settings)
    schema.move(database)
    _ground(database)
    database.dispose()
    url = settings.database_url.replace("postgresql+psycopg://", "postgresql://")
    queued, running = max(2, int(jobs * backlog)), max(1, int(jobs * RUNNING))
    numbers = {"jobs": jobs, "waits": jobs - queued, "runs": jobs - queued - running}
    numbers["events"] = events_of_job
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")  # foreign keys hold by construction
        connection.execute("SET synchronous_commit = off")
        for statement in (JOBS, UNITS, ATTEMPTS, EVENTS):
            connection.execute(statement.format(**numbers))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    middle = jobs // 2 - jobs // 2 % PROJECTS
    return Filled(
        settings=settings,
        jobs=jobs,
        units=jobs * UNITS_OF_JOB,
        events=jobs * events_of_job,
        open_job=f"ftjob-0{jobs - queued:025d}",
        open_unit=f"unit-0{jobs - queued:021d}0004",
        middle_job=f"ftjob-0{middle:025d}",
    )


def _ground(database: Database) -> None:
    """Write projects, a base model, and for each project a file and a dataset that is ready."""
    with transaction(database) as session:
        session.add(Model(id="base", kind=ModelKind.base, source="folder:/base", digest="d", defaults={}))
        for number in range(PROJECTS):
            project_id = f"proj-{number}"
            session.add(Project(id=project_id, name=project_id, open_jobs=0))
            session.flush()
            file = {"filename": "a.zip", "purpose": "fine-tune", "bytes": 9, "sha256": "c" * 64, "key": "k"}
            session.add(File(id=f"file-{number}", project_id=project_id, **file))
            session.flush()
            ready = {"state": DatasetState.ready, "rows": 100, "sha256": f"{number:064d}", "shards": [SHARD]}
            session.add(
                Dataset(
                    id=f"ds-{number}",
                    project_id=project_id,
                    name="d",
                    version=1,
                    file_id=f"file-{number}",
                    pages=[],
                    **ready,
                )
            )


JOBS = """
INSERT INTO job (id, project_id, model_id, base_model_id, pipeline, pipeline_digest, dataset_id, method, seed,
    priority, rank, state, pause_requested, cancel_requested, event_seq, metric_seq, created_at, started_at,
    finished_at)
SELECT 'ftjob-0' || lpad(n::text, 25, '0'), 'proj-' || n % 10, 'base', 'base', 'folder:/base', 'd',
    'ds-' || n % 10, '{{"type": "sft", "sft": {{"hyperparameters": {{"steps": 4}}}}}}', n, 0, 0,
    CASE WHEN n > {waits} THEN 'queued' WHEN n > {runs} THEN 'running' WHEN n % 20 = 0 THEN 'failed'
        ELSE 'succeeded' END,
    false, false, {events}, 0, now() - ({jobs} - n) * interval '1 second',
    CASE WHEN n <= {waits} THEN now() - ({jobs} - n) * interval '1 second' END,
    CASE WHEN n <= {runs} THEN now() - ({jobs} - n) * interval '1 second' END
FROM generate_series(1, {jobs}) n
"""
UNITS = """
INSERT INTO unit (id, job_id, project_id, queue, device, kind, iteration, shard, shards, position, priority,
    rank, memory_bytes, alike, state, needs, attempt, failures, fence, lease_expires_at, worker, output,
    created_at, started_at, finished_at)
SELECT 'unit-0' || lpad(n::text, 21, '0') || lpad(p::text, 4, '0'), 'ftjob-0' || lpad(n::text, 25, '0'),
    'proj-' || n % 10, 'default', 'cpu',
    (ARRAY['encode','evaluate','generate','generate','train','evaluate','generate','generate','train',
        'publish'])[p + 1],
    (ARRAY[0, -1, 1, 1, 1, 1, 2, 2, 2, 2])[p + 1], CASE WHEN p IN (3, 7) THEN 1 ELSE 0 END,
    CASE WHEN p IN (2, 3, 6, 7) THEN 2 ELSE 1 END, p, 0, 0, 0, 0,
    CASE WHEN n > {waits} THEN CASE WHEN p = 0 THEN 'pending' ELSE 'waiting' END
        WHEN n > {runs} THEN
            CASE WHEN p < 4 THEN 'succeeded' WHEN p = 4 THEN 'running' ELSE 'waiting' END
        WHEN n % 20 = 0 AND p > 7 THEN 'cancelled' ELSE 'succeeded' END,
    '[]', CASE WHEN n > {waits} THEN 0 ELSE 1 END, 0, CASE WHEN n > {waits} THEN 0 ELSE 1 END,
    CASE WHEN n > {runs} AND n <= {waits} AND p = 4 THEN now() + interval '1 day' END,
    CASE WHEN n > {runs} AND n <= {waits} AND p = 4 THEN 'bench' END,
    CASE WHEN n <= {runs}
        THEN '{{"files": [{{"path": "a", "key": "k", "sha256": "s", "size": 1}}]}}'::jsonb END,
    now() - ({jobs} - n) * interval '1 second', now() - ({jobs} - n) * interval '1 second',
    CASE WHEN n <= {runs} OR (n <= {waits} AND p < 4) THEN now() - ({jobs} - n) * interval '1 second' END
FROM generate_series(1, {jobs}) n, generate_series(0, 9) p
"""
ATTEMPTS = """
INSERT INTO attempt (unit_id, fence, worker, started_at, ended_at, outcome, counted, gpus)
SELECT id, fence, 'units-' || abs(hashtext(id)) % 64 || '@host', started_at,
    CASE WHEN state <> 'running' THEN started_at + interval '60 seconds' END,
    CASE WHEN state <> 'running' THEN 'succeeded' END, CASE WHEN state <> 'running' THEN 2 ELSE 1 END, 0
FROM unit WHERE fence = 1
"""
EVENTS = """
INSERT INTO event (id, job_id, seq, type, level, message, data, created_at)
SELECT 'evt-0' || lpad(n::text, 20, '0') || lpad(s::text, 5, '0'), 'ftjob-0' || lpad(n::text, 25, '0'), s,
    'metrics', 'info', 'Iteration 1, step ' || s || ': loss 0.1234',
    jsonb_build_object('iteration', 1, 'step', s, 'loss', 0.1234), now() - ({jobs} - n) * interval '1 second'
FROM generate_series(1, {jobs}) n, generate_series(1, {events}) s
"""
