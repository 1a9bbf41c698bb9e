"""What a unit tells becomes events, numbers, previews and checkpoints, once each."""

import math

import pytest

from core.db import Database, transaction
from core.errors import NotFound
from core.models import UnitKind
from core.runs import records, views
from tests.core.runs.making import (
    FILES,
    PROJECT,
    claim_next,
    events_of,
    make_job,
    ready_dataset,
    run_until,
    units_of,
)


def metrics(step: int, **values: float) -> dict[str, object]:
    return {"type": "metrics", "iteration": 1, "step": step, "values": values}


def test_steps_that_run_again_after_a_resume_are_told_once(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    claim = run_until(database, UnitKind.train)
    with transaction(database) as session:
        records.record_events(
            session, claim, [metrics(1, loss=0.7, margin=0.0), metrics(2, loss=0.6, margin=0.1)]
        )
        records.record_events(
            session, claim, [metrics(2, loss=0.6, margin=0.1), metrics(3, loss=0.5, margin=0.2)]
        )
    with transaction(database) as session:
        page = views.list_metrics(session, project_id=PROJECT, job_id=job_id, names=["loss"], limit=2)
        assert [(row.step, row.value) for row in page.items] == [(1, 0.7), (2, 0.6)]
        assert page.has_more
        rest = views.list_metrics(session, project_id=PROJECT, job_id=job_id, after=page.items[-1].seq)
        assert [(row.step, row.name) for row in rest.items] == [(2, "margin"), (3, "loss"), (3, "margin")]
    told = [event.data for event in events_of(database, job_id) if event.type == "metrics"]
    assert told == [
        {"iteration": 1, "step": step, "loss": loss, "margin": margin}
        for step, loss, margin in ((1, 0.7, 0.0), (2, 0.6, 0.1), (3, 0.5, 0.2))
    ]


def test_a_number_that_is_none_is_told_as_null_and_not_kept(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    claim = run_until(database, UnitKind.train)
    with transaction(database) as session:
        records.record_events(session, claim, [metrics(1, loss=math.nan, grad_norm=math.inf, lr=0.1)])
    event = events_of(database, job_id)[-1]
    assert event.level == "warn"
    assert event.data == {"iteration": 1, "step": 1, "loss": None, "grad_norm": None, "lr": 0.1}
    with transaction(database) as session:
        rows = views.list_metrics(session, project_id=PROJECT, job_id=job_id).items
    assert [(row.name, row.value) for row in rows] == [("lr", 0.1)]


def test_an_evaluation_is_an_event_with_its_intervals_and_numbers_of_their_own(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    claim = run_until(database, UnitKind.evaluate)
    values = {
        "style": {"value": 0.4, "low": 0.3, "high": 0.5},
        "fd": {"value": 9.0, "low": math.nan, "high": 10.0},
    }
    line = {"type": "evaluation", "iteration": -1, "values": values}
    with transaction(database) as session:
        records.record_events(
            session, claim, [line, {"type": "message", "level": "warn", "text": "few samples"}]
        )
    evaluation, message = events_of(database, job_id)[-2:]
    assert evaluation.type == "evaluation"
    assert evaluation.data == {
        "iteration": -1,
        "values": {
            "style": {"value": 0.4, "low": 0.3, "high": 0.5},
            "fd": {"value": 9.0, "low": None, "high": 10.0},
        },
    }
    assert (message.type, message.level, message.message) == ("message", "warn", "few samples")
    with transaction(database) as session:
        rows = views.list_metrics(session, project_id=PROJECT, job_id=job_id).items
    assert {row.name: row.value for row in rows} == {"eval/style": 0.4, "eval/fd": 9.0}


def test_progress_is_kept_with_the_unit_and_makes_no_event(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    claim = claim_next(database)
    count = len(events_of(database, job_id))
    lines = [
        {"type": "progress", "what": "encode", "step": step, "of": 9, "seconds_left": 1.5} for step in (1, 2)
    ]
    with transaction(database) as session:
        records.record_events(session, claim, lines)
    assert units_of(database, job_id)[0].progress == {
        "what": "encode",
        "step": 2,
        "of": 9,
        "seconds_left": 1.5,
    }
    assert len(events_of(database, job_id)) == count


def test_a_preview_drawn_again_replaces_the_first(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    claim = run_until(database, UnitKind.evaluate)
    with transaction(database) as session:
        for index, key in ((1, "k/b"), (0, "k/a"), (0, "k/a2")):
            records.record_sample(session, claim, iteration=-1, index=index, prompt="a dog", seed=3, key=key)
    with transaction(database) as session:
        found = views.list_samples(session, project_id=PROJECT, job_id=job_id)
        assert [(each.iteration, each.index, each.key) for each in found] == [(-1, 0, "k/a2"), (-1, 1, "k/b")]
        assert views.list_samples(session, project_id=PROJECT, job_id=job_id, iteration=0) == []


def test_a_checkpoint_carries_the_numbers_of_its_step(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    claim = run_until(database, UnitKind.train)
    with transaction(database) as session:
        records.record_events(session, claim, [metrics(1, loss=0.7), metrics(2, loss=0.6)])
        first = records.record_checkpoint(session, claim, iteration=1, step=2, files=FILES)
        second = records.record_checkpoint(
            session, claim, iteration=1, step=3, files=FILES, metrics={"loss": 0.1}
        )
    with transaction(database) as session:
        page = views.list_checkpoints(session, project_id=PROJECT, job_id=job_id)
        assert [(each.id, each.metrics) for each in page.items] == [
            (second, {"loss": 0.1}),
            (first, {"loss": 0.6}),
        ]
        assert views.get_checkpoint(session, project_id=PROJECT, checkpoint_id=first).files == FILES
    event = events_of(database, job_id)[-2]
    assert event.data == {"checkpoint": first, "iteration": 1, "step": 2, "unit": claim.unit_id}


def test_events_page_backwards_and_stream_forwards(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    claim_next(database)
    events = events_of(database, job_id)
    assert [event.seq for event in events] == [1, 2, 3, 4]
    with transaction(database) as session:
        page = views.list_events(session, project_id=PROJECT, job_id=job_id, after=events[3].id, limit=2)
        assert ([event.seq for event in page.items], page.has_more) == ([3, 2], True)
        assert [event.seq for event in views.events_after(session, job_id=job_id, seq=0, limit=3)] == [
            1,
            2,
            3,
        ]
        assert [event.seq for event in views.events_after(session, job_id=job_id, seq=3, limit=9)] == [4]
        assert views.event_seq(session, job_id=job_id, event_id=events[1].id) == 2
        assert not views.has_ended(session, job_id=job_id)
        with pytest.raises(NotFound):
            views.event_seq(session, job_id=job_id, event_id="evt-none")
