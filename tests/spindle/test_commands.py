"""Every command prints JSON when asked to; exit codes tell what went wrong; completion completes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from spindle.cli.main import app
from spindle.cli.spans import seconds_of
from spindle.errors import SpindleError
from tests.spindle.commands import COMMANDS, DATASET, EXPORT, IMPORT, WITHOUT_JSON
from tests.spindle.scripted import Answer, scripted
from tests.spindle.test_client import JOB

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def away_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SPINDLE_URL", "SPINDLE_API_KEY", "SPINDLE_STATE"):
        monkeypatch.delenv(name, raising=False)


def commands(group: Any, *before: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        path = (*before, name)
        if hasattr(command, "commands"):
            yield from commands(command, *path)
        else:
            yield " ".join(path), command


def test_every_command_prints_json_for_programs() -> None:
    found = dict(commands(typer.main.get_command(app)))
    assert len(found) > 40
    without = {
        name
        for name, command in found.items()
        if not any("--json" in parameter.opts for parameter in command.params)
    }
    assert without <= WITHOUT_JSON


@pytest.mark.parametrize(("words", "answer", "asked", "shown"), COMMANDS, ids=[each[0] for each in COMMANDS])
def test_a_command_asks_the_api_and_shows_its_answer_to_people_and_to_programs(
    monkeypatch: pytest.MonkeyPatch, words: str, answer: dict[str, Any], asked: str, shown: str
) -> None:
    with scripted(Answer(200, answer), Answer(200, answer)) as script:
        monkeypatch.setenv("SPINDLE_URL", script.url)
        for_people = CliRunner().invoke(app, words.split())
        for_programs = CliRunner().invoke(app, [*words.split(), "--json"])
    assert (for_people.exit_code, for_programs.exit_code) == (0, 0), for_people.output
    assert shown in for_people.output
    told = json.loads(for_programs.output)
    wanted = answer["data"] if answer.get("object") == "list" or "samples" in words else answer
    first = wanted[0] if isinstance(wanted, list) else wanted
    mine = told[0] if isinstance(told, list) else told
    assert {key: mine.get(key) for key in first} == first
    assert [f"{each.method} {each.path}" for each in script.asked] == [asked] * 2


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(401, {"error": {"message": "no such key"}}), 4),
        (Answer(403, {"error": {"message": "this key may read, but not admin"}}), 4),
        (Answer(404, {"error": {"message": "there is no job"}}), 5),
        (Answer(409, {"error": {"message": "it has ended"}}), 1),
        (Answer(422, {"error": {"message": "steps must be positive; give at least 1"}}), 1),
        (Answer(429, {"error": {"message": "too many jobs"}}, {"x-should-retry": "false"}), 6),
        (Answer(500, {"error": {"message": "our mistake"}}, {"x-request-id": "req-7"}), 1),
    ],
    ids=lambda each: str(each.status) if isinstance(each, Answer) else "",
)
def test_exit_codes_tell_what_went_wrong_and_errors_say_what_the_server_said(
    monkeypatch: pytest.MonkeyPatch, answer: Answer, code: int
) -> None:
    with scripted(answer) as script:
        monkeypatch.setenv("SPINDLE_URL", script.url)
        result = CliRunner().invoke(app, ["jobs", "show", "ftjob-1"])
    assert result.exit_code == code
    assert f"Error: {answer.body['error']['message']}" in result.stderr
    assert result.stdout == ""
    assert ("req-7 in the server's log" in result.stderr) == (answer.status == 500)


def test_exit_codes_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spindle.retry.pause", lambda _: 0.0)
    monkeypatch.setenv("SPINDLE_URL", "http://127.0.0.1:9")
    assert CliRunner().invoke(app, ["jobs", "show", "ftjob-1"]).exit_code == 3
    assert CliRunner().invoke(app, ["jobs", "nonsense"]).exit_code == 2
    assert CliRunner().invoke(app, ["webhooks", "replay", "wh-1"]).exit_code == 1


def test_a_job_that_was_waited_for_and_failed_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = JOB | {"status": "failed", "failure": {"reason": "user_error", "message": "no rows"}}
    with scripted(Answer(200, failed)) as script:
        monkeypatch.setenv("SPINDLE_URL", script.url)
        result = CliRunner().invoke(app, ["jobs", "wait", "ftjob-1", "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["status"] == "failed"
    assert "ftjob-1 failed: no rows" in result.stderr


def test_an_export_is_awaited_and_downloaded_and_a_refused_import_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refused = IMPORT | {"status": "failed", "model": None, "failure": {"message": "x.py is code"}}
    pending = EXPORT | {"status": "pending"}
    target = tmp_path / "m.safetensors"
    answers = [Answer(200, each) for each in (pending, EXPORT, b"lora", refused, refused)]
    with scripted(*answers) as script:
        monkeypatch.setenv("SPINDLE_URL", script.url)
        runner = CliRunner()
        done = runner.invoke(app, ["models", "export", "m", "-f", "lora", "-o", str(target)])
        failed = runner.invoke(app, ["models", "import", "file-1", "--name", "cat"])
    assert (done.exit_code, target.read_bytes()) == (0, b"lora"), done.output
    assert [each.path for each in script.asked][:3] == [
        "/v1/models/m/exports",
        "/v1/models/m/exports/lora",
        "/v1/models/m/exports/lora/content",
    ]
    assert failed.exit_code == 1
    assert "imp-1 failed: x.py is code" in failed.stderr
    assert CliRunner().invoke(app, ["models", "rollback", "cat"]).exit_code == 1


def test_what_a_job_and_a_dataset_are_asked_with(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "jobs create starter ds-1 --priority 5 --queue big --device gpu --keep 3 --metadata team=a"
    with scripted(Answer(200, JOB), Answer(200, DATASET)) as script:
        monkeypatch.setenv("SPINDLE_URL", script.url)
        CliRunner().invoke(app, words.split())
        split = "--tolerance 0.01 --validation 0.1 --split-by caption --split-seed 7 --no-wait"
        CliRunner().invoke(app, ["datasets", "create", "cats", "file-1", *split.split()])
    job, dataset = (json.loads(each.body) for each in script.asked)
    assert {key: job[key] for key in ("priority", "queue", "device", "retention", "metadata")} == {
        "priority": 5,
        "queue": "big",
        "device": "gpu",
        "retention": {"keep_last": 3},
        "metadata": {"team": "a"},
    }
    assert dataset == {
        "name": "cats",
        "file": "file-1",
        "tolerance": 0.01,
        "split": {"validation": 0.1, "by": "caption", "seed": 7},
    }


def test_events_are_told_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    events = b"".join(
        b'id: e%d\ndata: {"id": "e%d", "created_at": 1, "message": "m%d"}\n\n' % (n, n, n) for n in (1, 2)
    )
    done = Answer(200, JOB | {"status": "succeeded"})
    with scripted(done, Answer(200, events), done) as script:
        monkeypatch.setenv("SPINDLE_URL", script.url)
        result = CliRunner().invoke(app, ["jobs", "follow", "ftjob-1", "--json"])
    assert [json.loads(line)["message"] for line in result.stdout.splitlines()] == ["m1", "m2"]


def test_spans_of_time() -> None:
    assert [seconds_of(each) for each in ("90s", "15m", "12h", "30d", "0s")] == [
        90,
        900,
        43_200,
        2_592_000,
        0,
    ]
    for wrong in ("", "12", "h", "-1h", "1w", "1.5h"):
        with pytest.raises(SpindleError, match="no span of time"):
            seconds_of(wrong)


def test_the_shell_completes_commands() -> None:
    told = {"_SPINDLE_COMPLETE": "complete_bash", "COMP_WORDS": "spindle webhooks re", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "spindle"],
        env=os.environ | told,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["replay"]
