"""The demo's way through the API, without an engine: two jobs, a report that compares them, a sheet."""

from pathlib import Path

import pytest
from PIL import Image

from spindle.client import Spindle
from spindle.demo import run
from tests.api.conftest import copied, prepared, settings_in
from tests.api.platform import archive, server_in
from tests.api.test_images import serving
from tests.api.test_openai_client import working

__all__ = ["prepared"]


def test_two_jobs_become_a_report_and_a_sheet(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name, rows in (("train.zip", 3), ("test.zip", 2)):
        (data / name).write_bytes(archive(rows))
    monkeypatch.setattr(run, "DATA", data)
    monkeypatch.setattr(run, "MODEL", "tiny")
    monkeypatch.setattr(run, "LOOK_SECONDS", 0.05)
    report = tmp_path / "out" / "report.html"
    settings = settings_in(copied(prepared, tmp_path))
    with (
        server_in(settings) as server,
        working(server),
        serving(server),
        Spindle(url=server.url, key=server.secret) as client,
    ):
        facts, spin = run.experience(client, report)
    assert spin.status == "succeeded"
    assert [(each.label, each.role) for each in facts.columns] == [
        ("Base", "base"),
        ("SFT", "other"),
        ("SPIN 1", "own"),
        ("SPIN 2", "own"),
    ]
    page = report.read_text()
    assert page.count('src="data:image/png;base64,') == 4
    assert "beside sft" in page
    with Image.open(report.with_suffix(".png")) as sheet:
        assert sheet.size == (2 * 40 + 230 + 5 * 142 - 14, 2 * 40 + 76 + 2 * 142 - 14)
    run.conclude(facts, report, report.with_suffix(".png"))
    said = capsys.readouterr().out
    assert "Style" in said
    assert "0.500" in said
    assert facts.headline in said
