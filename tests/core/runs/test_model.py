"""Every order of requests, workers, clocks and accidents: the database against a plain model of it.

``make model`` runs thousands of steps; in the test suite it is some hundred.
"""

import os
import shutil
import tempfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, note
from hypothesis import settings as chosen
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, select

from core import schema
from core.db import Database, transaction
from core.errors import Conflict, StaleFence
from core.models import Event, Job, Outbox, Unit
from core.runs import claims, control, reaping, records, units
from core.runs.claims import Claim
from core.settings import Settings
from tests.core.runs.making import FILES, PROJECT, after, make_job, ready_dataset
from tests.core.runs.reference import ENDED, MAX_ATTEMPTS, RETRY_SECONDS, Reference, Refused

LEASE = 30.0
MOST_OPEN = 4
STEPS = int(os.environ.get("MODEL_STEPS", "120"))
STEPS_AT_ONCE = 40 if STEPS < 2000 else 400
METHODS: dict[str, dict[str, Any]] = {"sft": {"steps": 4}, "spin": {"n_iterations": 1, "steps": [3]}}
# In which proportion things happen: enough claims and finishes that jobs get far, few wishes and accidents.
ACTIONS = (
    ["claim"] * 10
    + ["finish"] * 8
    + ["submit", "time_passes"] * 3
    + ["renew", "fail", "stop", "checkpoint", "cancel", "pause", "resume", "resume"] * 2
    + ["fail_for_good", "reap", "restart", "lose_messages"]
)
WISHES = {"cancel": control.cancel_job, "pause": control.pause_job, "resume": control.resume_job}
SECONDS = [0.5, 2.0, 8.0, LEASE - 1, LEASE, LEASE + 1, 3 * LEASE]
taken: list[str] = []  # the rules that were run, to be counted


@lru_cache(maxsize=1)
def template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="spindle-model-"))
    database = Database(Settings(state=folder))
    schema.move(database)
    database.dispose()
    return folder / "spindle.db"


class Machine(RuleBasedStateMachine):
    """Does the same to the database and to the reference, and compares."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="spindle-model-"))
        shutil.copy(template(), self.folder / "spindle.db")
        settings = Settings(
            state=self.folder, max_attempts=MAX_ATTEMPTS, retry_seconds=RETRY_SECONDS, shard_rows=50
        )
        self.database = Database(settings)
        self.dataset_id = ready_dataset(self.database, rows=100)
        self.reference = Reference()
        self.claims: list[Claim] = []
        self.names: dict[str, tuple[str, str]] = {}  # of units, by id: (job, name in the reference)

    def teardown(self) -> None:
        """All is well in the end: whatever happened, the jobs end, and their histories are whole."""
        try:
            for job_id, job in self.reference.jobs.items():
                if job.state == "paused" or job.pausing:
                    self._wish(job_id, "resume")
            while self.reference.open_jobs():
                self.reference.now += 100 * LEASE  # leases run out, and retries become due
                while self._claim_by("last"):
                    self._finish(self.claims[-1])
                    self.compare()
            self._histories()
        finally:
            self.database.dispose()
            shutil.rmtree(self.folder)

    def _histories(self) -> None:
        with transaction(self.database) as session:
            for job_id, job in self.reference.jobs.items():
                told = select(Event).where(Event.job_id == job_id).order_by(Event.seq)
                events = list(session.scalars(told))
                assert [event.seq for event in events] == list(range(1, len(events) + 1))
                data = [event.data or {} for event in events]
                states = [
                    each["state"] for event, each in zip(events, data, strict=True) if event.type == "state"
                ]
                assert [state for state in states if state in ENDED] == [job.state]
                # A job that is cancelled while its last model is measured keeps the model.
                published = job.units["publish 1.0"].state == "succeeded"
                assert [event.type for event in events].count("model") == published
                fences: dict[str, int] = {}
                for event, each in zip(events, data, strict=True):
                    if event.type == "unit" and each["state"] == "running":
                        assert each["fence"] > fences.get(each["unit"], 0)
                        fences[each["unit"]] = each["fence"]

    @rule(number=st.integers(0, 2**24))
    def step(self, number: int) -> None:
        """A user, a worker or an accident does something; all of it follows from the number.

        One rule, for of several Hypothesis switches some off in most runs, and then nothing gets far.
        """
        mixed = zlib.crc32(number.to_bytes(4, "big"))
        action, number = ACTIONS[mixed % len(ACTIONS)], mixed // len(ACTIONS)
        note(f"# {action} {number}")
        if action in ("submit", "time_passes", "claim", "reap", "restart", "lose_messages"):
            taken.append(action)
            getattr(self, f"_{action}")(number)
        elif action in WISHES and self.reference.jobs:
            taken.append(action)
            ids = sorted(self.reference.jobs)
            self._wish(ids[-1 - number % min(len(ids), MOST_OPEN + 1)], action)
        elif action not in WISHES and self.claims:
            claim = self.claims[-1 - number % min(len(self.claims), 6)]
            taken.append(action if self._held(claim) else f"stale {action}")
            self._act(action, claim, number)

    def _submit(self, number: int) -> None:
        if self.reference.open_jobs() == MOST_OPEN:
            return
        kind = sorted(METHODS)[number % 2]
        job_id = make_job(
            self.database,
            self.dataset_id,
            kind=kind,
            hyperparameters=METHODS[kind],
            priority=number // 2 % 2,
        )
        self.reference.submit(job_id, kind)
        with transaction(self.database) as session:
            for unit in session.scalars(select(Unit).where(Unit.job_id == job_id)):
                self.names[unit.id] = (job_id, f"{unit.kind.value} {unit.iteration}.{unit.shard}")

    def _act(self, action: str, claim: Claim, number: int) -> None:
        match action:
            case "renew":
                self._renew(claim)
            case "finish":
                self._finish(claim)
            case "fail":
                self._fail(claim, "internal")
            case "fail_for_good":
                self._fail(claim, "user_error")
            case "stop":
                self._stop(claim)
            case "checkpoint":
                self._checkpoint(claim, step=1 + number % 3)

    def _wish(self, job_id: str, what: str) -> None:
        do = WISHES[what]
        try:
            getattr(self.reference, what)(job_id)
        except Refused:
            with pytest.raises(Conflict), transaction(self.database) as session:
                do(session, project_id=PROJECT, job_id=job_id)
            return
        with transaction(self.database) as session:
            do(session, project_id=PROJECT, job_id=job_id)

    def _claim(self, number: int) -> None:
        self._claim_by(f"worker-{number % 3}")

    def _claim_by(self, worker: str) -> bool:
        now = after(self.reference.now)
        with transaction(self.database) as session:
            claim = claims.claim_unit(session, worker=worker, lease_seconds=LEASE, now=now)
        self._follow(claim)
        if claim is None:
            assert self.reference.claimable() == set()
            assert self.reference.expired() == set()
            return False
        job_id, name = self.names[claim.unit_id]
        assert (job_id, name) in self.reference.claimable()
        self.reference.claim(job_id, name, worker=worker, lease=LEASE)
        assert claim.fence == self.reference.jobs[job_id].units[name].fence
        self.claims.append(claim)
        return True

    def _follow(self, claim: Claim | None) -> None:
        """Let the reference do what a claim does on its way or not: find made units, take expired ones."""
        with transaction(self.database) as session:
            found = {unit.id: (unit.state.value, unit.fence) for unit in session.scalars(select(Unit))}
        here = {self.names[unit_id]: told for unit_id, told in found.items() if unit_id in self.names}
        changed = True
        while changed:
            changed = False
            for each in sorted(self.reference.made_already()):
                if here[each][0] == "succeeded":
                    self.reference.find_made(*each)
                    changed = True
            for job_id, name in sorted(self.reference.expired()):
                mine = claim is not None and self.names[claim.unit_id] == (job_id, name)
                if here[job_id, name][0] != "running" or mine:
                    self.reference.lose(job_id, name, "worker_lost")
                    changed = True

    def _held(self, claim: Claim) -> bool:
        return self.reference.held(*self.names[claim.unit_id], claim.fence)

    def _renew(self, claim: Claim) -> None:
        now = after(self.reference.now)
        with transaction(self.database) as session:
            assert claims.renew(session, claim, lease_seconds=LEASE, now=now) is self._held(claim)
            wished = claims.wish(session, claim).value
        job_id, name = self.names[claim.unit_id]
        assert wished == self.reference.wish(job_id, name, claim.fence)
        if self._held(claim):
            self.reference.jobs[job_id].units[name].lease = self.reference.now + LEASE

    def _finish(self, claim: Claim) -> None:
        if self._write(claim, lambda session: units.succeed_unit(session, claim, output={"files": FILES})):
            self.reference.finish(*self.names[claim.unit_id])

    def _fail(self, claim: Claim, reason: str) -> None:
        now = after(self.reference.now)
        if self._write(
            claim,
            lambda session: units.fail_unit(session, claim, reason=reason, message="it broke", now=now),
        ):
            self.reference.lose(*self.names[claim.unit_id], reason)

    def _stop(self, claim: Claim) -> None:
        cancelled = self.reference.wish(*self.names[claim.unit_id], claim.fence) == "cancel"
        if self._write(claim, lambda session: units.release_unit(session, claim, cancelled=cancelled)):
            self.reference.release(*self.names[claim.unit_id], cancelled=cancelled)

    def _checkpoint(self, claim: Claim, *, step: int) -> None:
        def write(session: Any) -> None:
            told = {"iteration": claim.iteration, "step": step, "files": FILES}
            records.record_checkpoint(session, claim, **told)

        if self._write(claim, write):
            self.reference.checkpoint(*self.names[claim.unit_id], step)

    def _write(self, claim: Claim, work: Any) -> bool:
        """Write with a claim; a stale one must be refused. That nothing changed is seen by ``compare``."""
        if self._held(claim):
            with transaction(self.database) as session:
                work(session)
            return True
        with pytest.raises(StaleFence), transaction(self.database) as session:
            work(session)
        return False

    def _time_passes(self, number: int) -> None:
        self.reference.now += SECONDS[number % len(SECONDS)]

    def _reap(self, _: int) -> None:
        with transaction(self.database) as session:
            reaping.reap(session, now=after(self.reference.now))
            order = list(session.scalars(select(Unit.id).order_by(Unit.id)))
        expired = self.reference.expired()
        for each in (self.names[unit_id] for unit_id in order if unit_id in self.names):
            if each in expired and each in self.reference.expired():  # its job may just have failed
                self.reference.lose(*each, "worker_lost")

    def _restart(self, number: int) -> None:
        worker = f"worker-{number % 3}"
        with transaction(self.database) as session:
            reaping.give_back(session, worker=worker, now=after(self.reference.now))
            order = list(session.scalars(select(Unit.id).order_by(Unit.id)))
        for job_id, name in (self.names[unit_id] for unit_id in order if unit_id in self.names):
            unit = self.reference.jobs[job_id].units[name]
            if (unit.state, unit.worker) == ("running", worker):
                self.reference.lose(job_id, name, "worker_lost")

    def _lose_messages(self, _: int) -> None:
        with transaction(self.database) as session:
            session.execute(delete(Outbox))
        for message in (self.folder / "queue" / "messages").glob("*.msg"):
            message.unlink()

    @invariant()
    def compare(self) -> None:
        """Every job and unit is as it should be."""
        with transaction(self.database) as session:
            jobs = {
                job.id: (job.state.value, job.pause_requested, job.cancel_requested, job.result_model_id)
                for job in session.scalars(select(Job))
            }
            found = {
                self.names[unit.id]: (unit.state.value, unit.fence, unit.attempt, unit.failures)
                for unit in session.scalars(select(Unit).where(Unit.job_id.is_not(None)))
            }
        for job_id, job in self.reference.jobs.items():
            *told, model = jobs[job_id]
            assert told == [job.state, job.pausing, job.cancelling], job_id
            published = job.units["publish 1.0"].state == "succeeded"
            assert (model is not None) == published, job_id
            for name, unit in job.units.items():
                expected = (unit.state, unit.fence, unit.attempt, unit.failures)
                assert found[job_id, name] == expected, (job_id, name)


def test_the_database_does_what_the_model_does() -> None:
    taken.clear()
    examples = max(1, STEPS // STEPS_AT_ONCE)
    run_state_machine_as_test(
        Machine,
        settings=chosen(
            max_examples=examples,
            stateful_step_count=STEPS_AT_ONCE,
            deadline=None,
            database=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(f"{len(taken)} steps: " + ", ".join(f"{taken.count(each)} {each}" for each in sorted(set(taken))))
    assert len(taken) >= STEPS // 4
