"""Anything may happen in any order; what must always hold, holds.

The invariants are those of docs/adr/0002: fences rise, events have no gap, a job ends once and only once, a
model is published when it succeeds, a stale writer is refused, and whatever happened, the job can finish.
"""

import shutil
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select

from core.db import Database, transaction
from core.errors import Conflict, StaleFence
from core.models import JOB_ENDED, Event, Job, JobState, Model, ModelKind, Unit, UnitState
from core.runs import claims, control, reaping, records, units
from core.runs.claims import Claim, Wish
from core.settings import Settings
from tests.core.runs.making import FILES, LEASE, PROJECT, START, make_job, ready_dataset

REASONS = st.sampled_from(["internal", "worker_lost", "out_of_memory", "user_error"])


class Platform(RuleBasedStateMachine):
    """One job, some workers that live, die, stall and come back, and a user who changes their mind."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.state = Path(tempfile.mkdtemp(prefix="spindle-machine-"))
        shutil.copy(self.template, self.state / "spindle.db")
        self.database = Database(Settings(state=self.state, retry_seconds=1.0, shard_rows=50))
        self.now = START
        self.held: list[Claim] = []
        self.fences: dict[str, int] = {}

    def teardown(self) -> None:
        """Whatever happened, honest workers bring the job to its end."""
        if hasattr(self, "job_id"):
            self._finish()
        self.database.dispose()
        shutil.rmtree(self.state)

    @initialize(rows=st.integers(1, 100), sft=st.booleans())
    def a_job(self, rows: int, sft: bool) -> None:
        """Make the one job."""
        dataset = ready_dataset(self.database, rows=rows)
        steps = {"n_iterations": 1, "steps": 2} | ({"sft_steps": 2} if sft else {})
        self.job_id = make_job(self.database, dataset, hyperparameters=steps)

    @rule(worker=st.sampled_from(["a", "b"]))
    def claim(self, worker: str) -> None:
        """Take work, under a fence that was never seen before."""
        with transaction(self.database) as session:
            claim = claims.claim_unit(session, worker=worker, lease_seconds=LEASE, now=self.now)
        if claim is not None:
            assert claim.fence > self.fences.get(claim.unit_id, 0)
            self.fences[claim.unit_id] = claim.fence
            self.held.append(claim)

    @precondition(lambda self: self.held)
    @rule(
        which=st.integers(0, 99),
        how=st.sampled_from(["succeed", "fail", "release", "obey", "checkpoint"]),
        why=REASONS,
    )
    def write(self, which: int, how: str, why: str) -> None:
        """A worker writes; it may have lost its claim long ago."""
        claim = self.held[which % len(self.held)]
        with transaction(self.database) as session:
            lost = claims.wish(session, claim) is Wish.lost
        if lost:
            self.held.remove(claim)
            with pytest.raises(StaleFence):
                self._write(claim, how, why)
            return
        self._write(claim, how, why)
        if how != "checkpoint":
            self.held.remove(claim)

    def _write(self, claim: Claim, how: str, why: str) -> None:
        with transaction(self.database) as session:
            match how:
                case "succeed":
                    units.succeed_unit(session, claim, output={"files": FILES})
                case "fail":
                    units.fail_unit(session, claim, reason=why, message="it broke", now=self.now)
                case "release":
                    units.release_unit(session, claim)
                case "obey":
                    wished = claims.wish(session, claim)
                    units.release_unit(session, claim, cancelled=wished is Wish.cancel)
                case "checkpoint":
                    records.record_checkpoint(session, claim, iteration=1, step=claim.fence, files=FILES)

    @rule(seconds=st.sampled_from([1, 10, 31, 100]))
    def time_passes(self, seconds: int) -> None:
        """Let leases expire, and the reaper come."""
        self.now += timedelta(seconds=seconds)
        with transaction(self.database) as session:
            reaping.reap(session, now=self.now)

    @rule(worker=st.sampled_from(["a", "b"]))
    def a_worker_dies(self, worker: str) -> None:
        """Take from a worker what it holds; what it still writes must be refused."""
        with transaction(self.database) as session:
            reaping.give_back(session, worker=worker, now=self.now)

    @rule(
        wished=st.sampled_from(
            [control.pause_job, control.resume_job, control.resume_job, control.cancel_job]
        )
    )
    def a_user_wishes(self, wished: Callable[..., Job]) -> None:
        """Wish for something, whether it makes sense or not."""
        try:
            with transaction(self.database) as session:
                wished(session, project_id=PROJECT, job_id=self.job_id)
        except Conflict:
            return

    @invariant()
    def it_all_fits(self) -> None:
        """Check the job, its units, its events and its model against each other."""
        if not hasattr(self, "job_id"):
            return
        with transaction(self.database) as session:
            job = session.get_one(Job, self.job_id)
            events = list(session.scalars(select(Event).where(Event.job_id == job.id).order_by(Event.seq)))
            made = session.scalar(select(func.count()).where(Model.kind == ModelKind.result))
            open_units = session.scalars(select(Unit.state).where(Unit.job_id == job.id)).all()
        assert [event.seq for event in events] == list(range(1, job.event_seq + 1))
        ends = [
            event
            for event in events
            if event.type == "state" and event.data and JobState(event.data["state"]) in JOB_ENDED
        ]
        if job.state in JOB_ENDED:
            assert len(ends) == 1
            assert ends[0] is events[-1]
            assert not {UnitState.waiting, UnitState.pending, UnitState.running} & set(open_units)
            assert (job.failure is None) == (job.state is not JobState.failed)
        else:
            assert ends == []
        if job.state is JobState.succeeded:
            assert (made, job.result_model_id is None) == (1, False)
        if job.state is JobState.paused:
            assert UnitState.running not in open_units
        assert made == (job.result_model_id is not None)

    def _finish(self) -> None:
        for _ in range(200):
            with transaction(self.database) as session:
                job = session.get_one(Job, self.job_id)
                if job.state in JOB_ENDED:
                    return
                if job.state is JobState.paused or job.pause_requested:
                    control.resume_job(session, project_id=PROJECT, job_id=self.job_id)
            self.now += timedelta(seconds=40)
            with transaction(self.database) as session:
                claim = claims.claim_unit(session, worker="honest", lease_seconds=LEASE, now=self.now)
                if claim is not None:
                    units.succeed_unit(session, claim, output={"files": FILES})
        raise AssertionError(f"the job cannot be finished: {job.state}")


def test_whatever_happens_the_invariants_hold(sqlite_template: Path) -> None:
    machine = type("OnThisTemplate", (Platform,), {"template": sqlite_template})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            phases=(Phase.generate,),  # a failure is at most 25 steps, and making it shorter takes minutes
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
