"""Aliases: moved in one statement, each move kept, and taken back by another one."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.clock import utcnow
from core.errors import Conflict, Invalid, NotFound
from core.models import AliasMove, ModelAlias, ModelVersion, MoveCause, RegisteredModel
from core.paging import Page, page
from core.registered.lookup import missing
from core.registered.names import get_name, lock_name
from core.registered.spelling import ALIAS, NEWEST
from core.runs.lifecycle import QUIETLY
from core.upsert import insert
from core.webhooks.events import EventType, emit

NOTHING = 0
"""What is expected of an alias that is not there."""


@dataclass(frozen=True)
class Split:
    """A part of the requests goes to another version: ``share`` of them, more than 0 and less than 1."""

    version: int
    share: float


@dataclass(frozen=True)
class Target:
    """What an alias points at; nothing, when it is deleted."""

    version: int | None
    split: Split | None = None

    @property
    def columns(self) -> dict[str, Any]:
        """As the tables have it."""
        split = self.split
        return {
            "version": self.version,
            "split_version": None if split is None else split.version,
            "split_share": None if split is None else split.share,
        }


def target_of(row: ModelAlias | AliasMove) -> Target:
    """Return what a row says."""
    if row.split_version is None or row.split_share is None:
        return Target(row.version)
    return Target(row.version, Split(row.split_version, row.split_share))


def point(
    session: Session,
    *,
    project_id: str,
    name: str,
    alias: str,
    version: int,
    split: Split | None = None,
    expected: int | None = None,
    key_id: str | None = None,
) -> tuple[RegisteredModel, ModelAlias]:
    """Make an alias point at a version, whether or not it was there before.

    Args:
        session: an open transaction.
        project_id: whose name it is.
        name: the registered name.
        alias: a word; not ``latest``, which is the newest version always.
        version: of the name.
        split: another version, for a share of the requests.
        expected: the version at which it must point until then, 0 when it must be new; None: any.
        key_id: who does it.

    Raises:
        Conflict: it does not point at ``expected``; nothing is changed.
        NotFound: there is no such name or version.
        Invalid: this cannot be an alias, or the split is none.
    """
    if ALIAS.fullmatch(alias) is None or alias == NEWEST:
        raise Invalid(
            f"alias: {alias!r} cannot be one; begin with a letter, then up to 63 letters, digits, dots, "
            f"dashes, underscores; {NEWEST} is the newest version always",
            param="alias",
        )
    if split is not None and split.version == version:
        raise Invalid(f"split.version: {version} has all the requests already", param="split.version")
    row = lock_name(session, project_id=project_id, name=name)
    _require_version(session, row, version, "version")
    if split is not None:
        _require_version(session, row, split.version, "split.version")
    moved = _move(session, row, alias, Target(version, split), expected=expected)
    if moved is None:
        raise _unexpected(session, row, alias, expected)
    return row, _told(session, row, moved, MoveCause.set, key_id)


def get_alias(
    session: Session, *, project_id: str, name: str, alias: str
) -> tuple[RegisteredModel, ModelAlias]:
    """Return a name and one alias of it."""
    row = get_name(session, project_id=project_id, name=name)
    return row, _alias(session, row, alias)


def list_aliases(
    session: Session, *, project_id: str, name: str, after: str | None, limit: int
) -> tuple[RegisteredModel, Page[ModelAlias]]:
    """Return a name's aliases by the alphabet; ``after`` is an alias or ``NAME@ALIAS``."""
    row = get_name(session, project_id=project_id, name=name)
    statement = select(ModelAlias).where(ModelAlias.registered_id == row.id, ModelAlias.version.is_not(None))
    place = None if after is None else after.removeprefix(f"{name}@")
    return row, page(session, statement, by=ModelAlias.alias, after=place, limit=limit, ascending=True)


def delete_alias(
    session: Session, *, project_id: str, name: str, alias: str, key_id: str | None = None
) -> None:
    """Take an alias away; its history stays, and goes on if it comes back."""
    row = lock_name(session, project_id=project_id, name=name)
    _alias(session, row, alias)
    moved = _move(session, row, alias, Target(None), expected=None)
    assert moved is not None, "a locked name's alias does not change under us"
    _told(session, row, moved, MoveCause.delete, key_id)


def history(
    session: Session, *, project_id: str, name: str, alias: str, after: str | None, limit: int
) -> tuple[RegisteredModel, Page[AliasMove]]:
    """Return every move of an alias, the newest first, also of one that was deleted.

    ``after`` is the number of a move.
    """
    row = get_name(session, project_id=project_id, name=name)
    if session.get(ModelAlias, (row.id, alias)) is None:
        raise _no_alias(session, row, alias)
    if after is not None and not after.isdecimal():
        raise Invalid(f"after: {after!r} is not in this list", param="after", code="unknown_cursor")
    statement = select(AliasMove).where(AliasMove.registered_id == row.id, AliasMove.alias == alias)
    place = None if after is None else min(int(after), 2**31 - 1)
    return row, page(session, statement, by=AliasMove.number, after=place, limit=limit)


def rollback(
    session: Session,
    *,
    project_id: str,
    name: str,
    alias: str,
    expected: int | None = None,
    key_id: str | None = None,
) -> tuple[RegisteredModel, ModelAlias]:
    """Make an alias point where it did before; again, and it goes one further back.

    What it pointed at and is no version any more is passed over.

    Raises:
        Conflict: it does not point at ``expected``, or there is nothing before.
    """
    row = lock_name(session, project_id=project_id, name=name)
    now = _alias(session, row, alias)
    if expected not in (None, now.version):
        raise _unexpected(session, row, alias, expected)
    found = _before(session, row, now)
    if found is None:
        raise Conflict(
            f"{name}@{alias} has never pointed at another version that is still there",
            param="alias",
            code="nothing_before",
        )
    number, target = found
    moved = _move(session, row, alias, target, expected=now.version)
    assert moved is not None, "a locked name's alias does not change under us"
    return row, _told(session, row, moved, MoveCause.rollback, key_id, restores=number)


def _before(session: Session, row: RegisteredModel, now: ModelAlias) -> tuple[int, Target] | None:
    """Return the move before the one that an alias stands at, and what it made the alias point at."""
    there = set(session.scalars(select(ModelVersion.version).where(ModelVersion.registered_id == row.id)))
    moves = select(AliasMove).where(AliasMove.registered_id == row.id, AliasMove.alias == now.alias)
    known = {move.number: move for move in session.scalars(moves)}
    place = known[now.moves].restores or now.moves
    while (place := place - 1) > 0:
        place = known[place].restores or place
        target = target_of(known[place])
        used = {target.version, *([] if target.split is None else [target.split.version])}
        if used <= there and target != target_of(now):
            return place, target
    return None


def _move(
    session: Session, row: RegisteredModel, alias: str, target: Target, *, expected: int | None
) -> ModelAlias | None:
    """Change what an alias points at in one statement; None when it does not point at what is expected."""
    values = target.columns | {"updated_at": utcnow()}
    if expected is None or expected == NOTHING:
        fresh = insert(session, ModelAlias).values(registered_id=row.id, alias=alias, moves=1, **values)
        there = None if expected is None else ModelAlias.version.is_(None)
        statement: Any = fresh.on_conflict_do_update(
            index_elements=["registered_id", "alias"],
            set_=values | {"moves": ModelAlias.moves + 1},
            where=there,
        )
    else:
        statement = (
            update(ModelAlias)
            .where(
                ModelAlias.registered_id == row.id,
                ModelAlias.alias == alias,
                ModelAlias.version == expected,
            )
            .values(moves=ModelAlias.moves + 1, **values)
        )
    moved = session.scalar(statement.returning(ModelAlias.moves).execution_options(**QUIETLY))
    return None if moved is None else session.get_one(ModelAlias, (row.id, alias), populate_existing=True)


def _told(
    session: Session,
    row: RegisteredModel,
    moved: ModelAlias,
    cause: MoveCause,
    key_id: str | None,
    *,
    restores: int | None = None,
) -> ModelAlias:
    """Keep a move in the history, and tell those who listen."""
    session.add(
        AliasMove(
            registered_id=row.id,
            alias=moved.alias,
            number=moved.moves,
            cause=cause,
            restores=restores,
            created_by=key_id,
            created_at=moved.updated_at,
            **target_of(moved).columns,
        )
    )
    session.flush()
    data = {"id": f"{row.name}@{moved.alias}", "status": cause.value, "version": moved.version}
    emit(session, project_id=row.project_id, event=EventType.alias_moved, data=data)
    return moved


def _require_version(session: Session, row: RegisteredModel, version: int, param: str) -> None:
    if session.get(ModelVersion, (row.id, version)) is None:
        known = select(ModelVersion.version).where(ModelVersion.registered_id == row.id)
        what = f"version {version}"
        raise missing(session, row.name, what, known, param=param, code="version_not_found")


def _alias(session: Session, row: RegisteredModel, alias: str) -> ModelAlias:
    found = session.get(ModelAlias, (row.id, alias), populate_existing=True)
    if found is None or found.version is None:
        raise _no_alias(session, row, alias)
    return found


def _no_alias(session: Session, row: RegisteredModel, alias: str) -> NotFound:
    known = select(ModelAlias.alias).where(
        ModelAlias.registered_id == row.id, ModelAlias.version.is_not(None)
    )
    return missing(session, row.name, f"alias {alias}", known, param="alias", code="alias_not_found")


def _unexpected(session: Session, row: RegisteredModel, alias: str, expected: int | None) -> Conflict:
    now = session.get(ModelAlias, (row.id, alias), populate_existing=True)
    at = "is not there" if now is None or now.version is None else f"points at version {now.version}"
    wanted = "that it is new" if expected == NOTHING else f"version {expected}"
    return Conflict(
        f"{row.name}@{alias} {at}, but {wanted} was expected; look at it again, then decide",
        param="expected",
        code="alias_moved",
    )
