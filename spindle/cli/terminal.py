"""What every command shares: where the platform is, what is said to people, and how a mistake ends."""

import functools
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spindle.errors import SpindleError

if TYPE_CHECKING:
    from spindle.client import Spindle
    from spindle.results import Result

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


def examples(*lines: str) -> str:
    """Return the end of a help page: a line a command."""
    return "\n".join(("[bold]Examples[/]", *(f"[dim]$[/] {escape(line)}" for line in lines)))


def connect(state: Path | None) -> "Spindle":
    """Return a client; httpx and pydantic are loaded only now, so that ``--help`` is quick."""
    from spindle.client import Spindle  # noqa: PLC0415  # heavy

    return Spindle(state=state)


def plain_errors(command: Callable[P, T]) -> Callable[P, T]:
    """Let a command end with the message of what went wrong, without a traceback."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except SpindleError as error:
            err.print(f"[bold red]Error:[/] {escape(str(error))}")
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            raise typer.Exit(130) from error

    return run


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


def show_table(rows: Iterable[tuple[str, ...]], *columns: str, empty: str) -> None:
    """Print rows under their column names, or what to do when there are none."""
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*row)
    out.print(table if table.row_count else f"[dim]{escape(empty)}[/]")


def show_pairs(**pairs: Any) -> None:
    """Print names and values below each other; a value that is None or empty is left out."""
    table = Table.grid(padding=(0, 2))
    for name, value in pairs.items():
        if value not in (None, "", (), {}):
            table.add_row(f"[dim]{name.replace('_', ' ')}[/]", str(value))
    out.print(table)
