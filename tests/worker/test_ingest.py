"""The process that reads files, as a worker starts it: limits, progress, refusals, and what it leaves."""

import io
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.core.archives import LIMITS, jsonl, picture, write_zip
from worker.child import ROOT
from worker.ingest import EVERY_SECONDS, now_and_then

MEMORY = 1 << 30
SMALL = 512 << 20


def run(
    folder: Path, data: bytes, *, limits: dict[str, Any] | None = None, **given: int
) -> tuple[int, list[dict[str, Any]]]:
    """Read a file as a worker does; return the exit code and what was told."""
    (folder / "archive").write_bytes(data)
    spec = {
        "archive": str(folder / "archive"),
        "out": str(folder / "out"),
        "result": str(folder / "result.json"),
        "limits": asdict(LIMITS) | (limits or {}),
        "options": {},
        "memory_bytes": MEMORY,
        "cpu_seconds": 60,
    } | given
    (folder / "spec.json").write_text(json.dumps(spec))
    command = [sys.executable, "-m", "worker.ingest", str(folder / "spec.json")]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    return ran.returncode, [json.loads(line) for line in ran.stdout.splitlines()]


def test_a_good_file_tells_its_progress_and_its_result(tmp_path: Path) -> None:
    files = {"a.png": picture(), "metadata.jsonl": jsonl(("a.png", "red"))}
    data = write_zip(tmp_path / "a.zip", files).read_bytes()
    assert run(tmp_path, data) == (
        0,
        [{"type": "progress", "step": 1, "of": 1, "what": "ingest"}, {"type": "done"}],
    )
    assert json.loads((tmp_path / "result.json").read_text())["rows"] == 1


def test_a_file_of_bad_rows_lists_them(tmp_path: Path) -> None:
    data = write_zip(tmp_path / "a.zip", {"a.png": b"junk", "a.txt": b"red"}).read_bytes()
    code, told = run(tmp_path, data)
    assert code == 65
    rejected = [{"file": "a.png", "row": None, "reason": "not a PNG, JPEG or WebP picture"}]
    assert told[-1] == {
        "type": "error",
        "reason": "user_error",
        "message": f"no row can be used; 1 left out, the first: a.png: {rejected[0]['reason']}",
        "rejected": rejected,
    }
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"memory_bytes": SMALL}, f"{SMALL >> 20} MiB of memory"),
        ({"cpu_seconds": 1, "memory_bytes": 8 << 30}, "1 seconds of processor time"),
    ],
)
def test_a_file_that_costs_more_than_there_is_is_the_users_to_change(
    tmp_path: Path, given: dict[str, int], message: str
) -> None:
    """A kilobyte that decodes to 81 megapixels, three times: it will not do better on another worker."""
    sink = io.BytesIO()
    Image.new("1", (9000, 9000)).save(sink, "PNG")
    files = {f"{name}.png": sink.getvalue() for name in "abc"} | {f"{name}.txt": b"black" for name in "abc"}
    data = write_zip(tmp_path / "a.zip", files).read_bytes()
    code, told = run(tmp_path, data, limits={"max_picture_pixels": 10**8}, **given)
    assert code == 65
    assert told[-1] == {
        "type": "error",
        "reason": "user_error",
        "message": f"the file needs more than {message} to be read",
        "rejected": [],
    }
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("steps", "told"), [([0.0, 0.4, 0.9, 1.1, 1.2, 2.2], [1, 4, 6])])
def test_progress_is_told_now_and_then(steps: list[float], told: list[int]) -> None:
    times = iter([steps[0], *steps])
    seen: list[int] = []
    tell = now_and_then(lambda done, _of: seen.append(done), clock=lambda: next(times))
    for number in range(1, len(steps) + 1):
        tell(number, len(steps))
    assert EVERY_SECONDS == 1.0
    assert seen == told
