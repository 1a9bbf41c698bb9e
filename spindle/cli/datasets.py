"""``spindle datasets``."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    status,
    when,
)
from spindle.errors import SpindleError

if TYPE_CHECKING:
    from spindle.results import Dataset

app = typer.Typer(help="Pictures with captions, checked row by row.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="DATASET", help="Id of a dataset.")]


@app.command(
    epilog=examples(
        "spindle datasets create cats cats.zip", "spindle datasets create cats file-01J... --no-wait"
    )
)
@plain_errors
def create(
    name: Annotated[str, typer.Argument(help="Name; a name that exists gets its next version.")],
    source: Annotated[str, typer.Argument(help="An archive on this machine, or the id of an uploaded file.")],
    wait: Annotated[bool, typer.Option(help="Wait until the rows are checked.")] = True,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Make a new version of a dataset from an archive.

    A zip or tar of pictures with metadata.jsonl, metadata.csv or a .txt caption beside each picture.
    """
    with connect(state) as client:
        path = Path(source)
        with err.status(f"Checking {source}"):
            file_id = client.files.upload(path).id if path.exists() else source
            dataset = client.datasets.create(name, file_id)
            while wait and dataset.status not in {"ready", "failed"}:
                time.sleep(0.3)
                dataset = client.datasets.get(dataset.id)
    if as_json:
        show_json(dataset)
    else:
        _show(dataset)
    if dataset.status == "failed":
        raise SpindleError(f"{dataset.id} cannot be used: {dataset.failure_message}")


@app.command("list")
@plain_errors
def list_(limit: Limit = 20, state: State = None, as_json: AsJson = False) -> None:
    """List datasets, newest first."""
    with connect(state) as client:
        datasets = list(client.datasets.list(limit=limit))
    if as_json:
        show_json(datasets)
        return
    rows = (
        (
            each.id,
            escape(f"{each.name} v{each.version}"),
            status(each.status),
            str(each.rows or ""),
            when(each.created_at),
        )
        for each in datasets
    )
    show_table(
        rows,
        "id",
        "name",
        "status",
        "rows",
        "created",
        empty="No datasets yet: `spindle datasets create NAME ZIP`.",
    )


@app.command()
@plain_errors
def show(dataset_id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Show a dataset: its statistics, and every rejected row with its reason."""
    with connect(state) as client:
        dataset = client.datasets.get(dataset_id)
    if as_json:
        show_json(dataset)
        return
    _show(dataset)


@app.command()
@plain_errors
def rows(dataset_id: Id, limit: Limit = 20, state: State = None, as_json: AsJson = False) -> None:
    """List a dataset's rows with their captions."""
    with connect(state) as client:
        found = list(client.datasets.rows(dataset_id, limit=limit))
    if as_json:
        show_json(found)
        return
    show_table(((str(row.index), escape(row.caption)) for row in found), "row", "caption", empty="No rows.")


def _show(dataset: "Dataset") -> None:
    show_pairs(
        id=dataset.id,
        name=f"{escape(dataset.name)} v{dataset.version}",
        status=status(dataset.status),
        rows=dataset.rows,
        rejected=len(dataset.rejected),
        failure=escape(dataset.failure_message or ""),
        **{key: escape(str(value)) for key, value in (dataset.statistics or {}).items()},
    )
    for row in dataset.rejected:
        place = f"{row.file}{'' if row.row is None else f', row {row.row}'}"
        out.print(f"  [yellow]rejected[/] {escape(place)}: {escape(row.reason)}")
