"""``spindle key``."""

import time
from typing import Annotated

import typer
from rich.markup import escape

from spindle.cli.spans import seconds_of
from spindle.cli.terminal import (
    AsJson,
    Limit,
    State,
    connect,
    examples,
    out,
    plain_errors,
    show_json,
    show_pairs,
    show_table,
    when,
)
from spindle.errors import SpindleError
from spindle.location import locate

app = typer.Typer(help="Print the API key, or make, rotate and revoke keys.")
Id = Annotated[str, typer.Argument(metavar="KEY", help="Id of a key.")]


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        "export OPENAI_API_KEY=$(spindle key)",
        "spindle key create laptop",
        "spindle key create ci --scope read --scope train --expires 30d",
        "spindle key list",
    ),
)
@plain_errors
def key(context: typer.Context, state: State = None) -> None:
    """Print the API key of the platform; with a command, make, list, rotate or revoke keys."""
    if context.invoked_subcommand is not None:
        return
    location = locate(state=state)
    if location.key is None:
        raise SpindleError(
            f"There is no key in {location.state} yet: the first `spindle up` writes it. "
            "Or name another folder with --state."
        )
    out.print(location.key, markup=False)


@app.command(epilog=examples("spindle key create ci --scope read --scope train --expires 30d"))
@plain_errors
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scopes: Annotated[
        list[str] | None,
        typer.Option("--scope", help="read, train, serve or admin; repeat it for more. All but admin."),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(help="After how long it stops working, such as 12h or 30d.", show_default=False),
    ] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown this once only."""
    until = None if expires is None else int(time.time() + seconds_of(expires))
    with connect(state) as client:
        made = client.keys.create(name, scopes=scopes or None, expires_at=until)
    if as_json:
        show_json(made)
        return
    out.print(made.key or "", markup=False)


@app.command("list")
@plain_errors
def list_(limit: Limit = 50, state: State = None, as_json: AsJson = False) -> None:
    """List keys, without their secrets."""
    with connect(state) as client:
        keys = list(client.keys.list(limit=limit))
    if as_json:
        show_json(keys)
        return
    rows = (
        (
            each.id,
            escape(each.name),
            escape(f"{each.prefix}..." if each.prefix else ""),
            " ".join(each.scopes),
            when(each.created_at),
            when(each.last_used_at),
            "revoked" if each.revoked_at else when(each.expires_at),
        )
        for each in keys
    )
    show_table(rows, "id", "name", "begins", "scopes", "created", "last used", "expires", empty="No keys.")


@app.command()
@plain_errors
def show(key_id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Show a key, without its secret."""
    with connect(state) as client:
        found = client.keys.get(key_id)
    if as_json:
        show_json(found)
        return
    show_pairs(
        id=found.id,
        name=escape(found.name),
        begins=escape(found.prefix or ""),
        scopes=" ".join(found.scopes),
        created=when(found.created_at),
        last_used=when(found.last_used_at),
        expires=when(found.expires_at),
        revoked=when(found.revoked_at),
    )


@app.command(epilog=examples("spindle key rotate key-01J... --grace 1h"))
@plain_errors
def rotate(
    key_id: Id,
    grace: Annotated[
        str | None,
        typer.Option(help="How long the old secret still works, such as 1h; 0s: not at all. A day."),
    ] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Give a key a new secret, which is shown this once only."""
    with connect(state) as client:
        rotated = client.keys.rotate(key_id, grace_seconds=None if grace is None else seconds_of(grace))
    if as_json:
        show_json(rotated)
        return
    out.print(rotated.key or "", markup=False)


@app.command()
@plain_errors
def revoke(key_id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Revoke a key: it stops working at once."""
    with connect(state) as client:
        gone = client.keys.revoke(key_id)
    if as_json:
        show_json(gone)
        return
    out.print(f"{gone.id} revoked", markup=False)
