"""Jobs as users ask for them: what is resolved, what is refused, how they are listed and described."""

from typing import Any

import pytest

from core.db import Database, transaction
from core.errors import Invalid, NotFound
from core.models import Model, ModelKind, UnitKind
from core.runs import jobs, records, views
from tests.core.runs.making import (
    FILES,
    LEASE,
    PROJECT,
    after,
    claim_next,
    job_of,
    make_job,
    ready_dataset,
    run_until,
    snapshot,
    succeed,
    units_of,
)

SPIN: dict[str, Any] = {"type": "spin"}


def create(database: Database, dataset: str, **values: Any) -> str:
    given: dict[str, Any] = {"model": "starter", "training_file": dataset, "method": SPIN}
    with transaction(database) as session:
        return jobs.create_job(session, project_id=PROJECT, **given | values).id


def test_a_minimal_body_is_resolved_and_gets_a_seed(database: Database) -> None:
    dataset = ready_dataset(database)
    with transaction(database) as session:
        model = session.get_one(Model, "starter")
        model.defaults = {"spin": {"n_iterations": 1, "steps": [9], "beta": [3.0], "learning_rate": [1e-3]}}
    job = job_of(database, create(database, dataset))
    settings = job.method["spin"]["hyperparameters"]
    assert (settings["n_iterations"], settings["steps"], settings["beta"]) == (1, [9], [3.0])
    assert (settings["adapter"], settings["rank"]) == ("lora", 16)
    assert 0 <= job.seed < 2**31
    assert (job.pipeline, job.weights, job.base_model_id) == ("folder:/models/starter", None, "starter")
    assert job_of(database, create(database, dataset, seed=5)).seed == 5


@pytest.mark.parametrize(
    ("method", "param", "said"),
    [
        ({"type": "magic"}, "method.type", "one of spin, sft"),
        ({}, "method.type", "one of spin, sft"),
        ("spin", "method", "method"),
        (SPIN | {"sft": {}}, "method.sft", "unknown field"),
        (
            SPIN | {"spin": {"hyperparameters": {"learning_rate": -1}}},
            "method.spin.hyperparameters.learning_rate",
            "greater than 0, not -1",
        ),
        (
            SPIN | {"spin": {"hyperparameters": {"steps": [5, 0, 5]}}},
            "method.spin.hyperparameters.steps.1",
            "greater than or equal to 1, not 0",
        ),
        (
            SPIN | {"spin": {"hyperparameters": {"learning_rat": 1e-4}}},
            "method.spin.hyperparameters.learning_rat",
            "unknown field",
        ),
        (
            SPIN | {"spin": {"hyperparameters": {"steps": [5, 6]}}},
            "method.spin.hyperparameters.steps",
            "steps has 2 values for n_iterations=3",
        ),
        (
            SPIN | {"spin": {"hyperparameters": {"metrics": ["judge", {"name": "fid", "model": "/etc"}]}}},
            "method.spin.hyperparameters.metrics.1",
            "not as a folder",
        ),
    ],
)
def test_a_method_that_is_wrong_is_refused_by_the_name_of_its_field(
    method: Any, param: str, said: str
) -> None:
    with pytest.raises(Invalid) as caught:
        jobs.resolved_method(method, {})
    assert caught.value.param == param
    assert said in caught.value.message


def test_unknown_things_are_refused_and_leave_nothing(database: Database) -> None:
    dataset = ready_dataset(database)
    before = snapshot(database)
    with pytest.raises(NotFound, match="there are: starter") as caught:
        create(database, dataset, model="sd-9")
    assert caught.value.param == "model"
    for param in ("training_file", "validation_file"):
        with pytest.raises(NotFound) as caught:
            create(database, dataset, **{param: "file-none"})
        assert caught.value.param == param
    with pytest.raises(Invalid):
        create(database, dataset, method={"type": "spin", "spin": {"hyperparameters": {"rank": 0}}})
    assert snapshot(database) == before


def test_a_job_can_start_from_a_result_and_from_a_checkpoint(database: Database) -> None:
    dataset = ready_dataset(database)
    first = make_job(database, dataset)
    claim = run_until(database, UnitKind.train)
    with transaction(database) as session:
        checkpoint = records.record_checkpoint(session, claim, iteration=1, step=3, files=FILES)
    succeed(database, claim)
    while job_of(database, first).result_model_id is None:
        succeed(database, claim_next(database))
    result = str(job_of(database, first).result_model_id)
    from_result = job_of(database, create(database, dataset, model=result))
    from_checkpoint = job_of(database, create(database, dataset, model=checkpoint))
    publish = next(unit for unit in units_of(database, first) if unit.kind is UnitKind.publish)
    assert (from_result.pipeline, from_result.weights) == (f"unit:{publish.id}/model", None)
    assert from_checkpoint.pipeline == "folder:/models/starter"
    assert from_checkpoint.weights == f"checkpoint:{checkpoint}/weights"
    assert from_result.base_model_id == from_checkpoint.base_model_id == "starter"
    with transaction(database) as session:
        assert session.get_one(Model, result).kind is ModelKind.result


def test_lists_are_newest_first_page_by_key_and_keep_to_the_project(database: Database) -> None:
    dataset = ready_dataset(database)
    ids = [make_job(database, dataset, metadata={"run": str(number % 2)}) for number in range(5)]
    with transaction(database) as session:
        page = jobs.list_jobs(session, project_id=PROJECT, limit=2)
        assert ([job.id for job in page.items], page.has_more) == (ids[:2:-1], True)
        page = jobs.list_jobs(session, project_id=PROJECT, limit=3, after=ids[3])
        assert ([job.id for job in page.items], page.has_more) == (ids[2::-1], False)
        odd = jobs.list_jobs(session, project_id=PROJECT, metadata={"run": "1"})
        assert [job.id for job in odd.items] == [ids[3], ids[1]]
        assert jobs.list_jobs(session, project_id="proj-2").items == []
        with pytest.raises(NotFound):
            jobs.get_job(session, project_id="proj-2", job_id=ids[0])


def test_a_description_tells_queue_units_evaluations_and_time_left(database: Database) -> None:
    dataset = ready_dataset(database)
    running, waiting = make_job(database, dataset), make_job(database, dataset)
    first = make_job(database, dataset, priority=3)
    claim = claim_next(database, kinds=(UnitKind.encode,))
    assert claim.job_id == first
    evaluate = None
    line = {
        "type": "evaluation",
        "iteration": -1,
        "values": {"style": {"value": 0.25, "low": 0.2, "high": 0.3}},
    }
    succeed(database, claim)
    evaluate = claim_next(database)
    assert (evaluate.kind, evaluate.iteration) == (UnitKind.evaluate, -1)
    with transaction(database) as session:
        records.record_events(session, evaluate, [line])
    with transaction(database) as session:
        found = [jobs.get_job(session, project_id=PROJECT, job_id=each) for each in (first, running, waiting)]
        details = views.describe_jobs(session, found)
    assert [details[each].queue_position for each in (first, running, waiting)] == [None, 1, 2]
    assert details[first].iterations[0] == {
        "iteration": -1,
        "evaluate": "running",
        "evaluation": {"style": 0.25},
    }
    assert details[first].iterations[2] == {
        "iteration": 2,
        "evaluate": "waiting",
        "evaluation": None,
        "objective": "spin",
        "steps": 4,
    }
    attempts = details[first].attempts
    assert [(unit["kind"], unit["state"]) for unit in attempts[:3]] == [
        ("encode", "succeeded"),
        ("evaluate", "running"),
        ("generate", "pending"),
    ]
    assert attempts[0]["finished_at"] >= attempts[0]["started_at"] > 1.7e9
    assert details[first].estimate is None  # no generate unit was seen at work yet


def test_time_left_is_told_once_every_kind_of_unit_was_seen(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database, rows=10))
    claim = run_until(database, UnitKind.train, 1)
    with transaction(database) as session:  # 2 of 3 steps done, 5 s left: 5 s a step
        progress = {"type": "progress", "what": "train", "step": 2, "of": 3, "seconds_left": 5.0}
        records.record_events(session, claim, [progress])
    with transaction(database) as session:
        job = jobs.get_job(session, project_id=PROJECT, job_id=job_id)
        estimate = views.describe_jobs(session, [job], now=after(LEASE))[job_id].estimate
    assert estimate is not None
    assert estimate["seconds_left"] == pytest.approx(
        5 + 4 * 5, abs=10
    )  # the other units took next to nothing
    assert estimate["finish"] >= after(LEASE).timestamp()


def test_another_projects_job_does_not_exist_for_any_view(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    with transaction(database) as session:
        for view in (views.list_events, views.list_metrics, views.list_samples, views.list_checkpoints):
            with pytest.raises(NotFound):
                view(session, project_id="proj-2", job_id=job_id)
        with pytest.raises(NotFound):
            views.get_checkpoint(session, project_id=PROJECT, checkpoint_id="ftckpt-none")
