"""``spindle images``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from spindle.cli.pictures import tell, write
from spindle.cli.terminal import (
    AsJson,
    Limit,
    State,
    connect,
    err,
    examples,
    out,
    plain_errors,
    show_json,
    show_pairs,
    show_table,
    status,
    when,
)

app = typer.Typer(help="Requests for pictures, of the last day.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="Of the request, from `spindle generate --async`.")]


@app.command("list")
@plain_errors
def list_(limit: Limit = 20, state: State = None, as_json: AsJson = False) -> None:
    """List requests for pictures, newest first."""
    with connect(state) as client:
        found = list(client.images.list(limit=limit))
    if as_json:
        show_json(found)
        return
    rows = (
        (each.id, status(each.status), escape(each.model), escape(each.prompt[:60]), when(each.created))
        for each in found
    )
    show_table(rows, "id", "status", "model", "prompt", "asked", empty="Nothing was asked for.")


@app.command()
@plain_errors
def show(drawing_id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Show how a request for pictures stands."""
    with connect(state) as client:
        found = client.images.get(drawing_id)
    if as_json:
        show_json(found)
        return
    show_pairs(
        id=found.id,
        status=status(found.status),
        model=escape(found.model),
        alias=escape(found.alias) if found.alias else None,
        prompt=escape(found.prompt),
        seeds=" ".join(map(str, found.seeds)),
        position=found.queue_position,
        failure=escape(found.failure.message) if found.failure else None,
        asked=when(found.created),
        finished=when(found.finished),
    )


@app.command(epilog=examples("spindle images wait img-01J... -o fox.png"))
@plain_errors
def wait(
    drawing_id: Id,
    target: Annotated[Path, typer.Option("--out", "-o", help="File to write; several are numbered.")] = Path(
        "out.png"
    ),
    timeout: Annotated[float | None, typer.Option(help="Seconds to wait at most.", min=0)] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Wait for the pictures of a request, and write them."""
    with connect(state) as client, err.status(f"Waiting for {escape(drawing_id)}"):
        found = client.images.wait(drawing_id, timeout=timeout)
        pictures = client.images.pictures(found)
    tell(write(pictures, target), as_json=as_json)


@app.command(epilog=examples("spindle images cancel img-01J..."))
@plain_errors
def cancel(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Of requests.")],
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """End requests for pictures; those that have ended stay as they are."""
    with connect(state) as client:
        found = [client.images.cancel(each) for each in ids]
    if as_json:
        show_json(found)
        return
    for each in found:
        out.print(f"{each.id} {each.status}", markup=False)
