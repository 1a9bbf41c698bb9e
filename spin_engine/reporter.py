"""What a unit tells while it works: JSON lines for a supervisor, or a progress bar and files for a person."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TextIO

from tqdm import tqdm

Line = dict[str, Any]
SECONDS_BETWEEN_PROGRESS = 0.5


class Reporter(Protocol):
    """Where lines go. Each has a ``type``; see ``lines`` below for what else."""

    def send(self, line: Line) -> None:
        """Take one line."""


class JsonLines:
    """Writes each line as JSON; progress at most twice a second, but always the last."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        """Write to ``stream``; ``clock`` gives seconds."""
        self._stream = stream
        self._clock = clock
        self._next = float("-inf")

    def send(self, line: Line) -> None:
        """Write the line at once."""
        if line["type"] == "progress":
            now = self._clock()
            if now < self._next and line["step"] < line["of"]:
                return
            self._next = now + SECONDS_BETWEEN_PROGRESS
        self._stream.write(json.dumps(line) + "\n")
        self._stream.flush()


class ErrorsOnly:
    """What a process beside the main one tells: only why it failed."""

    def __init__(self, reporter: Reporter) -> None:
        """Pass errors on to ``reporter``."""
        self._reporter = reporter

    def send(self, line: Line) -> None:
        """Pass the line on if it is an error."""
        if line["type"] == "error":
            self._reporter.send(line)


class Terminal:
    """Shows a progress bar on stderr and appends metrics and evaluations to ``metrics.jsonl``."""

    def __init__(self, folder: Path) -> None:
        """Append to ``folder/metrics.jsonl``."""
        self._metrics = folder / "metrics.jsonl"
        self._bar: tqdm[Any] | None = None
        self._what = ""

    def send(self, line: Line) -> None:
        """Show or note the line."""
        kind = line["type"]
        if kind == "progress":
            self._progress(line)
        elif kind in ("metrics", "evaluation"):
            with self._metrics.open("a") as stream:
                stream.write(json.dumps(line) + "\n")
        if kind == "metrics" and self._bar is not None:
            self._bar.set_postfix({name: f"{line['values'][name]:.3g}" for name in ("loss",)}, refresh=False)
        elif kind == "evaluation":
            self.close()
            shown = ", ".join(f"{name} {found['value']:.3f}" for name, found in line["values"].items())
            tqdm.write(
                f"iteration {line['iteration']}: {shown or 'nothing to measure with'}", file=sys.stderr
            )
        elif kind == "message":
            tqdm.write(line["text"], file=sys.stderr)

    def close(self) -> None:
        """Let go of the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _progress(self, line: Line) -> None:
        if self._bar is None or self._what != line["what"] or self._bar.total != line["of"]:
            self.close()
            self._what = line["what"]
            self._bar = tqdm(total=line["of"], initial=line["step"], desc=self._what, file=sys.stderr)
        self._bar.update(line["step"] - self._bar.n)
        if line["step"] >= line["of"]:
            self.close()


class Progress:
    """Counts the steps of one thing and tells how long the rest will take."""

    def __init__(
        self,
        reporter: Reporter,
        what: str,
        of: int,
        *,
        done: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start at ``done`` of ``of`` steps of ``what``."""
        self._reporter = reporter
        self._what = what
        self._of = of
        self._first = self._step = done
        self._clock = clock
        self._since = clock()

    def advance(self, steps: int = 1) -> None:
        """Count steps that are done."""
        self._step += steps
        pace = (self._clock() - self._since) / (self._step - self._first)
        left = round(pace * (self._of - self._step), 1)
        self._reporter.send(
            {
                "type": "progress",
                "step": self._step,
                "of": self._of,
                "what": self._what,
                "seconds_left": left,
            }
        )


def metrics_line(step: int, iteration: int, values: Mapping[str, float]) -> Line:
    """Return the line of one training step's numbers."""
    return {"type": "metrics", "step": step, "iteration": iteration, "values": dict(values)}


def checkpoint_line(step: int, iteration: int, path: Path) -> Line:
    """Return the line of a checkpoint that is complete under its name."""
    return {"type": "checkpoint", "step": step, "iteration": iteration, "path": str(path)}


def message_line(text: str, level: str = "info") -> Line:
    """Return a line for a person; ``level`` is info or warn."""
    return {"type": "message", "level": level, "text": text}
