"""``spindle project`` and ``spindle audit``."""

from typing import Annotated

import typer
from rich.markup import escape

from spindle.cli.terminal import (
    AsJson,
    Limit,
    State,
    connect,
    plain_errors,
    show_json,
    show_pairs,
    show_table,
    when,
)


@plain_errors
def project(state: State = None, as_json: AsJson = False) -> None:
    """Show the key's project: its limits, and what it uses of them."""
    with connect(state) as client:
        mine = client.project()
    if as_json:
        show_json(mine)
        return
    show_pairs(
        id=mine.id,
        name=escape(mine.name),
        open_jobs=_of(mine.open_jobs, mine.max_jobs),
        running_at_most=mine.max_running,
        gpu_seconds_used=_of(round(mine.gpu_seconds_used), mine.gpu_seconds_limit),
        gpu_seconds_reserved=round(mine.gpu_seconds_reserved),
        stored_bytes=_of(mine.stored_bytes, mine.max_bytes),
    )


@plain_errors
def audit(
    key_id: Annotated[str | None, typer.Option("--key", help="Only what this key did.")] = None,
    object_id: Annotated[str | None, typer.Option("--object", help="Only what was done to this.")] = None,
    limit: Limit = 50,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """List who changed what in the project, newest first. Needs a key with the scope admin."""
    with connect(state) as client:
        entries = list(client.audit(limit=limit, key_id=key_id, object_id=object_id))
    if as_json:
        show_json(entries)
        return
    rows = (
        (
            when(each.created_at),
            each.key_id,
            f"{each.method} {escape(each.route)}",
            escape(each.object_id or ""),
            "[red]denied[/]" if each.outcome == "denied" else each.outcome,
        )
        for each in entries
    )
    show_table(rows, "when", "key", "what", "object", "outcome", empty="Nothing was changed yet.")


def _of(used: int, limit: float | None) -> str:
    return str(used) if limit is None else f"{used} of {limit:.0f}"
