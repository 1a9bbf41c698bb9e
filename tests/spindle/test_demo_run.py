from pathlib import Path
from typing import Any

import pytest

from spindle.client import Spindle
from spindle.demo.run import follow, make_fresh, program, shown
from spindle.errors import JobFailedError, SpindleError
from spindle.location import sole_owner
from spindle.results import Job
from tests.spindle.scripted import Answer, scripted


def job(name: str, status: str, **more: Any) -> dict[str, Any]:
    method = {"type": "spin", "spin": {"hyperparameters": {}}}
    return {"id": name, "model": "starter", "status": status, "created_at": 1, "method": method} | more


def test_a_job_that_fails_ends_the_demo_with_its_message() -> None:
    failure = {"reason": "out_of_memory", "message": "the machine has too little memory"}
    started = {name: Job.model_validate(job(name, "running")) for name in ("SFT", "SPIN")}
    answers = (Answer(200, job("SFT", "failed", failure=failure)), Answer(200, job("SPIN", "running")))
    told = "The SFT job SFT failed: the machine has too little memory"
    with (
        scripted(*answers) as script,
        Spindle(url=script.url, key="sk") as client,
        pytest.raises(JobFailedError, match=told),
    ):
        follow(client, started)


def test_jobs_that_succeed_come_back_as_they_ended() -> None:
    started = {"SFT": Job.model_validate(job("SFT", "running"))}
    answer = Answer(200, job("SFT", "succeeded", fine_tuned_model="ft:x"))
    with scripted(answer) as script, Spindle(url=script.url, key="sk") as client:
        assert follow(client, started)["SFT"].fine_tuned_model == "ft:x"


def test_the_state_of_an_earlier_demo_is_emptied(tmp_path: Path) -> None:
    state = tmp_path / "state"
    make_fresh(state)
    (state / "spindle.db").write_text("old")
    make_fresh(state)
    assert [path.name for path in state.iterdir()] == ["demo"]


def test_a_demo_that_still_runs_is_not_pulled_away(tmp_path: Path) -> None:
    make_fresh(tmp_path)
    (tmp_path / "spindle.db").write_text("in use")
    with sole_owner(tmp_path), pytest.raises(SpindleError, match="already runs"):
        make_fresh(tmp_path)
    assert (tmp_path / "spindle.db").read_text() == "in use"


def test_paths_are_shown_as_they_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "build" / "x") == "build/x"
    assert shown(Path("/elsewhere")) == "/elsewhere"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program().endswith("/bin/spindle")
