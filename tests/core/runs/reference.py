"""What jobs and units should do, in plain Python: the reference that the database is held against.

It is written from docs/architecture.md and not from core: no SQL, no planner, one dict of jobs.
"""

from dataclasses import dataclass, field

MAX_ATTEMPTS = 3  # that failed alike
MOST_FAILURES = 2 * MAX_ATTEMPTS  # of any kind, without progress between them
RETRY_SECONDS = 2.0
ENDED = ("succeeded", "failed", "cancelled")
PLANS: dict[str, list[tuple[str, str, tuple[str, ...]]]] = {
    "sft": [
        ("encode 0.0", "encode", ()),
        ("evaluate -1.0", "evaluate", ("encode 0.0",)),
        ("train 1.0", "train", ("encode 0.0",)),
        ("publish 1.0", "publish", ("train 1.0",)),
        ("evaluate 1.0", "evaluate", ("train 1.0",)),
    ],
    "spin": [
        ("encode 0.0", "encode", ()),
        ("evaluate -1.0", "evaluate", ("encode 0.0",)),
        ("generate 1.0", "generate", ("encode 0.0",)),
        ("generate 1.1", "generate", ("encode 0.0",)),
        ("train 1.0", "train", ("encode 0.0", "generate 1.0", "generate 1.1")),
        ("publish 1.0", "publish", ("train 1.0",)),
        ("evaluate 1.0", "evaluate", ("train 1.0",)),
    ],
}


class Refused(Exception):  # noqa: N818  as the code under test calls it: a conflict
    """The job is in a state in which this cannot be wished."""


@dataclass
class RefUnit:
    """A unit as it should be."""

    kind: str
    needs: tuple[str, ...]
    state: str = "waiting"
    fence: int = 0
    attempt: int = 0
    failures: int = 0
    alike: int = 0
    reason: str = ""
    not_before: float = 0.0
    lease: float = 0.0
    worker: str = ""
    steps: set[int] = field(default_factory=set)


@dataclass
class RefJob:
    """A job as it should be, and its units by name."""

    units: dict[str, RefUnit]
    state: str = "queued"
    pausing: bool = False
    cancelling: bool = False

    @property
    def wanted(self) -> bool:
        """Whether workers may take its units."""
        return self.state in ("queued", "running") and not self.pausing and not self.cancelling


@dataclass
class Reference:
    """Every job; all of them train on one dataset, so that their ``encode`` is one piece of work."""

    jobs: dict[str, RefJob] = field(default_factory=dict)
    now: float = 0.0

    def submit(self, job_id: str, kind: str) -> None:
        """Plan a job whose dataset is ready."""
        self.jobs[job_id] = RefJob({name: RefUnit(unit, needs) for name, unit, needs in PLANS[kind]})
        self.settle(job_id)

    def open_jobs(self) -> int:
        """Count the jobs that have not ended."""
        return sum(job.state not in ENDED for job in self.jobs.values())

    def twin(self, state: str) -> bool:
        """Tell whether an ``encode`` has succeeded, or is being made under a lease."""
        encodes = [job.units["encode 0.0"] for job in self.jobs.values()]
        return any(each.state == state and (state != "running" or each.lease > self.now) for each in encodes)

    def claimable(self) -> set[tuple[str, str]]:
        """Return which units a worker may take now, or find made."""
        return {
            (job_id, name)
            for job_id, job in self.jobs.items()
            for name, unit in job.units.items()
            if job.wanted and unit.state == "pending" and unit.not_before <= self.now
            if unit.kind != "encode" or not self.twin("running")
        }

    def made_already(self) -> set[tuple[str, str]]:
        """Return the units that a worker finds made by another job."""
        return {each for each in self.claimable() if each[1] == "encode 0.0" and self.twin("succeeded")}

    def expired(self) -> set[tuple[str, str]]:
        """Return the units whose workers have been silent for too long."""
        return {
            (job_id, name)
            for job_id, job in self.jobs.items()
            for name, unit in job.units.items()
            if unit.state == "running" and unit.lease < self.now
        }

    def find_made(self, job_id: str, name: str) -> None:
        """Finish a unit without doing it."""
        unit = self.jobs[job_id].units[name]
        unit.state, unit.fence = "succeeded", unit.fence + 1
        self.settle(job_id)

    def claim(self, job_id: str, name: str, *, worker: str, lease: float) -> None:
        """Give a unit to a worker."""
        unit = self.jobs[job_id].units[name]
        unit.state, unit.fence, unit.attempt = "running", unit.fence + 1, unit.attempt + 1
        unit.lease, unit.worker, unit.not_before = self.now + lease, worker, 0.0
        self.jobs[job_id].state = "running"

    def held(self, job_id: str, name: str, fence: int) -> bool:
        """Tell whether a claim is still good."""
        unit = self.jobs[job_id].units[name]
        return unit.state == "running" and unit.fence == fence

    def wish(self, job_id: str, name: str, fence: int) -> str:
        """Return what a worker should do."""
        job = self.jobs[job_id]
        if not self.held(job_id, name, fence):
            return "lost"
        return "cancel" if job.cancelling else "pause" if job.pausing else "go_on"

    def finish(self, job_id: str, name: str) -> None:
        """End a unit well."""
        self.jobs[job_id].units[name].state = "succeeded"
        self.settle(job_id)

    def lose(self, job_id: str, name: str, reason: str) -> None:
        """End an attempt badly: once more after a while, or no more."""
        job, unit = self.jobs[job_id], self.jobs[job_id].units[name]
        unit.alike = unit.alike + 1 if unit.failures and unit.reason == reason else 1
        unit.failures, unit.reason = unit.failures + 1, reason
        parked = reason == "user_error" or unit.alike >= MAX_ATTEMPTS or unit.failures >= MOST_FAILURES
        unit.state = "cancelled" if job.cancelling else "failed" if parked else "pending"
        unit.not_before = self.now + RETRY_SECONDS * 4 ** (unit.failures - 1)
        self.settle(job_id)

    def release(self, job_id: str, name: str, *, cancelled: bool) -> None:
        """Take a unit back unharmed."""
        unit = self.jobs[job_id].units[name]
        unit.state = "cancelled" if cancelled else "pending"
        unit.attempt -= 0 if cancelled else 1
        self.settle(job_id)

    def checkpoint(self, job_id: str, name: str, step: int) -> None:
        """Note progress, which forgives failures; a step twice is none."""
        unit = self.jobs[job_id].units[name]
        if step not in unit.steps:
            unit.steps.add(step)
            unit.failures = 0

    def cancel(self, job_id: str) -> None:
        """Wish for an end."""
        job = self.jobs[job_id]
        if job.state == "cancelled" or job.cancelling:
            return
        if job.state in ENDED:
            raise Refused
        job.cancelling, job.pausing = True, False
        self.settle(job_id)

    def pause(self, job_id: str) -> None:
        """Wish for a rest."""
        job = self.jobs[job_id]
        if job.state == "paused" or job.pausing:
            return
        if job.state in ENDED or job.cancelling:
            raise Refused
        job.pausing = True
        self.settle(job_id)

    def resume(self, job_id: str) -> None:
        """Wish to go on."""
        job = self.jobs[job_id]
        if job.pausing:
            job.pausing = False
        elif job.state == "paused":
            job.state = "queued"
        else:
            raise Refused

    def settle(self, job_id: str) -> None:
        """Let follow what follows from the units' states."""
        job = self.jobs[job_id]
        states = [unit.state for unit in job.units.values()]
        running = "running" in states
        if any(unit.state == "failed" and unit.kind != "evaluate" for unit in job.units.values()):
            self._call_off(job, ("waiting", "pending", "running"))
            job.state, job.pausing = "failed", False
        elif all(state in ("succeeded", "failed") for state in states):
            job.state, job.pausing = "succeeded", False
        elif job.cancelling:
            self._call_off(job, ("waiting", "pending"))
            if not running:
                job.state, job.pausing = "cancelled", False
        else:
            for unit in job.units.values():
                if unit.state == "waiting" and all(
                    job.units[need].state == "succeeded" for need in unit.needs
                ):
                    unit.state = "pending"
            if job.pausing and not running:
                job.state, job.pausing = "paused", False

    def _call_off(self, job: RefJob, states: tuple[str, ...]) -> None:
        for unit in job.units.values():
            if unit.state in states:
                unit.state, unit.fence = "cancelled", unit.fence + 1
