"""``spindle workers`` and ``spindle queue``."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from spindle.cli.terminal import (
    AsJson,
    Limit,
    State,
    connect,
    out,
    plain_errors,
    show_json,
    show_table,
    size,
    status,
    when,
)

if TYPE_CHECKING:
    from spindle.work import Queue, UnitAtWork, WaitingJob


@plain_errors
def workers(limit: Limit = 100, state: State = None, as_json: AsJson = False) -> None:
    """List the workers: what each has, when it was last heard, and what it does for this project."""
    with connect(state) as client:
        found = list(client.workers(limit=limit))
    if as_json:
        show_json(found)
        return
    rows = (
        (
            escape(each.id),
            each.role,
            status(each.status),
            _has(each.device, each.gpus, each.memory_bytes),
            " ".join(each.queues or ()),
            when(each.seen_at),
            _does(each.unit) if each.unit else ("other work" if each.status == "busy" else ""),
        )
        for each in found
    )
    show_table(
        rows,
        "name",
        "role",
        "status",
        "device",
        "queues",
        "last heard",
        "does",
        empty="No worker was seen in the last week: `spindle up` starts them.",
    )


@plain_errors
def queue(
    limit: Annotated[
        int, typer.Option("--limit", "-l", min=1, max=100, help="How many at most of each kind that waits.")
    ] = 20,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show what is at work for the project and what waits: its place, when it may start, what it lacks."""
    with connect(state) as client:
        found = client.queue(limit=limit)
    if as_json:
        show_json(found)
        return
    show_table(_lines(found), "id", "name", "status", "place", "starts", "what", empty="Nothing waits.")
    if found.queued_count > len(found.queued):
        out.print(f"{found.queued_count - len(found.queued)} more jobs are queued.")
    told = {"running": 0, "queued": 0, **found.other_projects}
    if any(told.values()):
        out.print(f"Other projects: {told['running']} units at work, {told['queued']} jobs queued.")


def _lines(found: "Queue") -> Iterator[tuple[str, ...]]:
    for unit in found.running:
        yield (
            unit.job or unit.dataset or unit.transfer or unit.id,
            escape(unit.name),
            status("running"),
            "",
            "",
            f"{_does(unit)} on {escape(unit.worker or '')}",
        )
    for job in (*found.begun, *found.queued, *found.validating):
        yield _waiting(job)
    for unit in found.transfers:
        yield unit.transfer or unit.id, escape(unit.name), status("pending"), "", "", unit.kind
    for dataset in found.datasets:
        lacks = found.datasets_wait_for
        yield (
            dataset.id,
            escape(f"{dataset.name} v{dataset.version}"),
            status("validating"),
            "",
            "",
            f"waits for {escape(lacks)}" if lacks else "",
        )


def _waiting(job: "WaitingJob") -> tuple[str, ...]:
    what = f"priority {job.priority}" if job.priority else ""
    if job.waits_for is not None:
        what = f"waits for {job.waits_for}"
    place = "" if job.position is None else f"{job.position} on {job.queue}"
    return job.id, escape(job.name), status(job.status), place, when(job.estimated_start), escape(what)


def _does(unit: "UnitAtWork") -> str:
    shard = f" ({unit.shard + 1} of {unit.shards})" if unit.shards > 1 else ""
    told = unit.progress or {}
    step = f", step {told['step']} of {told['of']}" if "step" in told and "of" in told else ""
    together = f", {len(unit.gang)} workers together" if unit.gang else ""
    return escape(
        f"{unit.kind} {unit.iteration}{shard}{step}{together}" if unit.job else f"{unit.kind}{step}"
    )


def _has(device: str, gpus: int, memory_bytes: int | None) -> str:
    memory = f", {size(memory_bytes)}" if memory_bytes else ""
    return (f"{gpus} GPU" if gpus else device) + memory
