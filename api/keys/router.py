"""Keys of a project."""

from datetime import UTC, datetime

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api.deps import AdministratorDep, Once, OnceDep, PlatformDep, SessionDep
from api.keys.schemas import KeyCreate, KeyObject, KeyRotate
from api.schemas import Deleted, Listed, ListQuery, page_of
from core import keys
from core.db import transaction
from core.models import ApiKey

router = APIRouter(prefix="/keys", tags=["keys"])


def _told_once(once: Once, session: Session, row: ApiKey, secret: str) -> JSONResponse:
    """Answer with the secret, and keep the answer without it."""
    once.finish(session, KeyObject.of(row))
    told = KeyObject.of(row, secret=secret).model_dump(mode="json")
    return JSONResponse(told, headers={"Cache-Control": "no-store"})


@router.post("", response_model=KeyObject)
def create(body: KeyCreate, session: SessionDep, who: AdministratorDep, once: OnceDep) -> JSONResponse:
    """Make a key. Its secret is in this answer only; a repeated request is answered without it."""
    kept = once.begin(session)
    if kept is not None:
        return kept
    row, secret = keys.create_key(
        session,
        project_id=who.project_id,
        name=body.name,
        scopes=body.scopes,
        expires_at=None if body.expires_at is None else datetime.fromtimestamp(body.expires_at, UTC),
    )
    return _told_once(once, session, row, secret)


@router.get("", response_model=Listed[KeyObject])
def list_keys(session: SessionDep, who: AdministratorDep, query: ListQuery) -> object:
    """List the project's keys, without their secrets."""
    page = keys.list_keys(session, project_id=who.project_id, after=query.after, limit=query.limit)
    return page_of([KeyObject.of(key) for key in page.items], has_more=page.has_more)


@router.get("/{key_id}", response_model=KeyObject)
def retrieve(key_id: str, session: SessionDep, who: AdministratorDep) -> KeyObject:
    """Return one key, without its secret."""
    return KeyObject.of(keys.get_key(session, project_id=who.project_id, key_id=key_id))


@router.post("/{key_id}/rotate", response_model=KeyObject)
def rotate(
    key_id: str, parts: PlatformDep, who: AdministratorDep, once: OnceDep, body: KeyRotate | None = None
) -> JSONResponse:
    """Give a key a new secret, which is in this answer only; the one before works for a grace time."""
    grace_seconds = (body or KeyRotate()).grace_seconds
    with transaction(parts.database) as session:
        kept = once.begin(session)
        if kept is not None:
            return kept
        rotated = keys.rotate_key(
            session, project_id=who.project_id, key_id=key_id, grace_seconds=grace_seconds
        )
        answer = _told_once(once, session, rotated.key, rotated.secret)
    keys.keep_in_file(parts.settings, rotated)
    return answer


@router.delete("/{key_id}", response_model=Deleted)
def revoke(key_id: str, session: SessionDep, who: AdministratorDep) -> Deleted:
    """Revoke a key; it stops working at once."""
    keys.revoke_key(session, project_id=who.project_id, key_id=key_id)
    return Deleted(id=key_id, object="api_key")
