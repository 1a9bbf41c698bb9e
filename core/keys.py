"""Keys: a secret is told once, and only its sha256 is kept."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import utcnow
from core.errors import NotFound, Unauthorized
from core.ids import new_id
from core.models import ApiKey, Project
from core.paging import Page, page
from core.settings import Settings, once_written, replace_secret

PREFIX = "spk-"
SCOPES = ("read", "write", "admin")
DEFAULT_PROJECT = "proj-default"
FIRST_KEY = "first key"


@dataclass(frozen=True)
class Caller:
    """Who calls: a key, its project, and what it may do."""

    project_id: str
    key_id: str
    scopes: frozenset[str]


def new_secret() -> str:
    """Return a secret with 256 bits of chance."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def verify(session: Session, *, secret: str) -> Caller:
    """Return whose secret it is; Unauthorized when nobody's, or revoked."""
    key = session.scalars(
        select(ApiKey).where(ApiKey.sha256 == digest(secret), ApiKey.revoked_at.is_(None))
    ).first()
    if key is None:
        raise Unauthorized(
            "this key is not known, or was revoked; `spindle key` prints one that works",
            code="invalid_api_key",
        )
    return Caller(key.project_id, key.id, frozenset(key.scopes))


def create_key(
    session: Session, *, project_id: str, name: str, scopes: Sequence[str] = SCOPES
) -> tuple[ApiKey, str]:
    """Make a key and return it with its secret, which is not kept."""
    secret = new_secret()
    return _add(session, project_id=project_id, name=name, scopes=scopes, secret=secret), secret


def list_keys(
    session: Session, *, project_id: str, after: str | None = None, limit: int = 20
) -> Page[ApiKey]:
    """List a project's keys, revoked ones too."""
    statement = select(ApiKey).where(ApiKey.project_id == project_id)
    return page(session, statement, by=ApiKey.id, after=after, limit=limit)


def get_key(session: Session, *, project_id: str, key_id: str) -> ApiKey:
    """Return a key of the project."""
    key = session.get(ApiKey, key_id)
    if key is None or key.project_id != project_id:
        raise NotFound(f"there is no key {key_id!r}", param="key_id")
    return key


def revoke_key(session: Session, *, project_id: str, key_id: str) -> ApiKey:
    """Make a key useless from now on. Revoking again changes nothing."""
    key = get_key(session, project_id=project_id, key_id=key_id)
    if key.revoked_at is None:
        key.revoked_at = utcnow()
    return key


def bootstrap_key(session: Session, settings: Settings) -> None:
    """Make sure that the default project is there, and that the first key opens it.

    The first key is ``settings.first_key``, or the one in STATE/key (mode 0600), which is written when it is
    not there and again after the key in it was revoked. The file comes before the row: a crash in between is
    healed by the next run.
    """
    if session.get(Project, DEFAULT_PROJECT) is None:
        session.add(Project(id=DEFAULT_PROJECT, name="default"))
        session.flush()
    path = settings.state / "key"
    secret = settings.first_key or once_written(path, new_secret())
    known = session.scalars(select(ApiKey).where(ApiKey.sha256 == digest(secret))).first()
    if known is not None and known.revoked_at is not None and settings.first_key is None:
        secret = new_secret()
        replace_secret(path, secret)
        known = None
    if known is None:
        _add(session, project_id=DEFAULT_PROJECT, name=FIRST_KEY, scopes=SCOPES, secret=secret)


def _add(session: Session, *, project_id: str, name: str, scopes: Sequence[str], secret: str) -> ApiKey:
    key = ApiKey(
        id=new_id("key-"), project_id=project_id, name=name, sha256=digest(secret), scopes=list(scopes)
    )
    session.add(key)
    session.flush()
    return key
