"""The life of workers, and of an api and a beat, in the statements that they send: all by the real functions.

Times are the tests' own wherever a statement compares one with a time that was written before: what is
recorded today must do the same whenever it is sent again.
"""

from sqlalchemy.orm import Session

from core import drawing_claims, drawing_tallies, drawings, idempotency, outbox, sessions, tallies, workers
from core.comparisons import ballots
from core.db import Database, transaction
from core.models import Device, Job, Reason, UnitKind
from core.runs import candidates, claims, control, preemption, reaping, records, units
from core.runs.capabilities import Capabilities
from core.runs.claims import Claim
from core.runs.retention import Retention
from core.settings import Settings
from core.sources import work_for
from core.webhooks import deliveries
from tests.core.runs.making import (
    FILES,
    LEASE,
    PROJECT,
    after,
    claim_next,
    make_job,
    ready_dataset,
    run_until,
    succeed,
)

WORKER, OTHER, SERVE = "units-1@old", "units-2@old", "serve-1@old"
HAS = Capabilities(("default",), Device.cpu, 0, None)


def before_the_migration(database: Database) -> tuple[str, Claim]:
    """Make a dataset and a job, train, and ask for pictures; return the job and what is being trained."""
    beat_once(database)
    dataset = ready_dataset(database, rows=100)
    job_id = make_job(database, dataset, retention=Retention(keep_last=1))
    claim = run_until(database, UnitKind.train, 1)
    write_of(database, claim, step=1)
    ask(database, seed=1)
    return job_id, claim


def after_the_migration(database: Database, settings: Settings, job_id: str, claim: Claim) -> None:
    """Go on as if nothing had happened: a unit from its lease to its end, in every way that it may end."""
    beat_once(database)
    with transaction(database) as session:
        assert claims.renew(session, claim, lease_seconds=LEASE)
        assert claims.wish(session, claim) is claims.Wish.go_on
    write_of(database, claim, step=2)
    with transaction(database) as session:  # SIGTERM
        units.release_unit(session, claim)
    claim = claim_next(database, worker=OTHER)
    assert (claim.kind, claim.attempt) == (UnitKind.train, 1)
    with transaction(database) as session:
        assert work_for(session, unit_id=claim.unit_id).resume is not None
        units.fail_unit(session, claim, reason=Reason.out_of_memory, message="memory ran out", now=after(1))
    claim = claim_next(database, now=after(500))
    with transaction(database) as session:  # the worker is silent
        assert reaping.reap(session, now=after(600)) == 1
    claim = claim_next(database, now=after(2000))
    with transaction(database) as session:  # the worker died, and came back under its name
        assert reaping.give_back(session, worker=claim.worker, now=after(2001)) == 1
    claim = claim_next(database, now=after(9000))
    write_of(database, claim, step=3)
    succeed(database, claim)
    stop_and_go(database, settings, job_id)
    draw(database)
    beat_once(database, settings)
    finish(database)
    beat_once(database, settings)
    with transaction(database) as session:
        workers.leave(session, name=OTHER)


def write_of(database: Database, claim: Claim, *, step: int) -> None:
    """Tell what a training tells."""
    progress = {"type": "progress", "step": step, "total": 3, "seconds": 1.0}
    metrics = {"type": "metrics", "iteration": 1, "step": step, "values": {"loss": 0.5, "bad": None}}
    message = {"type": "message", "text": "all is well"}
    with transaction(database) as session:
        records.record_events(session, claim, [progress, metrics, message])
    with transaction(database) as session:
        shown = {"iteration": 1, "index": 0, "prompt": "a bird", "seed": 3, "key": f"k/sample-{step}"}
        records.record_sample(session, claim, **shown)
    with transaction(database) as session:
        records.record_checkpoint(session, claim, iteration=1, step=step, files=FILES)
    with transaction(database) as session:
        records.thin_checkpoints(session, claim)


def stop_and_go(database: Database, settings: Settings, job_id: str) -> None:
    """Pause, resume and cancel through the api while a unit runs; another job has a higher priority."""
    claim = claim_next(database, now=after(9000))
    with transaction(database) as session:
        control.pause_job(session, project_id=PROJECT, job_id=job_id)
        assert claims.wish(session, claim) is claims.Wish.pause
        units.release_unit(session, claim)
    with transaction(database) as session:
        control.resume_job(session, project_id=PROJECT, job_id=job_id)
    assert settings.preemption
    with transaction(database) as session:
        dataset = session.get_one(Job, job_id).dataset_id
    other = make_job(database, dataset, priority=5)
    with transaction(database) as session:
        preemption.make_way(session)
    claim = claim_next(database, now=after(9000))
    with transaction(database) as session:
        control.cancel_job(session, project_id=PROJECT, job_id=other)
        units.release_unit(session, claim, cancelled=True)


def finish(database: Database) -> None:
    """Run what is left of the jobs, to their models."""
    while True:
        with transaction(database) as session:
            claim = claims.claim_unit(session, worker=WORKER, lease_seconds=LEASE, now=after(9000), has=HAS)
        if claim is None:
            return
        if claim.kind is UnitKind.evaluate:
            line = {"type": "evaluation", "iteration": claim.iteration, "values": {"style": {"value": 0.5}}}
            with transaction(database) as session:
                records.record_events(session, claim, [line])
        succeed(database, claim)


def ask(database: Database, *, seed: int) -> None:
    """Ask for a picture."""
    size = {"width": 64, "height": 64, "steps": 2, "guidance_scale": 2.0, "negative_prompt": None}
    with transaction(database) as session:
        drawings.request_drawing(
            session, project_id=PROJECT, model="starter", prompt="a bird", seeds=[seed], **size
        )


def draw(database: Database) -> None:
    """Draw what was asked for before, and fail at what is asked for now."""
    ask(database, seed=2)
    for works in (True, False):
        with transaction(database) as session:
            [claim] = drawing_claims.claim_drawings(
                session, worker=SERVE, lease_seconds=LEASE, pictures=1, now=after(0)
            )
        with transaction(database) as session:
            drawing_claims.renew_drawings(session, [claim], now=after(0))
            drawing_claims.still_held(session, [claim])
        with transaction(database) as session:
            if works:
                drawing_claims.finish_drawing(session, claim, files=FILES[:1], seconds=1.0)
            else:
                drawing_claims.fail_drawing(session, claim, reason=Reason.internal, message="no")
    with transaction(database) as session:
        drawing_claims.give_back(session, worker=SERVE)


def beat_once(database: Database, settings: Settings | None = None) -> None:
    """Do a beat's duties, and show that workers are there."""
    with transaction(database) as session:
        for name in (WORKER, OTHER):
            workers.heartbeat(session, name=name, kind="units", kinds=tuple(UnitKind), has=HAS)
        workers.heartbeat(session, name=SERVE, kind="serve", unheard_seconds=1.0)
    with transaction(database) as session:
        workers.living(session)
        candidates.adopt(session)
        claims.anything_pending(session, worker=WORKER, has=HAS, now=after(0))
        drawing_claims.anything_pending(session, now=after(0))
        drawings.expire(session)
    if settings is not None:
        outbox.relay(database, settings)
    tallies.count_attempts(database)
    drawing_tallies.count_drawings(database)
    with transaction(database) as session:
        _sweep(session)


def _sweep(session: Session) -> None:
    idempotency.sweep(session)
    sessions.sweep(session)
    workers.sweep(session)
    deliveries.sweep(session)
    ballots.sweep(session)
