import io
import json
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from spindle.demo import collect
from spindle.demo.facts import Interval
from spindle.demo.live import Live, doing, share_done, time_left
from spindle.demo.pictures import HeldOut, held_out, spread
from spindle.results import Checkpoint, Event, Job, Metric

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


def evaluation(number: str, iteration: int, value: float) -> Event:
    values = {"style_share": {"value": value, "low": value - 0.1, "high": value + 0.1}}
    data = {"iteration": iteration, "values": values}
    return Event(id=number, created_at=1, type="evaluation", data=data)


def checkpoint(name: str, iteration: int, step: int) -> Checkpoint:
    return Checkpoint(id=name, created_at=1, iteration=iteration, step_number=step)


def test_the_later_of_two_evaluations_counts_and_what_is_not_finite_does_not() -> None:
    events = [evaluation("evt-3", 1, 0.5), evaluation("evt-1", -1, 0.1), evaluation("evt-2", 1, 0.4)]
    endless = {"value": None, "low": None, "high": None}
    data = {"iteration": 1, "values": {"style_share": {"value": 0.5, "low": 0.4, "high": 0.6}, "x": endless}}
    events.append(Event(id="evt-5", created_at=1, type="evaluation", data=data))
    found = collect.evaluations([*events, Event(id="evt-4", created_at=1, message="hello")])
    assert found == {
        -1: {"style_share": Interval(0.1, 0.0, 0.2)},
        1: {"style_share": Interval(0.5, 0.4, 0.6)},
    }


def test_the_columns_are_base_sft_and_each_round_of_self_play() -> None:
    base, one = {"m": Interval(1, 0, 2)}, {"m": Interval(3, 2, 4)}
    found = collect.columns(
        job("sft"),
        job("spin"),
        ({-1: base, 1: one}, {1: base, 2: one}),
        [checkpoint("ftckpt-c", 2, 20), checkpoint("ftckpt-b", 1, 10), checkpoint("ftckpt-a", 1, 5)],
    )
    assert [(each.label, each.model) for each in found] == [
        ("Base", "starter"),
        ("SFT", "ft:starter:sft:1"),
        ("SPIN 1", "ftckpt-b"),
        ("SPIN 2", "ft:starter:spin:1"),
    ]
    assert [each.measured for each in found] == [base, one, base, one]


def test_the_plan_counts_the_supervised_start_and_one_value_for_all() -> None:
    assert collect.plan(job("sft")) == ((1, 40),)
    assert collect.plan(job("spin")) == ((0, 10), (1, 10), (2, 20))
    one = {"type": "spin", "spin": {"hyperparameters": {"n_iterations": 3, "steps": 7, "sft_steps": 0}}}
    assert collect.plan(job("spin", method=one)) == ((1, 7), (2, 7), (3, 7))


def test_curves_follow_each_other_and_losses_of_two_kinds_are_not_mixed() -> None:
    def metric(name: str, iteration: int, step: int, value: float) -> Metric:
        return Metric(name=name, iteration=iteration, step=step, value=value)

    of_spin = [
        metric("loss", 0, 5, 0.9),
        metric("loss", 1, 1, 0.69),
        metric("loss", 2, 1, 0.68),
        metric("margin", 2, 20, 0.4),
    ]
    supervised, self_play, margin, _ = collect.charts(
        job("sft"), job("spin"), [metric("loss", 1, 2, 0.8)], of_spin
    )
    assert [series.points for series in supervised.series] == [((2.0, 0.8),), ((5.0, 0.9),)]
    assert self_play.series[0].points == ((1.0, 0.69), (11.0, 0.68))
    assert margin.series[0].points == ((30.0, 0.4),)
    assert self_play.bounds == ((0.0, "SPIN 1"), (10.0, "SPIN 2"))


def test_the_cost_is_told_by_the_units_own_clocks() -> None:
    units = (
        unit("encode", started_at=110, finished_at=112.5),
        unit("train", started_at=120, finished_at=150),
        unit("train", started_at=160, finished_at=200),
        unit("evaluate", started_at=None, finished_at=None),
    )
    found = collect.cost(job("spin", attempts=units), "SPIN")
    assert found.stages == (("encode", 2.5), ("train", 70.0))
    assert (found.seconds, found.steps, found.pictures) == (290.0, 40, 320)


def test_settings_are_shown_once_where_both_agree() -> None:
    shown = dict(collect.settings(job("sft"), job("spin")))
    assert shown["seed"] == "3"
    assert shown["batch size"] == "8"
    assert shown["learning rate"] == "SFT 0.0001 · SPIN [0.0001, 5e-05]"
    assert shown["n iterations"] == "SPIN 2"
    assert shown["rank"] == "SFT none"


def test_progress_counts_the_units_by_their_weight() -> None:
    units = (
        unit("encode"),
        unit("train", "running", progress={"step": 5, "of": 10}),
        unit("evaluate", "waiting"),
    )
    running = job("spin", "running", attempts=units)
    assert share_done(running) == pytest.approx((0.5 + 5) / 11.5)
    assert share_done(job("spin")) == 1
    assert share_done(job("spin", "queued")) == 0
    assert doing(running) == "train 1"
    assert doing(job("spin", "queued")) == "queued"
    assert time_left(running, elapsed=55) == pytest.approx(60)
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
