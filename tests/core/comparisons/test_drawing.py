"""The pictures of comparisons on both databases: asked for in waves, taken in once, failures told."""

import io
from typing import Any

import pytest
from sqlalchemy import func, select, update

from core import drawings, registry
from core.comparisons import drawing, records
from core.comparisons.records import Sitting
from core.db import Database, transaction
from core.errors import Conflict, NotFound
from core.models import (
    Ballot,
    Comparison,
    ComparisonPicture,
    ComparisonState,
    Drawing,
    DrawingState,
    Model,
    ModelKind,
    PictureState,
    WebhookDelivery,
    WebhookEndpoint,
)
from core.settings import Settings
from core.storage.store import ObjectStore, store_for
from core.webhooks.events import EventType
from tests.comparing import draw, draw_whole, end
from tests.core.comparisons.making import ask, drawn, make, models, prefer, row
from tests.core.runs.making import PROJECT


def count(database: Database, statement: Any) -> int:
    with transaction(database) as session:
        return session.scalar(select(func.count()).select_from(statement.subquery())) or 0


def asked(database: Database) -> int:
    return count(database, select(Drawing.id).where(Drawing.state == DrawingState.pending))


def fail_next(database: Database, reason: str = "out_of_memory") -> None:
    with transaction(database) as session:
        first = select(Drawing.id).where(Drawing.state == DrawingState.pending).order_by(Drawing.id)
        drawing_id = session.scalars(first.limit(1)).one()
    failure = {"reason": reason, "message": "the picture is too large"}
    end(database, drawing_id, DrawingState.failed, failure=failure)


def listen(database: Database) -> None:
    with transaction(database) as session:
        session.add(
            WebhookEndpoint(
                id="wh-1",
                project_id=PROJECT,
                name="ci",
                url="https://example.com",
                event_types=[each.value for each in EventType],
                secret="whsec_x",
            )
        )


def told(database: Database) -> list[str]:
    with transaction(database) as session:
        return list(session.scalars(select(WebhookDelivery.event_type)))


def test_pictures_are_asked_for_a_few_at_a_time(database: Database, settings: Settings) -> None:
    store = store_for(settings)
    comparison_id = make(database, models(database, 3), prompts=12, seeds=(1, 2))
    seen = []
    while asked(database):
        seen.append(asked(database))
        draw(database, store)
        drawing.advance(database, store, comparison_id=comparison_id)
    assert seen == [32, 4]
    found = row(database, comparison_id)
    assert (found.state, found.drawn, found.failed, found.total) == (ComparisonState.ready, 72, 0, 72)
    assert found.ready_at is not None


def test_what_is_asked_is_what_was_given(database: Database) -> None:
    sitting = Sitting(steps=7, guidance_scale=3.0, width=64, height=32, negative_prompt="blur")
    make(database, models(database, 2), prompts=2, seeds=(5, 9), sitting=sitting)
    with transaction(database) as session:
        rows = session.scalars(select(Drawing).order_by(Drawing.id)).all()
        pictures = session.scalars(select(ComparisonPicture)).all()
    assert [(each.model_id, each.request["prompt"]) for each in rows] == [
        (model, prompt) for model in ("model-0", "model-1") for prompt in ("prompt 0", "prompt 1")
    ]
    assert {each.drawing_id for each in pictures} == {each.id for each in rows}
    given = {
        "prompt": "prompt 0",
        "negative_prompt": "blur",
        "seeds": [5, 9],
        "width": 64,
        "height": 32,
        "steps": 7,
        "guidance_scale": 3.0,
        "partial_images": 0,
    }
    assert rows[0].request | given == rows[0].request


def test_the_first_pairs_can_be_voted_on_while_the_rest_is_drawn(
    database: Database, settings: Settings
) -> None:
    comparison_id = make(database, models(database, 2), prompts=20)
    draw(database, store_for(settings))
    drawing.advance(database, store_for(settings), comparison_id=comparison_id)
    assert row(database, comparison_id).state is ComparisonState.drawing
    given = ask(database, comparison_id)
    assert given.ballot is not None
    assert given.remaining == 16  # two blocks of eight prompts


def test_a_picture_that_failed_is_told_and_the_rest_is_compared(
    database: Database, settings: Settings
) -> None:
    comparison_id = make(database, models(database, 2), prompts=3)
    listen(database)
    fail_next(database)
    draw_whole(database, store_for(settings), comparison_id)
    found = row(database, comparison_id)
    assert (found.state, found.drawn, found.failed) == (ComparisonState.ready, 5, 1)
    assert found.failure == {"reason": "out_of_memory", "message": "the picture is too large"}
    given = ask(database, comparison_id)
    assert given.remaining == 2
    assert told(database) == ["comparison.ready"]


def test_without_any_pair_it_has_failed(database: Database, settings: Settings) -> None:
    comparison_id = make(database, models(database, 2), prompts=1)
    listen(database)
    fail_next(database, "user_error")
    draw_whole(database, store_for(settings), comparison_id)
    assert row(database, comparison_id).state is ComparisonState.failed
    assert told(database) == ["comparison.failed"]
    with pytest.raises(Conflict, match="too large") as refused:
        ask(database, comparison_id)
    assert refused.value.code == "comparison_failed"


def test_drawings_that_are_gone_and_files_that_are_no_pictures_are_failures(
    database: Database, settings: Settings
) -> None:
    store = store_for(settings)
    comparison_id = make(database, models(database, 2), prompts=2)
    draw(database, store)
    with transaction(database) as session:
        one, other, *_ = session.scalars(select(Drawing).order_by(Drawing.id))
        assert other.result is not None
        store.put(other.result["files"][0]["key"], io.BytesIO(b"junk"), 4)
        session.delete(one)
    drawing.advance(database, store, comparison_id=comparison_id)
    found = row(database, comparison_id)
    assert (found.state, found.drawn, found.failed) == (ComparisonState.failed, 2, 2)
    assert found.failure is not None
    assert "its drawing is gone" in found.failure["message"]


def test_what_ended_is_taken_in_once(database: Database, settings: Settings) -> None:
    store = store_for(settings)
    comparison_id = make(database, models(database, 2), prompts=1)
    draw(database, store)
    with transaction(database) as session:
        ended = drawing._ended(session, comparison_id)
    assert drawing.advance(database, store, comparison_id=comparison_id) == 2
    assert drawing.advance(database, store, comparison_id=comparison_id) == 0
    with transaction(database) as session:
        comparison = session.get_one(Comparison, comparison_id)
        for picture, each in ended:
            drawing._take_in(session, comparison, drawing._look(store, picture, each))
        assert (comparison.drawn, comparison.state) == (2, ComparisonState.ready)


def test_a_model_that_went_away_while_it_is_drawn_is_told(database: Database, settings: Settings) -> None:
    names = models(database, 2)
    comparison_id = make(database, names, prompts=17)
    with transaction(database) as session:
        session.execute(update(Model).where(Model.id == names[1]).values(deleted_at=func.now()))
    draw_whole(database, store_for(settings), comparison_id)
    found = row(database, comparison_id)
    assert (found.state, found.total) == (ComparisonState.ready, 34)
    assert found.failure is not None
    assert "there is no model model-1" in found.failure["message"]
    assert found.drawn + found.failed == 34


def test_a_result_stays_while_a_comparison_is_drawn_with_it(database: Database, settings: Settings) -> None:
    names = models(database, 2)
    with transaction(database) as session:
        result = Model(
            id="ft:x", project_id=PROJECT, kind=ModelKind.result, source="folder:/models/x", digest="d"
        )
        session.add(result)
    comparison_id = make(database, [*names, "ft:x"], prompts=1)
    with transaction(database) as session, pytest.raises(Conflict, match=comparison_id) as refused:
        registry.delete_model(session, project_id=PROJECT, model_id="ft:x")
    assert refused.value.code == "model_in_use"
    draw_whole(database, store_for(settings), comparison_id)
    with transaction(database) as session:
        registry.delete_model(session, project_id=PROJECT, model_id="ft:x")


def test_a_deleted_comparison_lets_its_pictures_go(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: ObjectStore = store_for(settings)
    comparison_id = drawn(database, settings, prompts=2)
    prefer(database, comparison_id, 0)
    gone = list[str]()
    let_go = drawings.let_go
    monkeypatch.setattr(drawings, "let_go", lambda session, ids: (gone.extend(ids), let_go(session, ids)))
    with transaction(database) as session:
        drawn_by = set(session.scalars(select(Drawing.id)))
        records.delete_comparison(session, project_id=PROJECT, comparison_id=comparison_id)
    assert set(gone) == drawn_by
    for table in (Ballot, ComparisonPicture):
        assert count(database, select(table.comparison_id)) == 0
    assert row(database, comparison_id).deleted_at is not None
    with transaction(database) as session, pytest.raises(NotFound):
        records.get_comparison(session, project_id=PROJECT, comparison_id=comparison_id)
    assert drawing.keep_up(database, store) == 0


def test_pictures_wait_until_they_may_be_asked_for(database: Database) -> None:
    comparison_id = make(database, models(database, 2), prompts=20)
    of = select(ComparisonPicture.prompt).where(ComparisonPicture.comparison_id == comparison_id)
    assert count(database, of.where(ComparisonPicture.state == PictureState.asked)) == drawing.AT_ONCE
    assert count(database, of.where(ComparisonPicture.state == PictureState.waiting)) == 8
