"""Nothing that a row tells of is ever deleted, and nothing else stays, whatever crashes between two steps."""

import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select

from core import registry
from core.clock import utcnow
from core.db import Database, transaction
from core.errors import NotFound
from core.ids import new_id
from core.models import Checkpoint, Job, JobState, Model, Unit, UnitKind, UnitState
from core.runs import claims, control, garbage, leftovers, records, units
from core.runs.claims import Claim
from core.runs.retention import Candidate, Retention, expendable
from core.settings import Settings
from core.storage.store import store_for
from tests.chaos.history import read
from tests.core.runs.making import PROJECT, make_job, ready_dataset

KEEP = 2
NEVER = 10**9


class Crash(Exception):  # noqa: N818
    """The process is gone."""


class World:
    """A platform in a folder, whose process can be made to crash before any commit and any deletion."""

    def __init__(self, folder: Path) -> None:
        chosen = Settings(state=folder, retry_seconds=0)
        self.database, self.real = Database(chosen), store_for(chosen)
        self.left = NEVER
        self.claims: list[Claim] = []
        event.listen(self.database.engine, "commit", lambda _: self.step())
        for key in ("k/file", "k/shard"):
            self.real.put(key, io.BytesIO(b"x"), 1)
        self.dataset = ready_dataset(self.database, rows=4)
        self.job()

    def step(self) -> None:
        """Come one step nearer to the crash."""
        self.left -= 1
        if self.left < 0:
            raise Crash

    def delete(self, key: str) -> None:
        """Delete an object, or crash before it."""
        self.step()
        self.real.delete(key)

    def __getattr__(self, name: str) -> Any:
        """Be the store in all else."""
        return getattr(self.real, name)

    @contextmanager
    def crashing(self, steps: int) -> Iterator[None]:
        """Crash after so many steps of the block, or not at all if it has fewer."""
        self.left = steps
        with suppress(Crash):
            yield
        self.left = NEVER

    def job(self, **more: Any) -> None:
        """Make a job that keeps two checkpoints."""
        make_job(self.database, self.dataset, kind="sft", retention=Retention(keep_last=KEEP), **more)

    def put(self, claim: Claim, folder: str, *paths: str) -> list[dict[str, Any]]:
        """Upload as an attempt does."""
        files = []
        for path in paths:
            key = f"{claim.prefix}/{folder}/{path}"
            stored = self.real.put(key, io.BytesIO(path.encode()), None)
            told = {"path": path, "key": key, "sha256": stored.sha256}
            files.append(told | {"size": stored.size})
        return files

    def claim(self) -> Claim | None:
        """Return the claim at work, a new one if there is none."""
        if self.claims:
            with transaction(self.database) as session:
                if claims.wish(session, self.claims[-1]) is claims.Wish.go_on:
                    return self.claims[-1]
        with transaction(self.database) as session:
            found = claims.claim_unit(session, worker="w", lease_seconds=3600)
        if found is not None:
            self.claims.append(found)
        return found

    def collect(self) -> None:
        """Do all that keeps objects from piling up, two days from now."""
        later = utcnow() + timedelta(days=2)
        with transaction(self.database) as session:
            garbage.forget_models(session, now=later)
        leftovers.clear(self.database, self, limit=10_000, now=later)  # type: ignore[arg-type]
        garbage.sweep(self.database, self, now=later)  # type: ignore[arg-type]

    def told_and_there(self) -> tuple[set[str], set[str]]:
        """Return the keys that rows tell of, and those that are in the store."""
        found = read(self.database, self.real, accepted={}, reference={}, processes=0)
        return set(found.referenced), set(found.objects)


def work(world: World, number: int) -> None:
    """Go on with what is to be done: a training writes a checkpoint each time, and ends now and then."""
    claim = world.claim()
    if claim is None:
        return
    if claim.kind is UnitKind.train and number % 4:
        with transaction(world.database) as session:
            found = select(Checkpoint.step).where(Checkpoint.unit_id == claim.unit_id)
            step = max(session.scalars(found), default=0) + 1
        saved = world.put(claim, f"checkpoints/{step}", "weights/a", "state")
        with transaction(world.database) as session:
            loss = {"loss": float(number % 7)}
            told = {"iteration": claim.iteration, "step": step, "files": saved, "metrics": loss}
            records.record_checkpoint(session, claim, **told)
        with transaction(world.database) as session:
            freed = records.thin_checkpoints(session, claim)
        for key in freed:
            world.delete(key)
        return
    files = world.put(claim, "out", "weights/a", "model/model_index.json")
    with transaction(world.database) as session:
        units.succeed_unit(session, claim, output={"files": files})


def abandon(world: World, number: int) -> None:
    """Upload something of which no row will tell, and lose the claim."""
    claim = world.claim()
    if claim is not None:
        world.put(claim, "out", f"{number}")
        with transaction(world.database) as session:
            units.fail_unit(session, claim, reason="worker_lost", message="lost")


def late(world: World, number: int) -> None:
    """End the upload of a claim of long ago."""
    if world.claims:
        world.put(world.claims[number % len(world.claims)], "late", f"{number}")


def start_from(world: World, number: int) -> None:
    """Make a job that starts from a checkpoint or a model."""
    with transaction(world.database) as session:
        names = [
            *session.scalars(select(Checkpoint.id).order_by(Checkpoint.id)),
            *session.scalars(select(Model.id).where(Model.job_id.is_not(None), Model.deleted_at.is_(None))),
        ]
    if names:
        with transaction(world.database) as session:
            found = registry.resolve_for_use(session, project_id=PROJECT, name=names[number % len(names)])
            session.add(_job_from(session.scalars(select(Job).order_by(Job.id)).first(), found))


def _job_from(like: Job | None, found: registry.Resolved) -> Job:
    assert like is not None
    copied = {name: getattr(like, name) for name in ("project_id", "dataset_id", "method", "seed")}
    source = {"pipeline": found.pipeline, "pipeline_digest": found.digest, "weights": found.weights}
    names = {"model_id": found.model_id, "base_model_id": found.base_model_id}
    return Job(id=new_id("ftjob-"), state=JobState.queued, **copied, **source, **names)


def delete_model(world: World, number: int) -> None:
    """Delete a result."""
    del number
    with transaction(world.database) as session:
        model = session.scalars(select(Model.id).where(Model.job_id.is_not(None))).first()
        if model is not None:
            with suppress(NotFound):
                registry.delete_model(session, project_id=PROJECT, model_id=model)


def collect(world: World, number: int) -> None:
    """Collect garbage."""
    del number
    world.collect()


ACTIONS = [work, work, work, work, abandon, late, start_from, delete_model, collect]


@given(
    st.lists(
        st.tuples(st.sampled_from(ACTIONS), st.integers(0, 50), st.one_of(st.none(), st.integers(0, 12))),
        min_size=5,
        max_size=30,
    )
)
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
def test_whatever_crashes_what_is_told_of_stays_and_nothing_else(
    sqlite_template: Path, story: list[tuple[Any, int, int | None]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(sqlite_template, Path(folder) / "spindle.db")
        world = World(Path(folder))
        try:
            for action, number, crash in story:
                with world.crashing(NEVER if crash is None else crash):
                    action(world, number)
                told, there = world.told_and_there()
                assert told <= there, action
            _end(world)
            world.collect()
            told, there = world.told_and_there()
            assert told == there
        finally:
            world.database.dispose()


def _end(world: World) -> None:
    """End every job, so that no work may tell of anything any more."""
    with transaction(world.database) as session:
        open_jobs = list(session.scalars(select(Job.id).where(Job.finished_at.is_(None))))
    for job_id in open_jobs:
        with transaction(world.database) as session:
            control.cancel_job(session, project_id=PROJECT, job_id=job_id)
    for claim in world.claims:
        with suppress(claims.StaleFence), transaction(world.database) as session:
            units.release_unit(session, claim, cancelled=True)
    with transaction(world.database) as session:
        running = select(Unit.id).where(Unit.state == UnitState.running)
        assert session.scalars(running).all() == []


def candidate(step: int, value: float | None = None, **more: Any) -> Candidate:
    return Candidate(f"c{step}", "u", 1, step, value, **more)


@pytest.mark.parametrize(
    ("policy", "values", "needed", "gone"),
    [
        (Retention(), [3.0, 1.0, 2.0, 4.0], (), []),
        (Retention(keep_last=1), [3.0, 1.0, 2.0, 4.0], (), ["c1", "c3"]),
        (Retention(keep_last=2), [3.0, 1.0, 2.0, 4.0], (), ["c1"]),
        (Retention(keep_last=1, best="highest"), [3.0, 1.0, 2.0, 2.5], (), ["c2", "c3"]),
        (Retention(keep_last=1), [3.0, 1.0, 2.0, 4.0], ("c1",), ["c3"]),
        (Retention(keep_last=1), [1.0, 1.0, None, 4.0], (), ["c1", "c3"]),
        (Retention(keep_last=1), [None, None], (), ["c1"]),
    ],
)
def test_the_newest_the_best_and_the_needed_stay(
    policy: Retention, values: list[float | None], needed: tuple[str, ...], gone: list[str]
) -> None:
    candidates = [candidate(step, value) for step, value in enumerate(values, start=1)]
    assert expendable(candidates, policy, needed=needed) == gone
    assert expendable(candidates[::-1], policy, needed=needed) == gone


def test_what_is_resumed_from_and_what_is_yet_to_be_measured_stays() -> None:
    candidates = [
        candidate(1, resumes=True), candidate(2, awaited=True), candidate(3), candidate(4)
    ]  # fmt: skip
    assert expendable(candidates, Retention(keep_last=1), needed=()) == ["c3"]


def test_a_checkpoint_that_is_gone_is_no_model(database: Database) -> None:
    ready_dataset(database)
    with transaction(database) as session, pytest.raises(NotFound):
        registry.resolve_for_use(session, project_id=PROJECT, name="ftckpt-gone")
