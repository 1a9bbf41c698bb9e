"""Rows that were left out: all of them, with file, row and reason, in memory only the first."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.ingest.limits import Limits, printable

LONGEST = 500


@dataclass
class Rejections:
    """Counts rows that were left out, and writes them 1000 a page once there are more than are listed.

    Those of most datasets fit into their own row; a page in the store is for the others.
    """

    folder: Path
    limits: Limits
    count: int = 0
    listed: list[dict[str, Any]] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    _page: list[dict[str, Any]] = field(default_factory=list)

    def add(self, file: str, row: int | None, reason: str) -> None:
        """Note one."""
        one = {
            "file": printable(file, at_most=LONGEST),
            "row": row,
            "reason": printable(reason, at_most=LONGEST),
        }
        self.count += 1
        if len(self.listed) < self.limits.listed_rejections:
            self.listed.append(one)
        self._page.append(one)
        if self.count > self.limits.listed_rejections and len(self._page) >= self.limits.listed_rejections:
            self._write(self._page[: self.limits.listed_rejections])
            self._page = self._page[self.limits.listed_rejections :]

    def end(self) -> None:
        """Write what is left for the last page, if there are pages."""
        if self.pages and self._page:
            self._write(self._page)
            self._page = []

    def _write(self, rows: list[dict[str, Any]]) -> None:
        self.pages.append(f"rejected-{len(self.pages):05d}.json")
        (self.folder / self.pages[-1]).write_text(json.dumps(rows))
