"""What every command shares: where the platform is, what is said to people, and how a mistake ends."""

import functools
import json
import shlex
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from spindle.errors import ApiError, NotRunningError, SpindleError, UploadBrokenError

if TYPE_CHECKING:
    from spindle.client import Spindle
    from spindle.results import File, Result

P = ParamSpec("P")
T = TypeVar("T")

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

State = Annotated[
    Path | None,
    typer.Option(
        "--state",
        help="State folder, where the address and the key of the platform are; "
        "SPINDLE_STATE otherwise, or else ./.spindle.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Limit = Annotated[int, typer.Option("--limit", "-l", min=1, help="How many at most.")]


# What a command's exit code tells scripts (docs/cli.md); 2 is a mistake in the command line, by click.
FAILED, NOT_RUNNING, NOT_ALLOWED, NOT_THERE, LATER, INTERRUPTED = 1, 3, 4, 5, 6, 130
OF_STATUS = {401: NOT_ALLOWED, 403: NOT_ALLOWED, 404: NOT_THERE, 429: LATER, 503: LATER}


def examples(*lines: str) -> str:
    """Return the end of a help page: a line a command."""
    return "\n".join(("[bold]Examples[/]", *(f"[dim]$[/] {escape(line)}" for line in lines)))


def connect(state: Path | None) -> "Spindle":
    """Return a client; httpx and pydantic are loaded only now, so that ``--help`` is quick."""
    from spindle.client import Spindle  # noqa: PLC0415  # heavy

    return Spindle(state=state)


def plain_errors(command: Callable[P, T]) -> Callable[P, T]:
    """Let a command end with the message of what went wrong, and an exit code that tells its kind."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except SpindleError as error:
            err.print(f"[bold red]Error:[/] {escape(str(error))}{_where(error)}")
            raise typer.Exit(exit_code(error)) from error
        except KeyboardInterrupt as error:
            raise typer.Exit(INTERRUPTED) from error

    return run


def exit_code(error: SpindleError) -> int:
    """Return what a command ends with."""
    if isinstance(error, UploadBrokenError) and isinstance(error.__cause__, SpindleError):
        return exit_code(error.__cause__)
    if isinstance(error, NotRunningError):
        return NOT_RUNNING
    if isinstance(error, ApiError):
        return OF_STATUS.get(error.status, FAILED)
    return FAILED


def _where(error: SpindleError) -> str:
    """Tell under which id the server's log has its own mistakes."""
    if isinstance(error, ApiError) and error.status >= 500 and error.request_id:
        return f" [dim]({escape(error.request_id)} in the server's log)[/]"
    return ""


def uploaded(client: "Spindle", path: Path, *, resume: str | None = None) -> "File":
    """Upload a file, with a bar where somebody looks.

    How to go on with a large one is told at its beginning: nothing can be told by a command that is killed.
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    again = f"If it breaks off: spindle files upload {shlex.quote(str(path))} --resume"
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(f"Uploading {escape(path.name)}", total=None)
        return client.files.upload(
            path,
            resume=resume,
            begun=lambda upload_id: err.print(
                f"If it breaks off: {again} --resume {upload_id}", markup=False
            ),
            progress=lambda done, of: progress.update(task, completed=done, total=of),
        )


def given(client: "Spindle", source: str) -> str:
    """Return the id of the file that is uploaded from a path; an id stays as it is.

    Raises:
        SpindleError: there is no such file.
    """
    path = Path(source)
    if path.exists():
        return uploaded(client, path).id
    if path.suffix:
        raise SpindleError(f"There is no file {source}.")
    return source


def when(seconds: int | None) -> str:
    """Return a moment in the local time."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S") if seconds else ""


def size(count: int) -> str:
    """Return a number of bytes as people read it."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if value >= 100 or unit == "B" else f"{value:.1f} {unit}"


def duration(seconds: float) -> str:
    """Return a time span as people read it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


STATUS_COLOURS = {
    "succeeded": "green",
    "ready": "green",
    "failed": "red",
    "cancelled": "yellow",
    "paused": "yellow",
}


def status(word: str) -> str:
    """Return a status in its colour."""
    return f"[{STATUS_COLOURS.get(word, 'cyan')}]{escape(word)}[/]"


def show_json(body: "Result | Iterable[Result]") -> None:
    """Print results as JSON: an object, or a list of them."""
    from spindle.results import Result  # noqa: PLC0415  # heavy

    raw: Any = body.model_dump() if isinstance(body, Result) else [each.model_dump() for each in body]
    out.print_json(json.dumps(raw))


def show_line(body: "Result") -> None:
    """Print a result as one line of JSON, for programs that read while it goes on."""
    out.print(json.dumps(body.model_dump()), markup=False, soft_wrap=True)


def show_table(rows: Iterable[tuple[str, ...]], *columns: str, empty: str) -> None:
    """Print rows under their column names, or what to do when there are none.

    The first column, of ids, is never cut: it is what is copied.
    """
    lines = list(rows)
    widest = max((Text.from_markup(line[0]).cell_len for line in lines), default=0)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(columns[0], no_wrap=True, min_width=widest)
    for column in columns[1:]:
        table.add_column(column, overflow="fold")
    for line in lines:
        table.add_row(*line)
    out.print(table if table.row_count else f"[dim]{escape(empty)}[/]")


def show_pairs(**pairs: Any) -> None:
    """Print names and values below each other; a value that is None or empty is left out."""
    table = Table.grid(padding=(0, 2))
    for name, value in pairs.items():
        if value not in (None, "", (), {}):
            table.add_row(f"[dim]{name.replace('_', ' ')}[/]", str(value))
    out.print(table)
