"""Keys of a project."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from api.deps import AdministratorDep, OnceDep, SessionDep
from api.keys.schemas import KeyCreate, KeyObject
from api.schemas import Deleted, Listed, ListQuery, page_of
from core import keys

router = APIRouter(prefix="/keys", tags=["keys"])


@router.post("", response_model=KeyObject)
def create(body: KeyCreate, session: SessionDep, who: AdministratorDep, once: OnceDep) -> JSONResponse:
    """Make a key. Its secret is in this answer only; a repeated request is answered without it."""
    kept = once.begin(session)
    if kept is not None:
        return kept
    row, secret = keys.create_key(session, project_id=who.project_id, name=body.name, scopes=body.scopes)
    once.finish(session, KeyObject.of(row))
    return JSONResponse(KeyObject.of(row, secret=secret).model_dump(mode="json"))


@router.get("", response_model=Listed[KeyObject])
def list_keys(session: SessionDep, who: AdministratorDep, query: ListQuery) -> object:
    """List the project's keys, without their secrets."""
    page = keys.list_keys(session, project_id=who.project_id, after=query.after, limit=query.limit)
    return page_of([KeyObject.of(key) for key in page.items], has_more=page.has_more)


@router.get("/{key_id}", response_model=KeyObject)
def retrieve(key_id: str, session: SessionDep, who: AdministratorDep) -> KeyObject:
    """Return one key, without its secret."""
    return KeyObject.of(keys.get_key(session, project_id=who.project_id, key_id=key_id))


@router.delete("/{key_id}", response_model=Deleted)
def revoke(key_id: str, session: SessionDep, who: AdministratorDep) -> Deleted:
    """Revoke a key; it stops working at once."""
    keys.revoke_key(session, project_id=who.project_id, key_id=key_id)
    return Deleted(id=key_id, object="api_key")
