"""Whether a request reads a large table from end to end: PostgreSQL's own plans of its statements."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine import Connection

LARGE = frozenset({"job", "unit", "event", "attempt"})


def long_reads(request: Callable[[], object]) -> list[str]:
    """Run a request once and return the large tables that any of its statements scans whole."""
    found: set[str] = set()

    def explain(
        connection: Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool
    ) -> None:
        if many or statement.lstrip().split(" ", 1)[0].upper() not in ("SELECT", "UPDATE", "DELETE"):
            return
        with closing(connection.connection.cursor()) as own:
            own.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
            plan = own.fetchone()
        assert plan is not None
        told = plan[0] if isinstance(plan[0], list) else json.loads(plan[0])
        found.update(_whole(told[0]["Plan"]))

    event.listen(Engine, "before_cursor_execute", explain)
    try:
        request()
    finally:
        event.remove(Engine, "before_cursor_execute", explain)
    return sorted(found)


def _whole(node: dict[str, Any]) -> Iterator[str]:
    if node["Node Type"] == "Seq Scan" and node["Relation Name"] in LARGE:
        yield node["Relation Name"]
    for child in node.get("Plans", ()):
        yield from _whole(child)
