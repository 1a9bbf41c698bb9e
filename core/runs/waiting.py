"""How long a queued job waits: its place, when it may start, and which worker is missing."""

import heapq
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core import workers
from core.models import JOB_ACTIVE, UNIT_ENDED, Job, JobState, Project, Unit, UnitKind, UnitState
from core.runs.capabilities import Need, Node, waits_for
from core.runs.elsewhere import need_of
from core.runs.shares import NEVER_SERVED

MOST = 200  # jobs looked at whenever a queued one is shown; a place beyond is told as the one after them


@dataclass(frozen=True)
class Queued:
    """A job that waits, or one that runs."""

    id: str
    project_id: str
    priority: int
    queue: str
    seconds: float | None
    """Of work that is left, for one worker; None: not known."""


@dataclass(frozen=True)
class Wait:
    """What a queued job waits for."""

    position: int
    """1 for the job that is started next on its queue."""
    seconds: float | None
    """Until a worker may start it; None: not known."""


def in_turn(
    queued: Sequence[Queued], running: Mapping[str, int], shares: Mapping[str, float]
) -> list[Queued]:
    """Return jobs in the order in which they are started: as units are claimed (core.runs.candidates).

    Args:
        queued: the jobs of one queue, each project's oldest first.
        running: how many units each project runs.
        shares: how much each project was served lately.
    """
    order: list[Queued] = []
    for priority in sorted({job.priority for job in queued}, reverse=True):
        lines: dict[str, deque[Queued]] = defaultdict(deque)
        for job in queued:
            if job.priority == priority:
                lines[job.project_id].append(job)
        turns = [(running.get(name, 0), shares.get(name, NEVER_SERVED), name) for name in lines]
        heapq.heapify(turns)
        while turns:
            held, share, name = turns[0]
            order.append(lines[name].popleft())
            if lines[name]:
                heapq.heapreplace(turns, (held + 1, share, name))
            else:
                heapq.heappop(turns)
    return order


def starts_in(ahead: Sequence[float | None], number: int) -> float | None:
    """Return the seconds until some workers have done what is ahead; None when that is not known."""
    if number == 0 or any(seconds is None for seconds in ahead):
        return None
    return sum(filter(None, ahead)) / number


def waits(session: Session, *, now: datetime, one_more: Queued | None = None) -> dict[str, Wait]:
    """Return what each of the next queued jobs waits for, by its id.

    ``one_more`` is a job that is not there yet, to see how it would wait.
    """
    queued = _jobs(session, JobState.queued, now)
    if one_more is not None:
        queued.append(one_more)
    if not queued:
        return {}
    nodes = workers.living(session)
    at_work = _jobs(session, JobState.running, now)
    count = select(Unit.project_id, func.count()).where(Unit.state == UnitState.running)
    running = {name or "": number for name, number in session.execute(count.group_by(Unit.project_id))}
    shares = {
        project: share
        for project, share in session.execute(select(Project.id, Project.share))
        if share is not None
    }
    found: dict[str, Wait] = {}
    for queue in {job.queue for job in queued}:
        number = sum(queue in node.has.queues and UnitKind.train in node.kinds for node in nodes)
        ahead = [job.seconds for job in at_work if job.queue == queue]
        ahead = ahead if len(ahead) >= number else []  # a worker is idle, or about to be
        order = in_turn([job for job in queued if job.queue == queue], running, shares)
        for position, job in enumerate(order, start=1):
            found[job.id] = Wait(position, starts_in(ahead, number))
            ahead.append(job.seconds)
    return found


def _jobs(session: Session, state: JobState, now: datetime) -> list[Queued]:
    """Return the first jobs in a state by priority and age, with what is left of their estimated time."""
    seconds = Job.estimate["seconds"].as_float().label("seconds")
    columns = (Job.id, Job.project_id, Job.priority, Job.queue, Job.started_at, seconds)
    rows = session.execute(select(*columns).where(Job.state == state).order_by(Job.rank, Job.id).limit(MOST))
    return [
        Queued(row.id, row.project_id, row.priority, row.queue, _left(row.seconds, row.started_at, now))
        for row in rows
    ]


def _left(seconds: float | None, started: datetime | None, now: datetime) -> float | None:
    if seconds is None or started is None:
        return seconds
    return max(0.0, seconds - (now - started).total_seconds())


def missing(job: Job, units: Sequence[Unit], nodes: Sequence[Node]) -> str | None:
    """Say which worker a job lacks, without which it would never end; None: none, or it does not wait."""
    if job.state is JobState.validating_files:
        return waits_for([Need(UnitKind.ingest)], nodes)
    if job.state not in JOB_ACTIVE or job.pause_requested:
        return None
    done = (*UNIT_ENDED, UnitState.running)
    return lacking([need_of(unit) for unit in units if unit.state not in done], nodes)


def lacking(needs: Iterable[Need], nodes: Sequence[Node]) -> str | None:
    """Say which worker is missing for some units; None: none is."""
    return waits_for(dict.fromkeys(needs), nodes)
