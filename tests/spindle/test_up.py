"""``spindle up`` with the real services."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from spindle.cli.main import app
from spindle.client import Spindle
from spindle.errors import SpindleError
from spindle.location import importable
from spindle.port import check_port, free_port

SECONDS = 90.0
UNITS, INGEST = "units --except ingest", "units --kinds ingest"  # of the command line, or of Celery's title


def until(condition: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def family(pid: int) -> dict[int, str]:
    """Return the commands of all processes that descend from one, whatever groups they are in."""
    commands: dict[int, str] = {}
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        try:
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            commands[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, ValueError):
            continue
        parents[int(folder.name)] = int(status[1])
    found: dict[int, str] = {}
    grown = True
    while grown:
        more = {child for child, parent in parents.items() if parent in {pid, *found}} - found.keys()
        found |= {child: commands[child] for child in more}
        grown = bool(more)
    return found


def pid_of(process: subprocess.Popen[bytes], word: str) -> int | None:
    return next((pid for pid, command in family(process.pid).items() if word in command), None)


def left(pids: set[int]) -> set[int]:
    """Return those that have not ended; zombies have."""
    found = set()
    for pid in pids:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.add(pid)
        except OSError:
            continue
    return found


@contextmanager
def up(state: Path, *, ready: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SPINDLE_")}
    with (state.parent / "said.txt").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "spindle", "up", "--port", "0", "--state", str(state)],
            env=importable(kept),
            stdout=said,
            stderr=said,
        )
    try:
        if ready:
            until(lambda: (state / "url").exists() or process.poll() is not None, "not ready")
        assert process.poll() is None, (state.parent / "said.txt").read_text()
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(30)


def zipped(path: Path, captions: tuple[str, ...]) -> Path:
    rows = [{"file_name": f"{index}.png", "text": caption} for index, caption in enumerate(captions)]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.jsonl", "\n".join(map(json.dumps, rows)))
        for index in range(len(rows)):
            picture = io.BytesIO()
            Image.new("RGB", (16, 16), (index, 0, 0)).save(picture, "PNG")
            archive.writestr(f"{index}.png", picture.getvalue())
    return path


def the_commands_reach_it(state: Path, folder: Path) -> None:
    """Run the commands against the real platform, from the upload of an archive to a refused job."""

    def spindle(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, [*words, "--state", str(state)])
        assert result.exit_code == code, result.output
        return result.output

    archive = zipped(folder / "discs.zip", ("red disc", "dark disc"))
    key = spindle("key").strip()
    assert key == (state / "key").read_text().strip()
    assert key not in spindle("key", "list")
    file_id = spindle("files", "upload", str(archive)).strip()
    assert json.loads(spindle("files", "list", "--json"))[0]["filename"] == "discs.zip"
    dataset = json.loads(spindle("datasets", "create", "discs", file_id, "--json"))
    assert (dataset["status"], dataset["rows"], dataset["version"]) == ("ready", 2, 1)
    assert "discs v1" in spindle("datasets", "list")
    rows = spindle("datasets", "rows", dataset["id"])
    assert "red disc" in rows
    assert "dark disc" in rows
    empty = zipped(folder / "empty.zip", ())
    assert "cannot be used" in spindle("datasets", "create", "empty", str(empty), code=1)
    assert "nobody" in spindle("jobs", "create", "nobody", dataset["id"], code=5)
    assert "No jobs yet" in spindle("jobs", "list")
    assert "nobody" in spindle("models", "show", "nobody", code=5)
    assert f"{file_id} deleted" in spindle("files", "delete", file_id)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_platform_starts_mends_itself_and_stops_whole(tmp_path: Path) -> None:
    state = tmp_path / "state"
    said = tmp_path / "said.txt"
    with up(state) as process:
        assert (state / "key").stat().st_mode & 0o777 == 0o600
        with Spindle(state=state) as client:
            assert all(model.kind == "base" for model in client.models.list())
            with pytest.raises(SpindleError, match="Choose another port"):
                check_port("127.0.0.1", int(client.location.url.rpartition(":")[2]))
        the_commands_reach_it(state, tmp_path)
        text = said.read_text()
        assert (state / "url").read_text().strip() in text
        assert str(state / "logs") in text

        assert pid_of(process, INGEST) is not None
        victim = pid_of(process, UNITS)
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        until(lambda: pid_of(process, UNITS) not in {None, victim}, "the worker was not started again")
        assert "units was killed by SIGKILL" in said.read_text()

        second = subprocess.run(
            [sys.executable, "-m", "spindle", "up", "--port", "0", "--state", str(state)],
            env=importable(dict(os.environ)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 1
        assert "already runs" in second.stderr

        everyone = set(family(process.pid))
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert time.monotonic() - began < 15
    until(lambda: not left(everyone), "services outlived their supervisor", 5)
    assert not (state / "url").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_supervisor_that_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with up(state, ready=False) as process:
        until(lambda: pid_of(process, "worker beat") is not None, "the services were not started")
        everyone = set(family(process.pid))
        process.kill()
        process.wait()
        until(lambda: not left(everyone), "services outlived their supervisor", 30)


def test_a_free_port_can_be_listened_on() -> None:
    check_port("127.0.0.1", free_port("127.0.0.1"))
