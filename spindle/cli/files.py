"""``spindle files``."""

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
    status,
    uploaded,
    when,
)
from spindle.errors import SpindleError

app = typer.Typer(help="Upload archives of pictures.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="FILE", help="Id of a file.")]
UploadId = Annotated[str, typer.Argument(metavar="UPLOAD", help="Id of an upload in parts.")]


@app.command(
    epilog=examples(
        "spindle files upload pictures.zip",
        "spindle files upload *.zip",
        "spindle files upload large.tar --resume upload-01J...",
    )
)
@plain_errors
def upload(
    paths: Annotated[list[Path], typer.Argument(help="Archives of pictures with captions.")],
    resume: Annotated[
        str | None,
        typer.Option(help="Go on with an upload that broke off; one file only.", show_default=False),
    ] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Upload files and print their ids. Large ones go in parts, and can be resumed for a day."""
    if resume is not None and len(paths) > 1:
        raise SpindleError("--resume goes on with one file: name that one alone.")
    with connect(state) as client:
        files = [uploaded(client, path, resume=resume) for path in paths]
    if as_json:
        show_json(files)
        return
    for file in files:
        out.print(file.id, markup=False)


@app.command("list")
@plain_errors
def list_(limit: Limit = 20, state: State = None, as_json: AsJson = False) -> None:
    """List files, newest first."""
    with connect(state) as client:
        files = list(client.files.list(limit=limit))
    if as_json:
        show_json(files)
        return
    rows = ((file.id, escape(file.filename), size(file.bytes), when(file.created_at)) for file in files)
    show_table(
        rows, "id", "name", "size", "uploaded", empty="No files yet: `spindle files upload pictures.zip`."
    )


@app.command()
@plain_errors
def show(file_id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Show a file's description."""
    with connect(state) as client:
        file = client.files.get(file_id)
    if as_json:
        show_json(file)
        return
    show_pairs(
        id=file.id,
        name=escape(file.filename),
        size=size(file.bytes),
        purpose=file.purpose,
        sha256=file.sha256,
        uploaded=when(file.created_at),
    )


@app.command(epilog=examples("spindle files download file-01J... -o pictures.zip"))
@plain_errors
def download(
    file_id: Id,
    target: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write.", show_default=False)
    ] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Download what was uploaded."""
    with connect(state) as client, err.status(f"Downloading {escape(file_id)}"):
        file = client.files.get(file_id)
        path = target or Path(Path(file.filename).name)
        count = client.files.download(file_id, path)
    if as_json:
        show_json(file)
        return
    out.print(f"{path}  {size(count)}", markup=False)


@app.command(epilog=examples("spindle files delete file-01J..."))
@plain_errors
def delete(
    ids: Annotated[list[str], typer.Argument(help="Ids of files.")],
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Delete files. Datasets made from them stay."""
    with connect(state) as client:
        gone = [client.files.delete(file_id) for file_id in ids]
    if as_json:
        show_json(gone)
        return
    for each in gone:
        out.print(f"{each.id} deleted", markup=False)


@app.command("show-upload")
@plain_errors
def show_upload(upload_id: UploadId, state: State = None, as_json: AsJson = False) -> None:
    """Show an upload in parts: how much of it has arrived, and until when it can be resumed."""
    with connect(state) as client:
        found = client.files.get_upload(upload_id)
    if as_json:
        show_json(found)
        return
    show_pairs(
        id=found.id,
        name=escape(found.filename),
        status=status(found.status),
        arrived=f"{size(found.received_bytes)} of {size(found.bytes)}",
        file=found.file.id if found.file is not None else None,
        until=when(found.expires_at),
    )


@app.command("cancel-upload")
@plain_errors
def cancel_upload(upload_id: UploadId, state: State = None, as_json: AsJson = False) -> None:
    """Give up an upload in parts; what has arrived of it is deleted."""
    with connect(state) as client:
        found = client.files.cancel_upload(upload_id)
    if as_json:
        show_json(found)
        return
    out.print(f"{found.id} {status(found.status)}")
