"""Pages of lists. Each page is found by the key of the last row seen, so depth costs nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from core.errors import Invalid

RowT = TypeVar("RowT")


@dataclass(frozen=True)
class Page(Generic[RowT]):
    """Some rows in order, and whether there are more."""

    items: Sequence[RowT]
    has_more: bool


def page(
    session: Session,
    statement: Select[RowT],
    *,
    by: InstrumentedAttribute[Any],
    after: Any | None,
    limit: int,
    ascending: bool = False,
) -> Page[RowT]:
    """Return ``limit`` rows after the one whose ``by`` is ``after``; highest first unless ``ascending``.

    Raises:
        Invalid: ``after`` is none of the rows.
    """
    if after is not None:
        if session.execute(statement.where(by == after).limit(1)).first() is None:
            raise Invalid(f"after: {after!r} is not in this list", param="after", code="unknown_cursor")
        beyond: ColumnElement[bool] = by > after if ascending else by < after
        statement = statement.where(beyond)
    rows = list(session.scalars(statement.order_by(by.asc() if ascending else by.desc()).limit(limit + 1)))
    return Page(rows[:limit], len(rows) > limit)
