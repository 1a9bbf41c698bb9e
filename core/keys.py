"""Keys: a secret is told once, and only its sha256 is kept."""

import hashlib
import hmac
import secrets
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.orm import Session

from core.clock import database_now, utcnow
from core.errors import Conflict, Invalid, NotFound, Unauthorized
from core.ids import new_id
from core.models import ApiKey, FormerSecret, Project
from core.paging import Page, page
from core.settings import Settings, once_written, replace_secret

PREFIX = "spk-"
SCOPES = ("read", "train", "serve", "admin")
DEFAULT_PROJECT = "proj-default"
FIRST_KEY = "first key"
KEPT_CHARACTERS = 12
"""How much of a secret is kept to find and recognise it: 48 of its 256 bits of chance."""
NOTE_SECONDS = 60.0
LONGEST_SECRET = 200


@dataclass(frozen=True)
class Caller:
    """Who calls: a key, its project, and what it may do.

    ``unnoted``: the last use on record is more than a minute old, see ``note_use``.
    """

    project_id: str
    key_id: str
    scopes: frozenset[str]
    unnoted: bool = field(default=True, compare=False)


@dataclass(frozen=True)
class Rotated:
    """A key with a new secret; ``former`` is the digest of the one before."""

    key: ApiKey
    secret: str
    former: str


def new_secret() -> str:
    """Return a secret with 256 bits of chance."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def scopes_of(key: ApiKey) -> list[str]:
    """Return what a key may do, in one order; words of older code are left out."""
    return [scope for scope in SCOPES if scope in key.scopes]


def verify(session: Session, *, secret: str, now: datetime | None = None) -> Caller:
    """Return whose secret it is.

    The row is found by how the secret begins; whether it is the one is decided in constant time.

    Raises:
        Unauthorized: it is nobody's, or the key has expired, was revoked, or has another secret since.
    """
    found = None
    if len(secret) <= LONGEST_SECRET and secret.isascii() and secret.isprintable():
        theirs = digest(secret)
        for key, kept in _candidates(session, secret, theirs, now):
            if hmac.compare_digest(kept, theirs):
                found = key
                break
    if found is None:
        raise Unauthorized(
            "this key is not known, or was revoked; `spindle key` prints one that works",
            code="invalid_api_key",
        )
    return _caller(session, found, now)


def still_good(session: Session, *, key_id: str, secret_sha256: str, now: datetime | None = None) -> Caller:
    """Return whose key it is, if a secret with this digest opens it still.

    Raises:
        Unauthorized: the key has expired, was revoked, or has another secret since.
    """
    former = (
        select(FormerSecret.sha256)
        .where(
            FormerSecret.key_id == key_id,
            FormerSecret.sha256 == secret_sha256,
            FormerSecret.good_until > database_now(now=now),
        )
        .exists()
    )
    found = session.scalar(
        select(ApiKey).where(
            ApiKey.id == key_id, ApiKey.revoked_at.is_(None), or_(ApiKey.sha256 == secret_sha256, former)
        )
    )
    if found is None:
        raise Unauthorized(
            "the key has been revoked or has a new secret; sign in again", code="session_ended"
        )
    return _caller(session, found, now)


def _caller(session: Session, key: ApiKey, now: datetime | None) -> Caller:
    ends = key.expires_at
    if ends is not None and ends <= (now or session.scalars(select(database_now())).one()):
        raise Unauthorized("this key has expired; ask for a new one", code="expired_api_key")
    used = key.last_used_at
    unnoted = used is None or (now or utcnow()) - used > timedelta(seconds=NOTE_SECONDS)
    return Caller(key.project_id, key.id, frozenset(scopes_of(key)), unnoted)


def _candidates(
    session: Session, secret: str, sha256: str, now: datetime | None
) -> Iterator[tuple[ApiKey, str]]:
    """Yield the keys whose secret may be this one, each with the digest to compare."""
    beginning = secret[:KEPT_CHARACTERS]

    def begins_so(row: type[ApiKey] | type[FormerSecret]) -> ColumnElement[bool]:
        return or_(row.prefix == beginning, and_(row.prefix.is_(None), row.sha256 == sha256))

    for key in session.scalars(select(ApiKey).where(begins_so(ApiKey), ApiKey.revoked_at.is_(None))):
        yield key, key.sha256
    former = (
        select(ApiKey, FormerSecret.sha256)
        .join(FormerSecret, FormerSecret.key_id == ApiKey.id)
        .where(
            begins_so(FormerSecret),
            ApiKey.revoked_at.is_(None),
            FormerSecret.good_until > database_now(now=now),
        )
    )
    for key, sha256_then in session.execute(former):
        yield key, sha256_then


def note_use(session: Session, *, key_id: str, now: datetime | None = None) -> None:
    """Write when a key was last used; at most once a minute, whoever asks."""
    due = ApiKey.last_used_at.is_(None) | (ApiKey.last_used_at < database_now(plus=-NOTE_SECONDS, now=now))
    session.execute(update(ApiKey).where(ApiKey.id == key_id, due).values(last_used_at=database_now(now=now)))


def create_key(
    session: Session,
    *,
    project_id: str,
    name: str,
    scopes: Sequence[str] = SCOPES,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Make a key and return it with its secret, which is not kept.

    Raises:
        Invalid: it would have expired already.
    """
    if expires_at is not None and expires_at <= utcnow():
        raise Invalid(
            "expires_at: this moment is over; name a later one", param="expires_at", code="in_the_past"
        )
    secret = new_secret()
    key = _add(session, project_id=project_id, name=name, scopes=scopes, secret=secret, expires_at=expires_at)
    return key, secret


def list_keys(
    session: Session, *, project_id: str, after: str | None = None, limit: int = 20
) -> Page[ApiKey]:
    """List a project's keys, revoked ones too."""
    statement = select(ApiKey).where(ApiKey.project_id == project_id)
    return page(session, statement, by=ApiKey.id, after=after, limit=limit)


def names_of(session: Session, *, key_ids: Collection[str]) -> dict[str, str]:
    """Return what keys are called, by their ids."""
    named = select(ApiKey.id, ApiKey.name).where(ApiKey.id.in_(key_ids))
    return {row.id: row.name for row in session.execute(named)} if key_ids else {}


def get_key(session: Session, *, project_id: str, key_id: str) -> ApiKey:
    """Return a key of the project."""
    key = session.get(ApiKey, key_id)
    if key is None or key.project_id != project_id:
        raise NotFound(f"there is no key {key_id!r}", param="key_id", code="key_not_found")
    return key


def revoke_key(session: Session, *, project_id: str, key_id: str) -> ApiKey:
    """Make a key useless from now on. Revoking again changes nothing."""
    key = get_key(session, project_id=project_id, key_id=key_id)
    if key.revoked_at is None:
        key.revoked_at = utcnow()
    return key


def rotate_key(
    session: Session, *, project_id: str, key_id: str, grace_seconds: float, now: datetime | None = None
) -> Rotated:
    """Give a key a new secret. What it had before is good for ``grace_seconds`` more, and no longer.

    Raises:
        Conflict: the key was revoked, or is being rotated by somebody else.
    """
    key = get_key(session, project_id=project_id, key_id=key_id)
    if key.revoked_at is not None:
        raise Conflict(f"key {key_id} was revoked; make a new one", param="key_id", code="key_revoked")
    end = database_now(plus=grace_seconds, now=now)
    former, prefix, secret = key.sha256, key.prefix, new_secret()
    changed = session.execute(
        update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.sha256 == former, ApiKey.revoked_at.is_(None))
        .values(sha256=digest(secret), prefix=secret[:KEPT_CHARACTERS])
        .returning(ApiKey.id)
    ).first()
    if changed is None:
        raise Conflict(
            f"key {key_id} was changed at the same moment; look at it and try again", param="key_id"
        )
    session.execute(
        update(FormerSecret)
        .where(FormerSecret.key_id == key_id, FormerSecret.good_until > end)
        .values(good_until=end)
    )
    session.add(FormerSecret(sha256=former, prefix=prefix, key_id=key_id, good_until=end))
    session.flush()
    session.refresh(key)
    return Rotated(key, secret, former)


def keep_in_file(settings: Settings, rotated: Rotated) -> None:
    """Write a new secret into STATE/key if the one before is there, so that `spindle key` prints a good one.

    To be called after the commit: a crash in between leaves the former, which the next start replaces.
    """
    path = settings.state / "key"
    if path.is_file() and digest(path.read_text().strip()) == rotated.former:
        replace_secret(path, rotated.secret)


def bootstrap_key(session: Session, settings: Settings) -> None:
    """Make sure that the default project is there, and that the first key opens it.

    The first key is ``settings.first_key``, or the one in STATE/key (mode 0600), which is written when it is
    not there and again after the key in it was revoked or rotated. The file comes before the row: a crash in
    between is healed by the next run.
    """
    if session.get(Project, DEFAULT_PROJECT) is None:
        session.add(Project(id=DEFAULT_PROJECT, name="default"))
        session.flush()
    path = settings.state / "key"
    secret = settings.first_key or once_written(path, new_secret())
    known, spent = _met_before(session, secret)
    if spent and settings.first_key is None:
        secret = new_secret()
        replace_secret(path, secret)
        known = False
    if not known:
        _add(session, project_id=DEFAULT_PROJECT, name=FIRST_KEY, scopes=SCOPES, secret=secret)


def _met_before(session: Session, secret: str) -> tuple[bool, bool]:
    """Tell whether a secret is or was a key's, and whether it opens nothing any more."""
    key = session.scalars(select(ApiKey).where(ApiKey.sha256 == digest(secret))).first()
    if key is not None:
        return True, key.revoked_at is not None
    former = session.get(FormerSecret, digest(secret)) is not None
    return former, former


def _add(
    session: Session,
    *,
    project_id: str,
    name: str,
    scopes: Sequence[str],
    secret: str,
    expires_at: datetime | None = None,
) -> ApiKey:
    key = ApiKey(
        id=new_id("key-"),
        project_id=project_id,
        name=name,
        prefix=secret[:KEPT_CHARACTERS],
        sha256=digest(secret),
        scopes=list(scopes),
        expires_at=expires_at,
    )
    session.add(key)
    session.flush()
    return key
