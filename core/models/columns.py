"""The declarative base and the column types that every table uses."""

from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Enum, MetaData, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """All tables. Rows refer to each other by id; there are no relationships that could load by surprise."""

    metadata = MetaData(naming_convention=NAMES)


ZERO = text("0")  # where older code writes a row without the column
ONE = text("1")  # likewise
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def checked(kind: type[StrEnum]) -> Enum:
    """Return the type of a column that holds a StrEnum as a string, checked by the database."""
    return worded(kind, by_the_database=True)


def worded(kind: type[StrEnum], *, by_the_database: bool = False) -> Enum:
    """Return the same, checked here alone: SQLite adds no constraint to a table that is there."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=by_the_database,
        length=32,
        name=_snake(kind.__name__),
        values_callable=lambda each: [member.value for member in each],
        validate_strings=True,
    )


def first_stands_first(context: Any) -> int:
    """Return minus the priority of the row at hand: ascending, the highest priority comes first."""
    return -int(context.get_current_parameters()["priority"])


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


Data = dict[str, Any]
