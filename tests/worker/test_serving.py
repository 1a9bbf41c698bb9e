"""A real serving worker with the real engine: checkpoints at once, batches, looks, and what was killed."""

import os
import signal
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image
from sqlalchemy.orm import Session

from bench.serve import Served, measure_memory, measure_speed, plain
from core import drawings
from core.db import transaction
from core.keys import DEFAULT_PROJECT
from core.models import Checkpoint, DrawingState, UnitKind
from core.runs import claims, records
from tests.api.platform import WORK, Running, server_in
from tests.spin_engine.serving.adapters import adapter
from tests.worker.platform import Platform, archive, platform

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform whose first serving worker was killed at the first drawing, and that has another one now."""
    with platform(tmp_path_factory.mktemp("serving")) as made:
        first = made.start("serve")
        drawing_id = ask(made)
        made.until(lambda: made.drawing(drawing_id).state is DrawingState.running)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        made.start("serve")
        drawn(made, drawing_id)
        yield made


def ask(made: Platform, model: str = "tiny", **more: Any) -> str:
    with transaction(made.database) as session:
        return request(session, model, **more)


def request(session: Session, model: str = "tiny", **more: Any) -> str:
    asked: dict[str, Any] = {
        "prompt": "red circle",
        "negative_prompt": None,
        "seeds": [3],
        "width": None,
        "height": None,
        "steps": 2,
        "guidance_scale": 2.0,
    }
    return drawings.request_drawing(session, project_id=DEFAULT_PROJECT, model=model, **(asked | more)).id


def drawn(made: Platform, drawing_id: str) -> list[Image.Image]:
    """Wait for the pictures of a request, and return them."""
    made.until(lambda: made.drawing(drawing_id).finished_at is not None)
    found = made.drawing(drawing_id)
    assert found.state is DrawingState.succeeded, (found.failure, made.logs())
    assert found.result is not None
    pictures: list[Image.Image] = []
    for file in found.result["files"]:
        with made.store.open(file["key"]) as stream:
            pictures.append(Image.open(BytesIO(stream.read())))
    return pictures


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB")).astype(int)


def checkpoint(made: Platform, folder: Path) -> str:
    """Write a checkpoint as a training worker would, of a job whose other units are played."""
    dataset_id = made.upload(archive(folder, 4))
    method = {"type": "sft", "sft": {"hyperparameters": {"steps": 1}}}
    running = Running(made.settings, made.database, made.store, httpx2.Client(), "")
    job_id = ""
    while True:
        with transaction(made.database) as session:
            claim = claims.claim_unit(session, worker="player", lease_seconds=600)
        if claim is None and not job_id:
            job_id = made.submit(dataset_id, method)
            continue
        assert claim is not None, "a unit is to be done"
        if claim.kind is UnitKind.train:
            break
        WORK[claim.kind](running, claim)
    weights = adapter(made.settings.base_model_folders()["tiny"], folder / "weights", seed=5)
    files = running.put(claim, {f"weights/{path.name}": path.read_bytes() for path in weights.iterdir()})
    with transaction(made.database) as session:
        records.record_checkpoint(session, claim, iteration=claim.iteration, step=1, files=files)
        saved = session.query(Checkpoint).filter(Checkpoint.job_id == job_id).one()
    running.client.close()
    return saved.id


def children(made: Platform) -> int:
    """Count the processes that were started to draw."""
    return (made.settings.state / "serve.log").read_text().count("drawing_process_started")


def test_what_its_worker_was_killed_at_is_drawn_by_another(made: Platform) -> None:
    with transaction(made.database) as session:
        [first] = drawings.list_drawings(session, project_id=DEFAULT_PROJECT).items
    assert (first.state, first.fence, first.attempt) == (DrawingState.succeeded, 2, 2)


def test_a_checkpoint_is_drawn_with_as_soon_as_its_row_is_there(made: Platform, tmp_path: Path) -> None:
    """It is drawn by the process that draws already: none is started, which would take far longer."""
    name = checkpoint(made, tmp_path)
    before = children(made)
    [by_checkpoint] = drawn(made, ask(made, name))
    assert children(made) == before
    [by_base] = drawn(made, ask(made))
    assert np.abs(pixels(by_checkpoint) - pixels(by_base)).max() > 1
    assert by_checkpoint.text["model"] == name  # type: ignore[attr-defined]  # of PNG files


def test_what_is_drawn_together_is_what_is_drawn_alone(made: Platform) -> None:
    """The child's one batch holds all that came while it was busy; a picture depends on its seed alone."""
    busy = ask(made, steps=150)
    with transaction(made.database) as session:  # all at once: a busy machine takes its time between two
        ids = [request(session, prompt=f"blue square {n}", seeds=[n, 90 + n], steps=4) for n in range(4)]
    together = [drawn(made, each) for each in ids]
    drawn(made, busy)
    results = [made.drawing(each).result for each in ids]
    assert max(result["together"] for result in results if result is not None) >= 4
    for n, pair in enumerate(together):
        [alone] = drawn(made, ask(made, prompt=f"blue square {n}", seeds=[n], steps=4))
        assert np.abs(pixels(alone) - pixels(pair[0])).max() <= 1


def test_looks_at_a_picture_are_pictures(made: Platform) -> None:
    drawing_id = ask(made, steps=6, partial_images=2)
    [picture] = drawn(made, drawing_id)
    partials = made.drawing(drawing_id).partials
    assert partials is not None
    assert [each["index"] for each in partials] == [0, 1]
    with made.store.open(partials[1]["key"]) as stream:
        assert Image.open(BytesIO(stream.read())).size == picture.size


def test_the_bench_counts_what_it_says(made: Platform) -> None:
    base = made.settings.base_model_folders()["tiny"]
    with server_in(made.settings) as api:
        asked = Served(api.url, api.secret, os.getpid(), steps=2)
        speed = measure_speed(asked, plain(base, steps=2), model="tiny", clients=3, pictures=6, repeats=1)
        memory = measure_memory(asked, ["tiny", "starter"], requests=5, clients=2)
    assert min(speed.plain_seconds, speed.one_client_seconds, speed.pictures_per_second) > 0
    assert min(speed.plain_cpu_seconds, speed.one_client_cpu_seconds, speed.clients_cpu_seconds) >= 0
    assert speed.times_plain == speed.pictures_per_second * speed.plain_seconds
    assert (memory.requests, memory.models, len(memory.megabytes)) == (5, 2, 5)
    assert memory.grown == memory.megabytes[-1] / memory.megabytes[1]
    assert min(memory.megabytes) > 100
