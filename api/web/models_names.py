"""A registered name: what each alias serves now, its versions, and every move with who made it."""

from collections.abc import Iterable
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from api.deps import SessionDep
from api.web.models import Place
from api.web.models_choice import choices
from api.web.pages import VisitorDep, page
from core import keys
from core.errors import NotFound
from core.models import AliasMove, ModelAlias
from core.registered import aliases, names, versions

router = APIRouter(include_in_schema=False)

VERSIONS = 25
MOVES = 20
KNOWN_VERSIONS = 100


@dataclass(frozen=True)
class Move:
    """One move of an alias, with where it pointed before."""

    row: AliasMove
    before: AliasMove | None
    who: str | None


@dataclass(frozen=True)
class Served:
    """An alias: what it points at, and its last moves."""

    row: ModelAlias
    model_id: str
    other_model_id: str | None
    moves: list[Move]
    more: bool


@router.get("/models/names/{name}")
def one_name(
    name: str, request: Request, session: SessionDep, who: VisitorDep, after: Place = None
) -> Response:
    """Show what programs get that ask for a name, and let people change it."""
    row, found = versions.list_versions(
        session, project_id=who.project_id, name=name, after=after, limit=VERSIONS
    )
    _, known = versions.list_versions(
        session, project_id=who.project_id, name=name, after=None, limit=KNOWN_VERSIONS
    )
    [named] = names.describe(session, [row])
    served = [_served(session, who.project_id, name, alias) for alias in named.aliases]
    makers = _key_names(session, who.project_id, (one.created_by for one in found.items))
    return page(
        request,
        "models/name.html",
        who=who,
        named=named,
        found=found,
        numbers=[one.version for one in known.items],
        pointing=versions.aliases_of(session, row.id),
        served=served,
        makers=makers,
        choices=choices(session, project_id=who.project_id, own=True),
    )


def _served(session: Session, project_id: str, name: str, alias: ModelAlias) -> Served:
    _, page_of_moves = aliases.history(
        session, project_id=project_id, name=name, alias=alias.alias, after=None, limit=MOVES + 1
    )
    rows = list(page_of_moves.items)
    whose = _key_names(session, project_id, (one.created_by for one in rows))
    moves = [
        Move(one, before, whose.get(one.created_by or ""))
        for one, before in zip(rows, [*rows[1:], None], strict=True)
    ]

    def model_of(number: int | None) -> str | None:
        if number is None:
            return None
        return versions.get_version(session, project_id=project_id, name=name, version=number)[1].model_id

    assert alias.version is not None, "one that is shown points at a version"
    return Served(
        alias,
        model_of(alias.version) or "",
        model_of(alias.split_version),
        moves[:MOVES],
        len(rows) > MOVES,
    )


def _key_names(session: Session, project_id: str, ids: Iterable[str | None]) -> dict[str, str]:
    """Return what keys are called; one of another project, or that is gone, has no name here."""
    found = {}
    for key_id in {each for each in ids if each is not None}:
        try:
            found[key_id] = keys.get_key(session, project_id=project_id, key_id=key_id).name
        except NotFound:
            continue
    return found
