"""The declarative base and the column types that every table uses."""

from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Enum, MetaData
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


Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def checked(kind: type[StrEnum]) -> Enum:
    """Return the type of a column that holds a StrEnum as a string, checked by the database."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=True,
        length=32,
        name=_snake(kind.__name__),
        values_callable=lambda each: [member.value for member in each],
        validate_strings=True,
    )


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


Data = dict[str, Any]
