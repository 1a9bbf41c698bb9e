"""Log lines: JSON on standard error, from our code and from libraries, without credentials."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from core.logs import configure_logs
from core.settings import Settings


@pytest.fixture
def logs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    """Standard error while logs are set up as in a service."""
    configure_logs(Settings(state=tmp_path))
    yield capsys
    structlog.reset_defaults()


def lines(captured: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in captured.readouterr().err.splitlines()]


def test_our_lines_and_those_of_libraries_look_alike(logs: pytest.CaptureFixture[str]) -> None:
    structlog.get_logger("ours").info("unit_claimed", unit="unit-1")
    logging.getLogger("theirs").warning("a %s", "word")
    ours, theirs = lines(logs)
    assert (ours["event"], ours["unit"], ours["level"]) == ("unit_claimed", "unit-1", "info")
    assert (theirs["event"], theirs["logger"], theirs["level"]) == ("a word", "theirs", "warning")
    assert str(ours["timestamp"]).endswith("Z")


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://user:hidden-part-0123456789@db/spindle",
        "redis://:hidden-part-0123456789@queue/0",
        "Bearer hidden-part-0123456789",
        "key spk-hidden-part-0123456789",
        "/v1/objects/x?expires=1&signature=hidden-part-0123456789",
    ],
)
def test_credentials_are_blanked(logs: pytest.CaptureFixture[str], text: str) -> None:
    structlog.get_logger("ours").info("told", detail=text)
    logging.getLogger("theirs").warning(text)
    try:
        raise ValueError(text)
    except ValueError:
        structlog.get_logger("ours").exception("broke")
    written = logs.readouterr().err
    assert "hidden-part" not in written
    assert len(written.splitlines()) == 3
