"""Versions of registered names. A model that a version names stays until the version goes."""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from core import registry
from core.errors import Conflict, Invalid
from core.models import ModelAlias, ModelVersion, RegisteredModel
from core.paging import Page, page
from core.registered.lookup import find_name, missing
from core.registered.names import ensure_name, get_name, lock_name
from core.registered.spelling import NUMBER
from core.runs.lifecycle import QUIETLY


def add_version(
    session: Session,
    *,
    project_id: str,
    name: str,
    model: str,
    notes: str | None = None,
    create: bool = False,
    key_id: str | None = None,
) -> ModelVersion:
    """Give a model the next number of a name.

    Args:
        session: an open transaction.
        project_id: whose they are.
        name: the registered name.
        model: a result, a checkpoint or an import, by any of its names.
        notes: what people should know of the version.
        create: register the name if the project has none such.
        key_id: who does it.

    Raises:
        NotFound: there is no such name or model.
        Conflict: the model is a version of the name already.
        Invalid: it is a base model, which has its name already.
    """
    if create and find_name(session, project_id, name) is None:
        ensure_name(session, project_id=project_id, name=name, key_id=key_id)
    row = lock_name(session, project_id=project_id, name=name)
    held = registry.hold_model(session, project_id=project_id, name=model)
    known = session.scalar(
        select(ModelVersion.version).where(
            ModelVersion.registered_id == row.id, ModelVersion.model_id == held.id
        )
    )
    if known is not None:
        raise Conflict(
            f"{held.id} is version {known} of {name} already; move an alias to it",
            param="model",
            code="already_registered",
        )
    row.versions += 1
    version = ModelVersion(
        registered_id=row.id, version=row.versions, model_id=held.id, notes=notes, created_by=key_id
    )
    session.add(version)
    session.flush()
    return version


def get_version(
    session: Session, *, project_id: str, name: str, version: int
) -> tuple[RegisteredModel, ModelVersion]:
    """Return a name and one version of it."""
    row = get_name(session, project_id=project_id, name=name)
    return row, _version(session, row, version)


def list_versions(
    session: Session, *, project_id: str, name: str, after: str | None, limit: int
) -> tuple[RegisteredModel, Page[ModelVersion]]:
    """Return a name's versions, newest first; ``after`` is a version's number or ``NAME@VERSION``."""
    row = get_name(session, project_id=project_id, name=name)
    number = None if after is None else after.removeprefix(f"{name}@")
    if number is not None and NUMBER.fullmatch(number) is None:
        raise Invalid(f"after: {after!r} is not in this list", param="after", code="unknown_cursor")
    statement = select(ModelVersion).where(ModelVersion.registered_id == row.id)
    found = page(session, statement, by=ModelVersion.version, after=number and int(number), limit=limit)
    return row, found


def aliases_of(session: Session, registered_id: str) -> dict[int, list[str]]:
    """Return the aliases that point at each version of a name, also for a share only."""
    rows = session.execute(
        select(ModelAlias.alias, ModelAlias.version, ModelAlias.split_version)
        .where(ModelAlias.registered_id == registered_id)
        .order_by(ModelAlias.alias)
    )
    found: dict[int, list[str]] = defaultdict(list)
    for alias, version, other in rows:
        for number in {version, other}:
            if number is not None:
                found[number].append(alias)
    return found


def change_version(
    session: Session, *, project_id: str, name: str, version: int, notes: str | None
) -> tuple[RegisteredModel, ModelVersion]:
    """Change what is said of a version."""
    row = lock_name(session, project_id=project_id, name=name)
    found = _version(session, row, version)
    found.notes = notes
    session.flush()
    return row, found


def delete_version(session: Session, *, project_id: str, name: str, version: int) -> None:
    """Let a version go. Its model stays, and can be deleted from then on; the number is not given again.

    Raises:
        Conflict: an alias points at it.
    """
    row = lock_name(session, project_id=project_id, name=name)
    found = _version(session, row, version)
    served: Sequence[str] = session.scalars(
        select(ModelAlias.alias)
        .where(
            ModelAlias.registered_id == row.id,
            or_(ModelAlias.version == version, ModelAlias.split_version == version),
        )
        .order_by(ModelAlias.alias)
    ).all()
    if served:
        raise Conflict(
            f"{', '.join(f'{name}@{each}' for each in served)} points at version {version}; move it first",
            param="version",
            code="version_in_use",
        )
    session.execute(
        delete(ModelVersion)
        .where(ModelVersion.registered_id == row.id, ModelVersion.version == found.version)
        .execution_options(**QUIETLY)
    )


def _version(session: Session, row: RegisteredModel, version: int) -> ModelVersion:
    found = session.get(ModelVersion, (row.id, version))
    if found is None:
        known = select(ModelVersion.version).where(ModelVersion.registered_id == row.id)
        what = f"version {version}"
        raise missing(session, row.name, what, known, param="version", code="version_not_found")
    return found
