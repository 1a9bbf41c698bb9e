"""Lines for a supervisor, numbers for a person."""

import io
import json
from pathlib import Path

import pytest

from spin_engine.reporter import JsonLines, Progress, Terminal, metrics_line


def test_progress_comes_at_most_twice_a_second_but_always_at_the_end() -> None:
    now = [0.0]
    stream = io.StringIO()
    progress = Progress(JsonLines(stream, lambda: now[0]), "train", 20, clock=lambda: now[0])
    for _ in range(20):
        now[0] += 0.125
        progress.advance()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["step"] for line in lines] == [1, 5, 9, 13, 17, 20]
    assert lines[1] == {"type": "progress", "step": 5, "of": 20, "what": "train", "seconds_left": 1.9}


def test_time_left_counts_what_this_process_did() -> None:
    now = [0.0]
    stream = io.StringIO()
    progress = Progress(JsonLines(stream, lambda: now[0]), "train", 100, done=90, clock=lambda: now[0])
    now[0] = 2.0
    progress.advance(5)
    assert json.loads(stream.getvalue())["seconds_left"] == 2.0


def test_other_lines_are_never_held_back() -> None:
    stream = io.StringIO()
    lines = JsonLines(stream, lambda: 0.0)
    for step in range(3):
        lines.send(metrics_line(step, 1, {"loss": 0.5}))
    assert len(stream.getvalue().splitlines()) == 3


def test_terminal_keeps_metrics_and_shows_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal(tmp_path)
    progress = Progress(terminal, "train", 2)
    progress.advance()
    terminal.send(metrics_line(1, 1, {"loss": 0.5}))
    progress.advance()
    value = {"value": 0.5, "low": 0.4, "high": 0.6}
    terminal.send({"type": "evaluation", "iteration": 1, "values": {"style": value}})
    terminal.send({"type": "message", "level": "warn", "text": "careful"})
    terminal.close()
    kept = [json.loads(line)["type"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert kept == ["metrics", "evaluation"]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "iteration 1: style 0.500" in shown.err
    assert "careful" in shown.err
