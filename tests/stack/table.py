"""What was shown, with the seconds it took."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

HEAD = ("what", "seen", "seconds")


@dataclass
class Row:
    """One thing that was shown."""

    what: str
    seen: str = ""
    seconds: float = 0.0


@dataclass
class Proofs:
    """All that was shown, in order, and what went wrong."""

    tell: Callable[[str], None]
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: str | None = None

    @contextmanager
    def showing(self, what: str) -> Iterator[Row]:
        """Time a block; it is a row of the table when it ends well."""
        self.tell(f"{what} ...")
        row, begun = Row(what), time.monotonic()
        yield row
        row.seconds = time.monotonic() - begun
        self.rows.append(row)
        self.tell(f"  {row.seen or 'done'} ({row.seconds:.1f} s)")

    def markdown(self) -> str:
        """Return the table for a page."""
        lines = [f"| {' | '.join(HEAD)} |", "| --- | --- | --- |"]
        lines += [f"| {row.what} | {row.seen} | {row.seconds:.1f} |" for row in self.rows]
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes)])

    def text(self) -> str:
        """Return the table for a terminal."""
        wide = max((len(row.what) for row in self.rows), default=0)
        lines = [f"{row.seconds:8.1f} s  {row.what:<{wide}}  {row.seen}" for row in self.rows]
        return "\n".join([*lines, "", *self.notes])
