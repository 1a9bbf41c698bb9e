import io
import json
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from spindle.demo.live import Live, doing, time_left
from spindle.demo.pictures import HeldOut, held_out, spread
from spindle.results import Job

SFT = {"steps": 40, "batch_size": 8, "learning_rate": 1e-4, "rank": None}
SPIN = {"n_iterations": 2, "steps": [10, 20], "sft_steps": 10, "batch_size": 8, "learning_rate": [1e-4, 5e-5]}


def job(kind: str = "spin", status: str = "succeeded", **more: Any) -> Job:
    hyperparameters = SFT if kind == "sft" else SPIN
    body = {"id": f"ftjob-{kind}", "model": "starter", "status": status, "created_at": 100, "started_at": 110}
    method = {"type": kind, kind: {"hyperparameters": hyperparameters}}
    ended = {"finished_at": 400, "fine_tuned_model": f"ft:starter:{kind}:1"} if status == "succeeded" else {}
    return Job.model_validate(body | ended | {"method": method, "seed": 3} | more)


def unit(kind: str, state: str = "succeeded", iteration: int = 1, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "iteration": iteration, "state": state} | more


def test_what_is_done_now_and_the_time_left_are_told() -> None:
    units = (unit("encode"), unit("train", "running", progress={"step": 5, "of": 10}))
    running = job("spin", "running", attempts=units, progress=0.5)
    assert doing(running) == "train 1"
    assert doing(job("spin", "queued")) == "queued"
    assert time_left(running, elapsed=60) == pytest.approx(60)
    assert time_left(job("spin", "queued"), elapsed=55) is None


def test_away_from_a_terminal_each_stage_is_told_once() -> None:
    said = io.StringIO()
    with Live(Console(file=said)) as live:
        live.show("SPIN", job("spin", "queued"))
        live.show("SPIN", job("spin", "queued"))
        live.show("SPIN", job("spin"))
    assert said.getvalue().splitlines() == ["SPIN: queued", "SPIN: succeeded, took 4 min 50 s"]


def test_the_held_out_pictures_are_read_in_the_order_of_their_captions(tmp_path: Path) -> None:
    data = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(data, "WEBP", lossless=True)
    with zipfile.ZipFile(tmp_path / "test.zip", "w") as archive:
        rows = [{"file_name": "2.webp", "text": "turtle"}, {"file_name": "1.webp", "text": "crab"}]
        archive.writestr("metadata.jsonl", "\n".join(map(json.dumps, rows)) + "\n")
        for row in rows:
            archive.writestr(row["file_name"], data.getvalue())
    found = held_out(tmp_path / "test.zip")
    assert [each.caption for each in found] == ["crab", "turtle"]
    with Image.open(io.BytesIO(found[0].real)) as picture:
        assert (picture.format, picture.getpixel((0, 0))) == ("PNG", (255, 0, 0))


def test_the_rows_are_spread_evenly_over_all() -> None:
    items = [HeldOut(f"{index:02}", b"") for index in range(64)]
    chosen = [int(each.caption) for each in spread(items)]
    assert len(set(chosen)) == 12
    assert {later - earlier for earlier, later in pairwise(chosen)} <= {5, 6}
    assert spread(items[:3]) == items[:3]
