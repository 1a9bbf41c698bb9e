"""Pictures for comparisons, drawn without an engine: what they show follows from model, prompt and seed."""

import hashlib
import io
from collections.abc import Callable
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from sqlalchemy import select, update

from core.clock import utcnow
from core.comparisons import drawing
from core.db import Database, transaction
from core.models import Comparison, ComparisonModel, ComparisonState, Drawing, DrawingState
from core.storage.store import ObjectStore

Paint = Callable[[Drawing, int], bytes]


def png(told: str, *, text: str | None = None, side: int = 16) -> bytes:
    """Return a picture in a colour that follows from what is told, and with a text that does not show."""
    colour = tuple(hashlib.sha256(told.encode()).digest()[:3])
    more = PngInfo()
    if text is not None:
        more.add_text("model", text)
    sink = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(sink, "PNG", pnginfo=more)
    return sink.getvalue()


def paint(drawn: Drawing, seed: int) -> bytes:
    """Return what a model draws; the file says who it was, as those of the serving worker do."""
    return png(f"{drawn.model_id} {drawn.request['prompt']} {seed}", text=drawn.model_id)


def draw(database: Database, store: ObjectStore, *, paint: Paint = paint) -> int:
    """Draw all that waits to be drawn, as a serving worker would; return how many drawings that were."""
    with transaction(database) as session:
        waiting = session.scalars(select(Drawing).where(Drawing.state == DrawingState.pending)).all()
    for drawn in waiting:
        files = []
        for index, seed in enumerate(drawn.request["seeds"]):
            key, data = f"drawings/{drawn.id}/1/{index}.png", paint(drawn, seed)
            stored = store.put(key, io.BytesIO(data), len(data))
            told = {"path": f"{index}.png", "key": key, "sha256": stored.sha256, "size": stored.size}
            files.append(told)
        end(database, drawn.id, DrawingState.succeeded, result={"files": files, "seconds": 0.1})
    return len(waiting)


def end(database: Database, drawing_id: str, state: DrawingState, **values: Any) -> None:
    """Write how a drawing ended."""
    with transaction(database) as session:
        session.execute(
            update(Drawing)
            .where(Drawing.id == drawing_id)
            .values(state=state, finished_at=utcnow(), **values)
            .execution_options(synchronize_session=False)
        )


def draw_whole(database: Database, store: ObjectStore, comparison_id: str, *, paint: Paint = paint) -> None:
    """Draw a comparison to its end, wave by wave."""
    for _ in range(100):
        draw(database, store, paint=paint)
        drawing.advance(database, store, comparison_id=comparison_id)
        with transaction(database) as session:
            if session.get_one(Comparison, comparison_id).state is not ComparisonState.drawing:
                return
    raise AssertionError(f"{comparison_id} is never drawn")


def model_ids(database: Database, comparison_id: str) -> list[str]:
    """Return the models of a comparison in order."""
    with transaction(database) as session:
        rows = select(ComparisonModel.model_id).where(ComparisonModel.comparison_id == comparison_id)
        return list(session.scalars(rows.order_by(ComparisonModel.position)))
