"""SQL as a program sent it: recorded from an engine, kept in a file, sent again without that program."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Engine, event

FOLDER = Path(__file__).parent
MIGRATE, COMMIT, ROLLBACK = "migrate", "commit", "rollback"


@dataclass(frozen=True)
class Step:
    """A statement with its parameters, or the word for what happens between statements.

    ``rows`` is how many it found or changed, once it was sent again.
    """

    sql: str
    parameters: Any = None
    rows: int | None = None


@dataclass
class Recording:
    """What a database was told, in order."""

    steps: list[Step] = field(default_factory=list)

    def mark_migration(self) -> None:
        """Note that here the tables come to the next version, while this program goes on."""
        self.steps.append(Step(MIGRATE))


@contextmanager
def recorded(engine: Engine) -> Iterator[Recording]:
    """Record all that is sent by an engine, one connection at a time."""
    made = Recording()

    def sent(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        made.steps.append(Step(statement, parameters))

    def committed(_: Any) -> None:
        made.steps.append(Step(COMMIT))

    def rolled_back(_: Any) -> None:
        made.steps.append(Step(ROLLBACK))

    listeners = (("before_cursor_execute", sent), ("commit", committed), ("rollback", rolled_back))
    for name, listener in listeners:
        event.listen(engine, name, listener)
    try:
        yield made
    finally:
        for name, listener in listeners:
            event.remove(engine, name, listener)


class Differs(AssertionError):  # noqa: N818  read as a sentence: raises Differs
    """A statement of before does not do what it did."""


def replay(engine: Engine, steps: list[Step], *, migrate: Any) -> list[Step]:
    """Send statements again as they are, by the driver alone; return them with the rows that each had.

    Args:
        engine: of another database, whose tables are those of the recording.
        steps: what to send.
        migrate: brings the tables to the newest version, where that is marked.

    Raises:
        Differs: one fails, or finds or changes another number of rows than is noted.
    """
    done: list[Step] = []
    connection = engine.raw_connection()
    try:
        for step in steps:
            if step.sql == MIGRATE:
                migrate()
                done.append(step)
                continue
            try:
                rows = _send(connection, step)
            except Exception as error:
                raise Differs(
                    f"statement {len(done)} fails: {error}\n{step.sql}\n{step.parameters}"
                ) from error
            if step.rows not in (None, rows):
                told = f"statement {len(done)} has {rows} rows, not {step.rows}"
                raise Differs(f"{told}:\n{step.sql}\n{step.parameters}")
            done.append(Step(step.sql, step.parameters, rows))
    finally:
        connection.close()
    return done


def _send(connection: Any, step: Step) -> int | None:
    if step.sql in (COMMIT, ROLLBACK):
        getattr(connection, step.sql)()
        return None
    cursor = connection.cursor()
    try:
        if isinstance(step.parameters, list):
            cursor.executemany(step.sql, step.parameters)
            return None  # drivers tell different things of many
        cursor.execute(step.sql, step.parameters or ())
        return len(cursor.fetchall()) if cursor.description is not None else cursor.rowcount
    finally:
        cursor.close()


def path_of(revision: str) -> Path:
    """Return the file of a revision's statements."""
    return FOLDER / f"statements_{revision}.json"


def write(revision: str, recordings: dict[str, list[Step]]) -> Path:
    """Write what was recorded, by database: each statement once, then a line a step."""
    blocks = []
    for name, steps in recordings.items():
        texts = sorted({step.sql for step in steps})
        places = {text: place for place, text in enumerate(texts)}
        lines = [json.dumps([places[step.sql], _encoded(step.parameters), step.rows]) for step in steps]
        statements = ",\n".join(json.dumps(text) for text in texts)
        joined = ",\n".join(lines)
        blocks.append(f'"{name}": {{"sql": [\n{statements}\n], "steps": [\n{joined}\n]}}')
    path = path_of(revision)
    path.write_text("{\n" + ",\n".join(blocks) + "\n}\n")
    return path


def read(revision: str, database: str) -> list[Step]:
    """Return the statements of a revision for a kind of database."""
    told = json.loads(path_of(revision).read_text())[database]
    return [Step(told["sql"][place], _decoded(parameters), rows) for place, parameters, rows in told["steps"]]


def _encoded(value: Any) -> Any:  # noqa: PLR0911  one a type
    match value:
        case datetime():
            return {"$moment": value.isoformat()}
        case Jsonb():
            return {"$json": value.obj}
        case dict():
            return {name: _encoded(each) for name, each in value.items()}
        case tuple():
            return {"$tuple": [_encoded(each) for each in value]}
        case list():
            return [_encoded(each) for each in value]
        case str():
            return str(value)
    assert value is None or isinstance(value, bool | int | float), f"{value!r} cannot be kept"
    return value


def _decoded(value: Any) -> Any:
    match value:
        case {"$moment": moment}:
            return datetime.fromisoformat(moment)
        case {"$json": data}:
            return Jsonb(data)
        case {"$tuple": values}:
            return tuple(_decoded(each) for each in values)
        case dict():
            return {name: _decoded(each) for name, each in value.items()}
        case list():
            return [_decoded(each) for each in value]
    return value
