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

app = typer.Typer(help="Base models, results, imports, and the names they have.", no_args_is_help=True)
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
    as_json: AsJson = False,
) -> None:
    """Download a model as the zip of a diffusers folder, which plain diffusers loads."""
    path = target or Path(f"{name.replace(':', '-')}.zip")
    with connect(state) as client, err.status(f"Downloading {escape(name)}"):
        count = client.models.download(name, path)
        model = client.models.get(name) if as_json else None
    if model is not None:
        show_json(model)
        return
    out.print(f"{path}  {size(count)}", markup=False)


@app.command(epilog=examples("spindle models lineage portrait@production --svg portrait.svg"))
@plain_errors
def lineage(
    name: Name,
    svg: Annotated[
        Path | None,
        typer.Option(help="Draw it into this file, with all that came of it.", show_default=False),
    ] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show where a model comes from: dataset, job, iteration, checkpoint, model."""
    with connect(state) as client:
        if svg is not None:
            count = client.models.draw_lineage(name, svg)
            err.print(f"{svg}  {size(count)}", markup=False)
        found = client.models.lineage(name)
    if as_json:
        show_json(found)
        return
    rows = (
        (
            step.type,
            escape(step.id),
            escape(" ".join(f"{key}={value}" for key, value in (step.model_extra or {}).items())),
        )
        for step in found.data
    )
    show_table(rows, "what", "id", "more", empty="Nothing is known.")


@app.command(epilog=examples("spindle models delete ft:starter:cats:a1b2c3"))
@plain_errors
def delete(
    names: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Names of results.")],
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Delete results. Their jobs and checkpoints stay."""
    with connect(state) as client:
        gone = [client.models.delete(name) for name in names]
    if as_json:
        show_json(gone)
        return
    for each in gone:
        out.print(f"{each.id} deleted", markup=False)
