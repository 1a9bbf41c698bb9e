"""Before and after a job: ``spindle jobs estimate``, ``methods`` and ``report``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from spindle.cli.jobs import Assignments, Id, settings
from spindle.cli.terminal import (
    AsJson,
    State,
    connect,
    duration,
    err,
    out,
    plain_errors,
    show_json,
    show_pairs,
    show_table,
    size,
    when,
)


@plain_errors
def estimate(
    model: Annotated[str, typer.Argument(help="Model to start from.")],
    data: Annotated[str, typer.Argument(help="Id of a dataset or a file.")],
    method: Annotated[str, typer.Option(help="spin, sft, dpo, ... (docs/methods.md).")] = "spin",
    assignments: Assignments = None,
    priority: Annotated[
        int | None, typer.Option(help="-100 to 100; higher goes first.", show_default=False)
    ] = None,
    queue: Annotated[str | None, typer.Option(help="Whose workers run it.", show_default=False)] = None,
    device: Annotated[str | None, typer.Option(help="cpu, gpu or auto.", show_default=False)] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Tell what a job would come to: time, memory, disk, its place in the queue. Nothing is made."""
    with connect(state) as client:
        found = client.jobs.estimate(
            model,
            data,
            method=method,
            hyperparameters=settings(assignments or []),
            priority=priority,
            queue=queue,
            device=device,
        )
    if as_json:
        show_json(found)
        return
    memory, disk = found.memory_bytes_at_least, found.disk_bytes
    unknown = "known after a first job on this model"
    show_pairs(
        time=unknown if found.seconds is None else f"about {duration(found.seconds)}",
        steps=found.steps,
        memory="" if memory is None else f"at least {size(memory)}",
        disk="" if disk is None else f"up to {size(disk)}",
        queue_position=found.queue_position,
        starts=when(found.estimated_start),
        waits_for=escape(found.waits_for or ""),
        refused=escape(found.refused or ""),
    )


@plain_errors
def methods(
    model: Annotated[str | None, typer.Argument(help="Whose recommendations.", show_default=False)] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """List the methods and their presets; with --json every hyperparameter with its help."""
    with connect(state) as client:
        found = client.jobs.methods(model)
    if as_json:
        show_json(found)
        return
    rows = (
        (
            each.type,
            escape(each.title),
            ", ".join(preset.name for preset in each.presets),
            escape(each.summary),
        )
        for each in found
    )
    show_table(rows, "method", "what it is", "presets", "more", empty="There are no methods.")


@plain_errors
def report(
    job_id: Id,
    target: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write.", show_default=False)
    ] = None,
    compared_with: Annotated[
        str | None, typer.Option("--with", help="Id of a job to compare it with.", show_default=False)
    ] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Write the report of a job, in any state: one HTML file that needs nothing else.

    With --json its facts are printed instead, and no file is written.
    """
    with connect(state) as client:
        facts = client.jobs.facts(job_id, compared_with=compared_with)
        if as_json:
            show_json(facts)
            return
        path = target or Path(f"{job_id}-report.html")
        with err.status("Writing the report"):
            count = client.jobs.report(job_id, path, compared_with=compared_with)
    out.print(f"[bold]{escape(facts.headline)}.[/] {escape(facts.sentence)}")
    out.print(f"{path}  {size(count)}", markup=False)
