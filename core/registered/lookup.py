"""What a registered name stands for now, and what is named by a version. Reading only."""

import secrets
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from core.errors import NotFound
from core.models import ModelAlias, ModelVersion, RegisteredModel
from core.registered.spelling import Reference, falls_to_split

KNOWN_IN_MESSAGE = 10


@dataclass(frozen=True)
class Found:
    """The version that a reference stands for; ``alias`` is ``NAME@ALIAS`` when it was asked for by one."""

    registered: RegisteredModel
    version: ModelVersion
    alias: str | None


def find_name(session: Session, project_id: str, name: str) -> RegisteredModel | None:
    """Return a registered name of a project, if there is one."""
    return session.scalar(
        select(RegisteredModel).where(RegisteredModel.project_id == project_id, RegisteredModel.name == name)
    )


def find_version(
    session: Session,
    *,
    project_id: str,
    asked: Reference,
    param: str,
    request_key: str | None = None,
    settled: bool = False,
) -> Found | None:
    """Return the version that a reference stands for; None when there is no such name.

    Args:
        session: an open transaction.
        project_id: whose name it is.
        asked: the reference.
        param: the field it was written in.
        request_key: what decides between the versions of a split; None: chance does.
        settled: a split does not count: the alias's own version is meant.

    Raises:
        NotFound: the name has no such version or alias.
    """
    registered = find_name(session, project_id, asked.name)
    if registered is None:
        return None
    number = asked.version
    if asked.alias is not None:
        number = _pointed_at(session, registered, asked.alias, param, request_key, settled=settled)
    mine = select(ModelVersion).where(ModelVersion.registered_id == registered.id)
    if number is not None:
        mine = mine.where(ModelVersion.version == number)
    found = session.scalar(mine.order_by(ModelVersion.version.desc()).limit(1))
    if found is None:
        known = select(ModelVersion.version).where(ModelVersion.registered_id == registered.id)
        what = "version yet" if number is None else f"version {number}"
        raise missing(session, asked.name, what, known, param=param, code="version_not_found")
    return Found(registered, found, None if asked.alias is None else f"{registered.name}@{asked.alias}")


def _pointed_at(
    session: Session,
    registered: RegisteredModel,
    alias: str,
    param: str,
    request_key: str | None,
    *,
    settled: bool,
) -> int:
    row = session.get(ModelAlias, (registered.id, alias), populate_existing=True)
    if row is None or row.version is None:
        known = select(ModelAlias.alias).where(
            ModelAlias.registered_id == registered.id, ModelAlias.version.is_not(None)
        )
        raise missing(session, registered.name, f"alias {alias}", known, param=param, code="alias_not_found")
    if row.split_version is None or row.split_share is None or settled:
        return row.version
    key = secrets.token_hex(16) if request_key is None else request_key
    other = falls_to_split(f"{registered.id}/{alias}", key, row.split_share)
    return row.split_version if other else row.version


def missing(session: Session, name: str, what: str, known: Select[Any], *, param: str, code: str) -> NotFound:
    """Return the error for what a name does not have, which tells what it has."""
    there = sorted(str(each) for each in session.scalars(known.limit(KNOWN_IN_MESSAGE)))
    return NotFound(f"{name} has no {what}; there are: {', '.join(there) or 'none'}", param=param, code=code)


def versions_of(session: Session, model_ids: Collection[str]) -> dict[str, list[str]]:
    """Return which versions name each of some models, ``NAME@VERSION`` by the model's id."""
    rows = session.execute(
        select(ModelVersion.model_id, RegisteredModel.name, ModelVersion.version)
        .join(RegisteredModel, RegisteredModel.id == ModelVersion.registered_id)
        .where(ModelVersion.model_id.in_(model_ids))
        .order_by(RegisteredModel.name, ModelVersion.version)
    )
    found: dict[str, list[str]] = defaultdict(list)
    for model_id, name, version in rows:
        found[model_id].append(f"{name}@{version}")
    return found


def registered_checkpoints(session: Session, ids: Collection[str]) -> set[str]:
    """Return those checkpoints that a version names."""
    return set(session.scalars(select(ModelVersion.model_id).where(ModelVersion.model_id.in_(ids))))
