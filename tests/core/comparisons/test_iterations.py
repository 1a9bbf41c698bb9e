"""One click on an iteration of a job: which models it and the one before it are, while the job still runs."""

import pytest
from sqlalchemy import delete, update

from core.clock import utcnow
from core.comparisons import iterations, records
from core.comparisons.iterations import Round
from core.comparisons.records import Plan, Question, Sitting
from core.db import Database, transaction
from core.errors import Conflict, Invalid, NotFound
from core.models import Checkpoint, Job, Model, UnitKind
from core.runs import records as run_records
from core.runs import retention
from core.runs.retention import Retention
from tests.core.runs.making import (
    FILES,
    PROJECT,
    job_of,
    make_job,
    ready_dataset,
    run_until,
    succeed,
)


def round_of(database: Database, job_id: str, iteration: int | None = None) -> Round:
    with transaction(database) as session:
        return iterations.round_of(session, project_id=PROJECT, job_id=job_id, iteration=iteration)


def names(found: Round) -> list[tuple[str, str | None]]:
    return [(each.name, each.label) for each in found.contenders]


def train(database: Database, iteration: int, *, steps: tuple[int, ...] = (2, 3)) -> list[str]:
    """Go on to the end of an iteration's training; return its checkpoints."""
    claim = run_until(database, UnitKind.train, iteration)
    saved = []
    for step in steps:
        with transaction(database) as session:
            saved.append(
                run_records.record_checkpoint(session, claim, iteration=iteration, step=step, files=FILES)
            )
    succeed(database, claim)
    return saved


def test_each_iteration_is_its_last_checkpoint_and_the_last_one_the_result(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    with pytest.raises(Conflict) as refused:
        round_of(database, job_id)
    assert refused.value.code == "iteration_not_trained"
    first = train(database, 1)[-1]
    running = round_of(database, job_id, 1)
    assert names(running) == [("starter", "base"), (first, "iteration 1")]
    assert names(round_of(database, job_id)) == names(running)
    with pytest.raises(Conflict) as refused:
        round_of(database, job_id, 2)
    assert refused.value.code == "iteration_not_trained"
    second = train(database, 2)[-1]
    assert names(round_of(database, job_id, 2)) == [(first, "iteration 1"), (second, "iteration 2")]
    succeed(database, run_until(database, UnitKind.publish))
    result = job_of(database, job_id).result_model_id
    assert result is not None
    assert names(round_of(database, job_id)) == [(first, "iteration 1"), (result, "iteration 2")]
    with transaction(database) as session:
        session.execute(update(Model).where(Model.id == result).values(deleted_at=utcnow()))
    assert names(round_of(database, job_id)) == [(first, "iteration 1"), (second, "iteration 2")]


def test_pictures_are_drawn_as_the_job_previews_them(database: Database) -> None:
    small = {"eval_steps": 9, "eval_guidance": [3.0, 7.5], "resolution": 64}
    job_id = make_job(database, ready_dataset(database), hyperparameters=small)
    train(database, 1)
    assert round_of(database, job_id).sitting == Sitting(steps=9, guidance_scale=3.0, width=64, height=64)


def test_previews_have_a_seed_each(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    with transaction(database) as session:
        assert iterations.previewed(session, job=session.get_one(Job, job_id)) == []
    claim = run_until(database, UnitKind.evaluate)
    with transaction(database) as session:
        for iteration in (-1, 1):
            for index, (prompt, seed) in enumerate((("a fox", 7), ("a bird", 8), ("a fox", 9))):
                run_records.record_sample(
                    session,
                    claim,
                    iteration=iteration,
                    index=index,
                    prompt=prompt,
                    seed=seed,
                    key=f"k/{index}",
                )
        shown = iterations.previewed(session, job=session.get_one(Job, job_id))
    assert shown == [Question("a fox", (7, 9)), Question("a bird", (8,))]


def test_an_iteration_that_is_not_there_or_not_kept_is_told(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    for iteration in (0, 3):
        with pytest.raises(Invalid, match="1 to 2"):
            round_of(database, job_id, iteration)
    with pytest.raises(NotFound):
        round_of(database, "ftjob-none", 1)
    train(database, 1)
    with transaction(database) as session:
        session.execute(delete(Checkpoint))
    with pytest.raises(Conflict) as refused:
        round_of(database, job_id, 1)
    assert refused.value.code == "iteration_not_kept"


def test_checkpoints_that_are_compared_are_not_thinned_out_meanwhile(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database), retention=Retention(keep_last=1))
    first = train(database, 1)[-1]
    found = round_of(database, job_id, 1)
    plan = Plan(found.contenders, [Question(f"prompt {n}", (0,)) for n in range(40)])
    with transaction(database) as session:
        comparison_id = records.create_comparison(session, project_id=PROJECT, plan=plan).id
    second = train(database, 2)
    assert kept(database) == {first, second[-1]}
    with transaction(database) as session:
        records.delete_comparison(session, project_id=PROJECT, comparison_id=comparison_id)
        for drawing in session.query(retention.Drawing):
            drawing.state = "failed"
    with transaction(database) as session:
        retention.thin(session, session.get_one(Job, job_id))
    assert kept(database) == {second[-1]}


def kept(database: Database) -> set[str]:
    with transaction(database) as session:
        return {each.id for each in session.query(Checkpoint)}
