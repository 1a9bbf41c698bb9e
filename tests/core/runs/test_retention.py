"""Which checkpoints a job keeps, in the database: both kinds of it."""

import threading

from sqlalchemy import select

from core import drawings, registry
from core.db import Database, transaction
from core.models import Checkpoint, Job, UnitKind
from core.runs import records, retention, units
from core.runs.claims import Claim
from core.runs.lifecycle import lock
from core.runs.retention import Retention
from tests.core.runs.making import FILES, PROJECT, make_job, ready_dataset, run_until

LOSSES = (3.0, 1.0, 2.0, 4.0, 5.0)


def save(database: Database, claim: Claim, step: int, loss: float) -> str:
    """Record a checkpoint as a worker does, its objects aside; return its id."""
    with transaction(database) as session:
        key = f"{claim.prefix}/checkpoints/{step}/weights/a"
        files = [{"path": "weights/a", "key": key, "sha256": "a" * 64, "size": 1}]
        told = {"iteration": claim.iteration, "step": step, "files": files}
        return records.record_checkpoint(session, claim, metrics={"loss": loss}, **told)


def thin(database: Database, claim: Claim) -> list[str]:
    with transaction(database) as session:
        return records.thin_checkpoints(session, claim)


def steps(database: Database) -> list[int]:
    with transaction(database) as session:
        return list(session.scalars(select(Checkpoint.step).order_by(Checkpoint.step)))


def training(database: Database, **more: object) -> Claim:
    make_job(database, ready_dataset(database), kind="sft", **more)
    return run_until(database, UnitKind.train)


def test_the_last_and_the_best_stay_and_the_rest_is_told_to_be_deleted(database: Database) -> None:
    claim = training(database, retention=Retention(keep_last=2))
    freed = []
    for step, loss in enumerate(LOSSES, start=1):
        save(database, claim, step, loss)
        freed += thin(database, claim)
    assert steps(database) == [2, 4, 5]
    assert freed == [f"{claim.prefix}/checkpoints/{step}/weights/a" for step in (1, 3)]


def test_all_stay_unless_the_platform_or_the_job_says_otherwise(database: Database) -> None:
    claim = training(database)
    for step, loss in enumerate(LOSSES, start=1):
        save(database, claim, step, loss)
    assert thin(database, claim) == []
    assert steps(database) == [1, 2, 3, 4, 5]
    with transaction(database) as session:
        session.get_one(Job, claim.job_id).retention = {"keep_last": 1, "best": "highest"}
    assert len(thin(database, claim)) == 4  # the newest is the highest as well
    assert steps(database) == [5]


def test_what_a_job_starts_from_or_is_being_drawn_with_stays(database: Database) -> None:
    claim = training(database, retention=Retention(keep_last=1))
    started, drawn, *_ = [
        save(database, claim, step, loss) for step, loss in enumerate((2.0, 3.0, 4.0, 1.0), 1)
    ]
    with transaction(database) as session:
        job = session.get_one(Job, claim.job_id)
        found = registry.resolve_for_use(session, project_id=PROJECT, name=started)
        dataset = session.get_one(Job, claim.job_id).dataset_id
        values = {"method": job.method, "seed": 1, "state": "queued", "dataset_id": dataset}
        names = {"model_id": found.model_id, "base_model_id": found.base_model_id, "project_id": PROJECT}
        source = {"pipeline": found.pipeline, "pipeline_digest": found.digest, "weights": found.weights}
        session.add(Job(id="ftjob-other", **values, **names, **source))
        asked = {"prompt": "a fox", "negative_prompt": None, "seeds": [1], "width": None, "height": None}
        drawings.request_drawing(
            session, project_id=PROJECT, model=drawn, steps=1, guidance_scale=1.0, **asked
        )
    thin(database, claim)
    assert steps(database) == [1, 2, 4]


def test_the_best_by_an_evaluation_is_known_when_it_is_measured(database: Database) -> None:
    claim = training(database, retention=Retention(keep_last=1, best_by="eval/style", best="highest"))
    save(database, claim, 1, 1.0)
    save(database, claim, 2, 1.0)
    thin(database, claim)
    assert steps(database) == [2]
    with transaction(database) as session:
        units.succeed_unit(session, claim, output={"files": FILES})
    evaluation = run_until(database, UnitKind.evaluate, 1)
    values = {"style": {"value": 0.5}}
    with transaction(database) as session:
        line = {"type": "evaluation", "iteration": 1, "values": values}
        records.record_events(session, evaluation, [line])
        units.succeed_unit(session, evaluation, output={"files": FILES})
    assert steps(database) == [2]


def test_who_takes_hold_of_a_checkpoint_is_waited_for(database: Database) -> None:
    claim = training(database, retention=Retention(keep_last=1))
    first = save(database, claim, 1, 9.0)
    save(database, claim, 2, 1.0)
    thinning = threading.Thread(target=_thin_by_job, args=(database, claim.job_id))
    with transaction(database) as session:
        assert retention.take_hold(session, first)
        thinning.start()
        thinning.join(0.3)
        assert thinning.is_alive()
        job = session.get_one(Job, claim.job_id)
        copied = {"method": job.method, "seed": 1, "state": "queued", "dataset_id": job.dataset_id}
        names = {"model_id": first, "base_model_id": "starter", "project_id": PROJECT}
        source = {"pipeline": job.pipeline, "pipeline_digest": "d", "weights": f"checkpoint:{first}/weights"}
        session.add(Job(id="ftjob-other", **copied, **names, **source))
    thinning.join()
    assert steps(database) == [1, 2]


def _thin_by_job(database: Database, job_id: str | None) -> None:
    with transaction(database) as session:
        assert job_id is not None
        retention.thin(session, lock(session, job_id))
