"""``spindle files``."""

from pathlib import Path
from typing import Annotated

import typer

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
    show_table,
    size,
    when,
)

app = typer.Typer(help="Upload archives of pictures.", no_args_is_help=True)


@app.command(epilog=examples("spindle files upload pictures.zip", "spindle files upload *.zip"))
@plain_errors
def upload(
    paths: Annotated[list[Path], typer.Argument(help="Archives of pictures with captions.")],
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Upload files and print their ids."""
    with connect(state) as client:
        for path in paths:
            if as_json:
                show_json(client.files.upload(path))
                continue
            with err.status(f"Uploading {path.name}"):
                file = client.files.upload(path)
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
    rows = ((file.id, file.filename, size(file.bytes), when(file.created_at)) for file in files)
    show_table(
        rows, "id", "name", "size", "uploaded", empty="No files yet: `spindle files upload pictures.zip`."
    )


@app.command(epilog=examples("spindle files delete file-01J..."))
@plain_errors
def delete(ids: Annotated[list[str], typer.Argument(help="Ids of files.")], state: State = None) -> None:
    """Delete files."""
    with connect(state) as client:
        for file_id in ids:
            out.print(f"{client.files.delete(file_id).id} deleted", markup=False)
