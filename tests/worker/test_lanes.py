"""The two lanes of ``spindle up``: an upload is validated while a training runs."""

from pathlib import Path
from typing import Any

import pytest

from core.models import DatasetState, UnitKind, UnitState
from tests.worker.platform import archive, platform
from worker.__main__ import kinds_of, main

pytestmark = pytest.mark.timeout(1800)
ENDLESS: dict[str, Any] = {
    "type": "sft",
    "sft": {
        "hyperparameters": {
            "steps": 1_000_000,
            "batch_size": 2,
            "rank": 2,
            "checkpoint_every": 10,
            "eval_samples": 1,
            "eval_steps": 1,
        }
    },
}


def test_an_upload_does_not_wait_for_a_training(tmp_path: Path) -> None:
    with platform(tmp_path) as made:
        heavy = made.start("units", "--except", "ingest")
        light = made.start("units", "--kinds", "ingest")
        pictures = archive(tmp_path, 4)
        first = made.upload(pictures)
        made.until(lambda: made.dataset(first).state is DatasetState.ready)
        job_id = made.submit(first, ENDLESS)
        made.until(lambda: made.unit(job_id, UnitKind.train, 1).state is UnitState.running)
        train = made.unit(job_id, UnitKind.train, 1)

        second = made.upload(pictures.rename(tmp_path / "more.zip"))
        made.until(lambda: made.dataset(second).state is DatasetState.ready)

        now = made.unit(job_id, UnitKind.train, 1)
        assert (now.state, now.fence, now.worker) == (UnitState.running, train.fence, train.worker)
        assert made.worker_of(train)[0] is heavy
        assert light.poll() is None


def test_a_lane_has_the_kinds_that_are_left_to_it() -> None:
    every = ",".join(UnitKind)
    assert kinds_of("train,ingest", but="") == (UnitKind.train, UnitKind.ingest)
    assert kinds_of(every, but="ingest") == tuple(kind for kind in UnitKind if kind is not UnitKind.ingest)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--kinds", "trian"], "'trian' is not a valid UnitKind; choose among ingest, encode"),
        (["--except", "ingset"], "'ingset' is not a valid UnitKind"),
        (["--kinds", "ingest", "--except", "ingest"], "no kind of unit is left to claim"),
    ],
)
def test_a_lane_without_sense_is_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["units", *words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
