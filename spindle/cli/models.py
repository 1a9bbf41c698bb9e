"""``spindle models``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

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
    size,
    when,
)

app = typer.Typer(help="Base models and results.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="MODEL", help="Name of a model.")]


@app.command("list")
@plain_errors
def list_(limit: Limit = 50, state: State = None, as_json: AsJson = False) -> None:
    """List the models that can draw and be fine-tuned."""
    with connect(state) as client:
        models = list(client.models.list(limit=limit))
    if as_json:
        show_json(models)
        return
    rows = ((escape(model.id), escape(model.kind), when(model.created)) for model in models)
    show_table(rows, "name", "kind", "created", empty="No models: the platform found no base model.")


@app.command()
@plain_errors
def show(name: Name, state: State = None, as_json: AsJson = False) -> None:
    """Show a model and where it comes from."""
    with connect(state) as client:
        model = client.models.get(name)
    if as_json:
        show_json(model)
        return
    extra = {key: escape(str(value)) for key, value in (model.model_extra or {}).items() if key != "object"}
    show_pairs(name=escape(model.id), kind=escape(model.kind), created=when(model.created), **extra)


@app.command(epilog=examples("spindle models download ft:starter:cats:a1b2c3 -o cats-model.zip"))
@plain_errors
def download(
    name: Name,
    target: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write.", show_default=False)
    ] = None,
    state: State = None,
) -> None:
    """Download a model as the zip of a diffusers folder, which plain diffusers loads."""
    path = target or Path(f"{name.replace(':', '-')}.zip")
    with connect(state) as client, err.status(f"Downloading {escape(name)}"):
        count = client.models.download(name, path)
    out.print(f"{path}  {size(count)}", markup=False)
