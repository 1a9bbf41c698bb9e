"""``spindle datasets``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from spindle.cli.terminal import (
    AsJson,
    Limit,
    State,
    connect,
    err,
    examples,
    given,
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
        "spindle datasets create cats cats.zip",
        "spindle datasets create cats file-01J... --no-wait",
        "spindle datasets create cats cats.tar --tolerance 0.01 --validation 0.1 --split-by caption",
    )
)
@plain_errors
def create(
    name: Annotated[str, typer.Argument(help="Name; a name that exists gets its next version.")],
    source: Annotated[str, typer.Argument(help="An archive on this machine, or the id of an uploaded file.")],
    tolerance: Annotated[
        float | None,
        typer.Option(help="The share of rows that may be bad; above it nothing is used.", min=0, max=1),
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(help="The share of rows held out, as a dataset of their own.", min=0, max=0.5),
    ] = None,
    split_by: Annotated[
        str, typer.Option(help="What stays together when rows are held out: row or caption.")
    ] = "row",
    image_column: Annotated[
        str | None, typer.Option(help="The column of pictures, or of their file names, if it is unusual.")
    ] = None,
    caption_column: Annotated[str | None, typer.Option(help="The column of captions, likewise.")] = None,
    split_seed: Annotated[int, typer.Option(help="Decides which rows are held out.")] = 0,
    wait: Annotated[bool, typer.Option(help="Wait until the rows are checked.")] = True,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Make a new version of a dataset from an archive.

    A zip or tar of pictures with metadata.jsonl, metadata.csv or a .txt caption beside each picture, a
    WebDataset tar, or a parquet file.
    """
    split: dict[str, Any] | None = None
    if validation is not None:
        split = {"validation": validation, "by": split_by, "seed": split_seed}
    named = {"image": image_column, "caption": caption_column}
    columns = {name: column for name, column in named.items() if column is not None}
    with connect(state) as client:
        file_id = given(client, source)
        with err.status(f"Checking {escape(source)}"):
            dataset = client.datasets.create(
                name, file_id, tolerance=tolerance, split=split, columns=columns or None
            )
            if wait:
                dataset = client.datasets.wait(dataset.id)
    if as_json:
        show_json(dataset)
    else:
        _show(dataset)
    if dataset.status == "failed":
        raise SpindleError(f"{dataset.id} cannot be used: {dataset.failure_message}")


@app.command("list")
@plain_errors
def list_(
    name: Annotated[str | None, typer.Option(help="Only the versions of this name.")] = None,
    limit: Limit = 20,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """List datasets, newest first."""
    with connect(state) as client:
        datasets = list(client.datasets.list(limit=limit, name=name))
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


@app.command()
@plain_errors
def rejected(dataset_id: Id, limit: Limit = 100, state: State = None, as_json: AsJson = False) -> None:
    """List the rows that did not make it into a dataset, each with its reason."""
    with connect(state) as client:
        found = list(client.datasets.rejected(dataset_id, limit=limit))
    if as_json:
        show_json(found)
        return
    lines = (
        (escape(each.file), "" if each.row is None else str(each.row), escape(each.reason)) for each in found
    )
    show_table(lines, "file", "row", "reason", empty="No row was rejected.")


@app.command(epilog=examples("spindle datasets overlap ds-01J... ds-01K..."))
@plain_errors
def overlap(
    dataset_id: Id,
    other_id: Annotated[str, typer.Argument(metavar="OTHER", help="Id of the dataset to compare with.")],
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Tell how many pictures of a dataset are in another one, or look like one of it."""
    with connect(state) as client:
        found = client.datasets.overlap(dataset_id, other_id)
    if as_json:
        show_json(found)
        return
    show_pairs(rows=found.rows, identical=found.identical, alike=found.alike)


@app.command()
@plain_errors
def delete(dataset_id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Delete a dataset that no job was made with; of a split both parts."""
    with connect(state) as client:
        gone = client.datasets.delete(dataset_id)
    if as_json:
        show_json(gone)
        return
    out.print(f"{gone.id} deleted", markup=False)


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
