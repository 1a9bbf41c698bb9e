"""``spindle models``: exports, imports, cards."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from spindle.cli.terminal import (
    AsJson,
    State,
    connect,
    err,
    examples,
    given,
    out,
    plain_errors,
    show_json,
    size,
)
from spindle.errors import SpindleError

Model = Annotated[str, typer.Argument(metavar="MODEL", help="Name of a model.")]
FORMATS = "diffusers: a zip of the folder, with its card; lora, comfyui, a1111: one LoRA file."


def export(
    name: Model,
    form: Annotated[str, typer.Option("--format", "-f", help=FORMATS)] = "diffusers",
    target: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write.", show_default=False)
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until it is there, and download it.")] = True,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Write a model for other programs: plain diffusers, ComfyUI, AUTOMATIC1111."""
    with connect(state) as client:
        made = client.models.export(name, format=form)
        path = target or Path(made.filename)
        if wait:
            with err.status(f"Exporting {escape(name)}"):
                made = client.models.wait_for_export(name, form)
            _require(made.status, made.id, made.failure)
            with err.status(f"Downloading {escape(made.filename)}"):
                client.models.download_export(name, form, path)
    if as_json:
        show_json(made)
        return
    out.print(f"{path}  {size(made.bytes or 0)}" if wait else f"{made.id}  {made.status}", markup=False)


def import_(
    source: Annotated[str, typer.Argument(metavar="FILE", help="A path, or the id of an uploaded file.")],
    name: Annotated[
        str | None, typer.Option(help="Becomes a part of the model's name.", show_default=False)
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", help="The model that a LoRA is for.", show_default=False)
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Of a LoRA whose file does not tell it.", show_default=False)
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Of the model.", show_default=False)] = None,
    notes: Annotated[str | None, typer.Option(help="What people should know.", show_default=False)] = None,
    wait: Annotated[bool, typer.Option(help="Wait until it is a model.")] = True,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Make a model of a diffusers folder (zip or tar) or of a LoRA file; only safetensors are read."""
    with connect(state) as client:
        made = client.models.import_file(
            given(client, source), name=name, base_model=base, alpha=alpha, licence=licence, notes=notes
        )
        if wait:
            with err.status("Checking and loading it"):
                made = client.models.wait_for_import(made.id)
    if as_json:
        show_json(made)
    elif made.status != "failed":
        out.print(made.model or f"{made.id}  {made.status}", markup=False)
    if wait:
        _require(made.status, made.id, made.failure)


def card(
    name: Model,
    target: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write.", show_default=False)
    ] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Print a model's card: its data, method, settings, metrics, licences, and how to make it again."""
    with connect(state) as client:
        found = client.models.card(name)
    if target is not None:
        target.write_text(found.markdown)
    if as_json:
        show_json(found)
    elif target is None:
        out.print(found.markdown, markup=False)
    else:
        out.print(f"{target}  {size(len(found.markdown.encode()))}", markup=False)


def add_to(app: typer.Typer) -> None:
    """Give an app these commands."""
    app.command(
        epilog=examples(
            "spindle models export portrait@production",
            "spindle models export portrait --format comfyui -o portrait.safetensors",
        )
    )(plain_errors(export))
    app.command(
        "import",
        epilog=examples(
            "spindle models import sd15.zip --licence creativeml-openrail-m",
            "spindle models import style.safetensors --base starter --name style",
        ),
    )(plain_errors(import_))
    app.command(epilog=examples("spindle models card portrait@production -o README.md"))(plain_errors(card))


def _require(status: str, what: str, failure: dict[str, Any] | None) -> None:
    """Raise SpindleError for what has failed."""
    if status == "failed":
        raise SpindleError(f"{what} failed: {(failure or {}).get('message', 'no reason was told')}")
