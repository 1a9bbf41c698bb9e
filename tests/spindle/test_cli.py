import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spindle.cli.jobs import settings
from spindle.cli.main import app
from spindle.cli.terminal import duration, size
from spindle.errors import SpindleError
from tests.spindle.scripted import Answer, scripted

JOB = {
    "id": "ftjob-1",
    "model": "starter",
    "status": "failed",
    "created_at": 1,
    "failure": {"reason": "user_error", "message": "row 3 has no caption"},
    "method": {"type": "sft", "sft": {"hyperparameters": {"steps": 4}}},
}
ROOT = Path(__file__).resolve().parents[2]
run = CliRunner().invoke
COMMANDS = [
    "",
    "up",
    "demo",
    "key",
    "files",
    "files upload",
    "datasets create",
    "jobs create",
    "jobs follow",
    "generate",
    "project",
]


@pytest.fixture(autouse=True)
def away_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SPINDLE_URL", "SPINDLE_API_KEY", "SPINDLE_STATE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches(command: str) -> None:
    result = run(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output
    if command not in {"files", "jobs follow"}:
        assert "Examples" in result.output
        assert f"$ spindle {command}".rstrip() in result.output


def test_starting_the_command_loads_nothing_heavy() -> None:
    heavy = {"torch", "sqlalchemy", "fastapi", "httpx", "pydantic", "PIL", "yaml"}
    code = f"import sys, spindle.cli.main; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_the_client_needs_neither_the_platform_nor_the_engine() -> None:
    foreign = {"api", "core", "worker", "spin_engine", "torch"}
    code = f"import sys, spindle.client; print(sorted({foreign!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_settings_are_json_where_they_read_as_json() -> None:
    pairs = ["n_iterations=2", "steps=[50, 200]", "learning_rate=1e-4", "adapter=full", "rank=null"]
    assert settings(pairs) == {
        "n_iterations": 2,
        "steps": [50, 200],
        "learning_rate": 1e-4,
        "adapter": "full",
        "rank": None,
    }


@pytest.mark.parametrize(
    ("pairs", "message"), [(["steps"], "NAME=VALUE"), (["=3"], "NAME=VALUE"), (["a=1", "a=2"], "given twice")]
)
def test_a_wrong_setting_is_told(pairs: list[str], message: str) -> None:
    with pytest.raises(SpindleError, match=message):
        settings(pairs)


def test_a_key_that_is_not_there_yet_says_who_writes_it(tmp_path: Path) -> None:
    result = run(app, ["key", "--state", str(tmp_path)])
    assert result.exit_code == 1
    assert "spindle up" in result.output
    (tmp_path / "key").write_text("sk-1\n")
    assert run(app, ["key", "--state", str(tmp_path)]).output == "sk-1\n"


def test_an_archive_that_does_not_exist_is_told_and_no_job_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted() as script:
        monkeypatch.setenv("SPINDLE_URL", script.url)
        result = run(app, ["jobs", "create", "starter", "none.zip"])
    assert (result.exit_code, script.asked) == (1, [])
    assert "There is no file none.zip." in result.output


def test_a_refusal_ends_with_its_message_and_a_code_of_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(Answer(404, {"error": {"message": "There is no job [x]."}})) as script:
        monkeypatch.setenv("SPINDLE_URL", script.url)
        result = run(app, ["jobs", "show", "ftjob-x"])
    assert result.exit_code == 5
    assert "Error: There is no job [x]." in result.output
    assert "Traceback" not in result.output


def test_following_a_job_that_fails_ends_with_code_1_and_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    event = b'id: e1\ndata: {"id": "e1", "created_at": 1, "type": "state", "message": "job failed"}\n\n'
    with scripted(Answer(200, JOB), Answer(200, event), Answer(200, JOB)) as script:
        monkeypatch.setenv("SPINDLE_URL", script.url)
        result = run(app, ["jobs", "follow", "ftjob-1"])
    assert result.exit_code == 1
    assert "job failed" in result.output
    assert "ftjob-1 failed: row 3 has no caption" in result.output


def test_jobs_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(Answer(200, {"data": [JOB], "has_more": False})) as script:
        monkeypatch.setenv("SPINDLE_URL", script.url)
        result = run(app, ["jobs", "list"])
    assert result.exit_code == 0
    assert result.output.splitlines()[1].split()[:4] == ["ftjob-1", "starter", "sft", "failed"]


def test_a_project_shows_what_it_uses_of_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = {"id": "proj-1", "name": "team", "max_jobs": 9, "open_jobs": 2, "gpu_seconds_used": 61.4}
    with scripted(Answer(200, mine)) as script:
        monkeypatch.setenv("SPINDLE_URL", script.url)
        result = run(app, ["project"])
    assert result.exit_code == 0
    assert "2 of 9" in result.output
    assert "61" in result.output


def test_drawing_where_nothing_ever_ran_says_how_to_start(tmp_path: Path) -> None:
    result = run(app, ["generate", "starter", "red apple", "--state", str(tmp_path / "nowhere")])
    assert result.exit_code == 3
    assert "Start it with `spindle up`" in result.output
    assert not (tmp_path / "nowhere").exists()


def test_the_demo_leaves_a_folder_alone_that_is_not_its_own(tmp_path: Path) -> None:
    mine = tmp_path / "thesis.txt"
    mine.write_text("years of work")
    result = run(app, ["demo", "--state", str(tmp_path)])
    assert result.exit_code == 1
    assert mine.read_text() == "years of work"


def test_sizes_and_times_read_well() -> None:
    assert [size(n) for n in (7, 999, 1500, 123_456_789)] == ["7 B", "999 B", "1.5 kB", "123 MB"]
    assert [duration(s) for s in (5.4, 65, 3700)] == ["5 s", "1 min 05 s", "1 h 01 min"]
