"""``spindle key``."""

from typing import Annotated

import typer
from rich.markup import escape

from spindle.cli.terminal import State, connect, examples, out, plain_errors, show_table, when
from spindle.errors import SpindleError
from spindle.location import locate

app = typer.Typer(help="Print the API key, or make and revoke keys.")


@app.callback(
    invoke_without_command=True,
    epilog=examples("export OPENAI_API_KEY=$(spindle key)", "spindle key create laptop", "spindle key list"),
)
@plain_errors
def key(context: typer.Context, state: State = None) -> None:
    """Print the API key of the platform; with a command, make, list or revoke keys."""
    if context.invoked_subcommand is not None:
        return
    location = locate(state=state)
    if location.key is None:
        raise SpindleError(
            f"There is no key in {location.state} yet: the first `spindle up` writes it. "
            "Or name another folder with --state."
        )
    out.print(location.key, markup=False)


@app.command()
@plain_errors
def create(name: Annotated[str, typer.Argument(help="What the key is for.")], state: State = None) -> None:
    """Make a key. It is shown this once only."""
    with connect(state) as client:
        out.print(client.keys.create(name).key or "", markup=False)


@app.command("list")
@plain_errors
def list_(state: State = None) -> None:
    """List keys, without their secrets."""
    with connect(state) as client:
        rows = [(each.id, escape(each.name), when(each.created_at)) for each in client.keys.list()]
    show_table(rows, "id", "name", "created", empty="No keys.")


@app.command()
@plain_errors
def revoke(key_id: Annotated[str, typer.Argument(help="Id of a key.")], state: State = None) -> None:
    """Revoke a key: it stops working at once."""
    with connect(state) as client:
        out.print(f"{client.keys.revoke(key_id).id} revoked", markup=False)
