"""The jobs' progress while they run: bars on a terminal, a line a stage elsewhere."""

import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from spindle.cli.terminal import duration
from spindle.results import Job


def running_unit(job: Job) -> dict[str, Any] | None:
    """Return the unit that runs now."""
    return next((unit for unit in job.attempts if unit.get("state") == "running"), None)


def doing(job: Job) -> str:
    """Say what a job does now, without numbers that move."""
    unit = running_unit(job)
    if job.status != "running" or unit is None:
        return job.status.replace("_", " ")
    iteration = int(unit.get("iteration", 0))
    place = f" {iteration}" if job.method.type == "spin" and iteration >= 1 else ""
    return f"{unit['kind']}{place}"


def time_left(job: Job, elapsed: float) -> float | None:
    """Return the seconds a job still needs: as the server estimates, else as its pace suggests."""
    finish = (job.model_extra or {}).get("estimated_finish")
    if finish:
        return max(0.0, float(finish) - time.time())
    share = job.progress
    return elapsed * (1 - share) / share if share > 0.03 and job.status == "running" else None


class Live:
    """Shows jobs until they end; use it as a context manager and call ``show`` whenever there is news."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("[bold]{task.description:<5}"),
            BarColumn(bar_width=32),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[doing]}", style="cyan"),
            TextColumn("{task.fields[left]}", style="dim"),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def show(self, label: str, job: Job) -> None:
        """Show a job as it stands."""
        now = doing(job)
        elapsed = time.time() - (job.started_at or job.created_at)
        left = time_left(job, elapsed)
        took = duration((job.finished_at or time.time()) - (job.started_at or job.created_at))
        text = f"took {took}" if job.finished else f"about {duration(left)} left" if left is not None else ""
        unit = running_unit(job)
        progress = (unit or {}).get("progress") or {}
        count = f" {progress['step']}/{progress['of']}" if {"step", "of"} <= progress.keys() else ""
        if label not in self._tasks:
            self._tasks[label] = self._bars.add_task(label, total=1.0, doing="", left="")
        done = 1.0 if job.finished else job.progress
        self._bars.update(self._tasks[label], completed=done, doing=now + count, left=text)
        if not self._console.is_terminal and self._said.get(label) != now:
            self._said[label] = now
            self._console.print(f"{label}: {now}{f', {text}' if text else ''}", markup=False)
