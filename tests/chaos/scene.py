"""What goes on in a stack at the moment, and waiting for the moment that a fault is meant for."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from core.db import transaction
from core.models import Checkpoint, Job, Metric, Unit, UnitKind, UnitState
from tests.chaos import schedule
from tests.chaos.proxy import Act, Phase, Proxy, Rule
from tests.chaos.requests import Requests
from tests.chaos.schedule import Fault
from tests.chaos.stack import Stack

OBJECT = re.compile(r"/jobs/([^/]+)/units/([^/]+)/(\d+)/")
SECONDS = 150.0
LOOK_SECONDS = 0.1
# Each kind of fault has an endpoint of its own: the lease of one whose sender was killed lasts two minutes.
KILLED = "/killed"
FAILING = "/failing"


class Missed(Exception):  # noqa: N818
    """The moment did not come, or passed."""


@dataclass(frozen=True)
class Target:
    """A claim that a fault hits."""

    job: str
    unit: str
    fence: int


@dataclass(frozen=True)
class Running:
    """A unit that runs now."""

    target: Target
    kind: UnitKind
    worker: str
    told: int
    """Steps of its iteration."""
    saved: int
    quiet: bool
    """It has told nothing yet."""


@dataclass(frozen=True)
class View:
    """The units of jobs at one time."""

    running: tuple[Running, ...] = ()
    pending: int = 0
    trained: int = 0


@dataclass
class Scene:
    """A stack that is watched, its client, and the units that a fault has in hand."""

    stack: Stack
    requests: Requests
    archive: bytes
    dataset: str
    view: View = field(default_factory=View)
    _first: dict[Target, int] = field(default_factory=dict)
    """What was told of an iteration when each claim of it was first seen."""
    _busy: set[str] = field(default_factory=set)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Look again and again until the scene ends."""
        while not self._stop.wait(LOOK_SECONDS):
            with suppress(SQLAlchemyError):
                view = look(self.stack)
                for one in view.running:
                    self._first.setdefault(one.target, one.told)
                self.view = view

    def end(self) -> None:
        """Look no more."""
        self._stop.set()

    def submit(self, number: int) -> str:
        """Submit a job: supervised or by self-play; each third on an upload of its own."""
        kind = "spin" if number % 3 == 1 else "sft"
        return self.requests.job(
            kind, self.requests.upload(self.archive) if number % 3 == 2 else self.dataset
        )

    def wait(self, condition: Callable[[], bool], seconds: float = SECONDS) -> None:
        """Wait for something; Missed when it does not come."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline or self._stop.is_set():
                raise Missed
            time.sleep(0.03)

    @contextmanager
    def found(self, fits: Callable[[Running], bool]) -> Iterator[Target]:
        """Yield the first unit that fits and that no other fault has in hand."""
        deadline = time.monotonic() + SECONDS
        while True:
            with self._guard:
                free = [one for one in self.view.running if fits(one) and one.target.unit not in self._busy]
                if free:
                    self._busy.add(free[0].target.unit)
                    break
            if time.monotonic() > deadline or self._stop.is_set():
                raise Missed
            time.sleep(0.02)
        try:
            yield free[0].target
        finally:
            self._busy.discard(free[0].target.unit)

    @contextmanager
    def at(self, fault: Fault) -> Iterator[Target | None]:
        """Wait for a fault's moment and keep it while the block runs; yield whom it hits, if anyone."""
        match fault.moment:
            case schedule.PENDING:
                self.wait(lambda: self.view.pending > 0)
                yield None
            case schedule.BOUNDARY:
                before = self.view.trained
                self.wait(lambda: self.view.trained > before)
                yield None
            case schedule.CLAIMED:
                seen = {one.target for one in self.view.running}
                with self.found(lambda one: one.quiet and one.target not in seen) as target:
                    yield target
            case schedule.MID_STEP:
                with self.found(self._is_amid) as target:
                    yield target
            case schedule.UPLOADED | schedule.FINISHING:
                with self._before_commit(fault.moment) as target:
                    yield target
            case schedule.SENDING:  # on its way, or there without its sender knowing
                phase = Phase.asked if fault.chance < 0.5 else Phase.answered
                with self.held(to_hook(KILLED, Act.strand, phase), by=self.stack.hooks):
                    yield None
            case _:
                with self.held(Rule(FITS[fault.moment], Act.hold, HELD[fault.moment])) as target:
                    yield target

    def _is_amid(self, one: Running) -> bool:
        """Tell whether a claim has told steps of its own since the last checkpoint."""
        first = self._first.get(one.target, one.told)
        return one.kind is UnitKind.train and one.told > max(one.saved, first)

    @contextmanager
    def held(self, rule: Rule, *, by: Proxy | None = None) -> Iterator[Target]:
        """Yield whose request a rule holds, before the store or elsewhere, and let it go after the block."""
        proxy = by or self.stack.s3
        proxy.add(rule)
        try:
            self.wait(rule.met.is_set)
            yield target_of(rule.path)
        finally:
            proxy.drop(rule)

    @contextmanager
    def _before_commit(self, moment: str) -> Iterator[Target]:
        """Yield whose transaction waits for a row that we hold: all is uploaded, and no row tells of it."""
        rule = Rule(FITS[moment], Act.hold, Phase.answered)
        with self.held(rule) as target, self.stack.postgres.locked(target.job) as awaited:
            self.stack.s3.drop(rule)
            self.wait(awaited, 20)
            yield target


def look(stack: Stack) -> View:
    """Ask the database."""
    with transaction(stack.database) as session:
        units = session.scalars(
            select(Unit).where(Unit.state == UnitState.running, Unit.job_id.is_not(None))
        ).all()
        jobs = [unit.job_id for unit in units]
        told = {
            (row.job_id, row.iteration): row.step
            for row in session.execute(
                select(Metric.job_id, Metric.iteration, func.max(Metric.step).label("step"))
                .where(Metric.job_id.in_(jobs))
                .group_by(Metric.job_id, Metric.iteration)
            )
        }
        saved = {
            row.unit_id: row.step
            for row in session.execute(
                select(Checkpoint.unit_id, func.max(Checkpoint.step).label("step"))
                .where(Checkpoint.job_id.in_(jobs))
                .group_by(Checkpoint.unit_id)
            )
        }
        pending = session.scalar(
            select(func.count()).select_from(Unit).where(Unit.state == UnitState.pending)
        )
        trained = session.scalar(
            select(func.count())
            .select_from(Unit)
            .where(Unit.kind == UnitKind.train, Unit.state == UnitState.succeeded)
        )
        return View(
            tuple(
                Running(
                    Target(unit.job_id or "", unit.id, unit.fence),
                    unit.kind,
                    unit.worker or "",
                    told.get((unit.job_id or "", unit.iteration), 0),
                    saved.get(unit.id, 0),
                    unit.progress is None,
                )
                for unit in units
            ),
            pending or 0,
            trained or 0,
        )


def ended(stack: Stack, job_ids: list[str]) -> bool:
    """Tell whether these jobs have all ended."""
    with transaction(stack.database) as session:
        over = select(func.count()).where(Job.id.in_(job_ids), Job.finished_at.is_not(None))
        return session.scalar(over) == len(job_ids)


def target_of(path: str) -> Target:
    """Return whose object a request is about; of a dataset's, nobody's."""
    found = OBJECT.search(path)
    return Target("", "", 0) if found is None else Target(found[1], found[2], int(found[3]))


def to_hook(path: str, act: Act, phase: Phase, *, times: int = 1) -> Rule:
    """Return a rule for the next webhooks to an endpoint."""
    return Rule(lambda _, asked: asked == path, act, phase, times=times)


def _put(part: str) -> Callable[[str, str], bool]:
    return lambda method, path: method == "PUT" and part in path and OBJECT.search(path) is not None


FITS: dict[str, Callable[[str, str], bool]] = {
    schedule.MID_UPLOAD: _put("/checkpoints/"),
    schedule.UPLOADED: _put("/checkpoints/"),
    schedule.FINISHING: _put("/out/weights/"),
    schedule.PUBLISH: _put("/out/model/"),
    schedule.STAGING: lambda method, path: method == "GET" and OBJECT.search(path) is not None,
}
HELD = {schedule.MID_UPLOAD: Phase.half, schedule.PUBLISH: Phase.half, schedule.STAGING: Phase.asked}
