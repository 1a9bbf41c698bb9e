"""Registered names of a project: made, told, removed."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from core.errors import Conflict, Invalid, NotFound
from core.ids import new_id
from core.models import AliasMove, Model, ModelAlias, ModelKind, ModelVersion, RegisteredModel
from core.paging import Page, page
from core.registered.lookup import find_name
from core.registered.spelling import NAME
from core.runs.lifecycle import QUIETLY
from core.upsert import insert


@dataclass(frozen=True)
class Named:
    """A registered name with what it has: how many versions, the newest one, its aliases in order."""

    row: RegisteredModel
    versions: int
    latest: int | None
    aliases: Sequence[ModelAlias]


def create_name(
    session: Session, *, project_id: str, name: str, description: str | None = None, key_id: str | None = None
) -> RegisteredModel:
    """Register a name.

    Raises:
        Invalid: it cannot be a name.
        Conflict: it is one already, or a base model's.
    """
    if not ensure_name(session, project_id=project_id, name=name, description=description, key_id=key_id):
        raise Conflict(f"{name} is registered already; add a version to it", param="name", code="name_taken")
    return get_name(session, project_id=project_id, name=name)


def ensure_name(
    session: Session, *, project_id: str, name: str, description: str | None = None, key_id: str | None = None
) -> bool:
    """Register a name unless the project has it, and return whether that was so.

    Of several who do it at once one does it; the others wait for the end of its transaction.

    Raises:
        Invalid: it cannot be a name.
        Conflict: it is a base model's.
    """
    if NAME.fullmatch(name) is None:
        raise Invalid(
            f"name: {name!r} cannot be a name; use 1 to 64 letters, digits, dots, dashes, underscores",
            param="name",
        )
    base = session.get(Model, name)
    if base is not None and base.kind is ModelKind.base:
        raise Conflict(f"{name} is a base model; choose another name", param="name", code="name_taken")
    told = {"project_id": project_id, "name": name, "description": description, "created_by": key_id}
    made = session.scalar(
        insert(session, RegisteredModel)
        .values(id=new_id("reg-"), **told)
        .on_conflict_do_nothing(index_elements=["project_id", "name"])
        .returning(RegisteredModel.id)
    )
    return made is not None


def get_name(session: Session, *, project_id: str, name: str) -> RegisteredModel:
    """Return a registered name; NotFound when the project has none such."""
    row = find_name(session, project_id, name)
    if row is None:
        raise _unknown(name)
    return row


def lock_name(session: Session, *, project_id: str, name: str) -> RegisteredModel:
    """Return a registered name whose versions and aliases nobody else changes until the transaction ends."""
    held = session.scalar(
        update(RegisteredModel)
        .where(RegisteredModel.project_id == project_id, RegisteredModel.name == name)
        .values(versions=RegisteredModel.versions)
        .returning(RegisteredModel.id)
        .execution_options(**QUIETLY)
    )
    if held is None:
        raise _unknown(name)
    return session.get_one(RegisteredModel, held, populate_existing=True)


def list_names(session: Session, *, project_id: str, after: str | None, limit: int) -> Page[RegisteredModel]:
    """Return a project's names, newest first; Invalid when ``after`` is none of them."""
    last = None if after is None else find_name(session, project_id, after)
    if after is not None and last is None:
        raise Invalid(f"after: {after!r} is not in this list", param="after", code="unknown_cursor")
    statement = select(RegisteredModel).where(RegisteredModel.project_id == project_id)
    return page(session, statement, by=RegisteredModel.id, after=last and last.id, limit=limit)


def describe(session: Session, rows: Sequence[RegisteredModel]) -> list[Named]:
    """Return names with what they have, in two queries however many they are."""
    ids = [row.id for row in rows]
    counted = session.execute(
        select(ModelVersion.registered_id, func.count(), func.max(ModelVersion.version))
        .where(ModelVersion.registered_id.in_(ids))
        .group_by(ModelVersion.registered_id)
    )
    versions = {each: (count, latest) for each, count, latest in counted}
    aliases: dict[str, list[ModelAlias]] = defaultdict(list)
    pointing = (
        select(ModelAlias)
        .where(ModelAlias.registered_id.in_(ids), ModelAlias.version.is_not(None))
        .order_by(ModelAlias.alias)
    )
    for alias in session.scalars(pointing.execution_options(populate_existing=True)):
        aliases[alias.registered_id].append(alias)
    found = []
    for row in rows:
        count, latest = versions.get(row.id, (0, None))
        found.append(Named(row, count, latest, aliases[row.id]))
    return found


def change_name(session: Session, *, project_id: str, name: str, description: str | None) -> RegisteredModel:
    """Change what is said of a name."""
    row = lock_name(session, project_id=project_id, name=name)
    row.description = description
    session.flush()
    return row


def delete_name(session: Session, *, project_id: str, name: str) -> None:
    """Remove a name with its versions and histories. The models stay, and can be deleted from then on.

    Raises:
        Conflict: an alias points at one of its versions.
    """
    row = lock_name(session, project_id=project_id, name=name)
    [named] = describe(session, [row])
    if named.aliases:
        served = ", ".join(f"{name}@{each.alias}" for each in named.aliases)
        raise Conflict(f"{served} may be in use; delete the aliases first", param="name", code="name_in_use")
    for table in (AliasMove, ModelAlias, ModelVersion):
        session.execute(delete(table).where(table.registered_id == row.id).execution_options(**QUIETLY))
    session.execute(delete(RegisteredModel).where(RegisteredModel.id == row.id).execution_options(**QUIETLY))


def _unknown(name: str) -> NotFound:
    return NotFound(f"there is no registered name {name}", param="name", code="name_not_found")
