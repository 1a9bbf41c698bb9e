"""People signed in from a browser: a key opens a session, which can do what the key can, for some days."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core import keys
from core.clock import database_now
from core.errors import Unauthorized
from core.keys import Caller
from core.models import ApiKey, Project, WebSession

SECONDS = 7 * 24 * 3600.0
LONGEST_TOKEN = 100
SWEPT_AT_ONCE = 1000


@dataclass(frozen=True)
class SignedIn:
    """One session that is good, as people see it. ``token`` is the browser's."""

    token: str
    project_id: str
    project_name: str
    key_name: str
    scopes: frozenset[str]


def open_session(session: Session, *, secret: str, now: datetime | None = None) -> str:
    """Return the token of a new session for whose key this secret is.

    Raises:
        Unauthorized: it is nobody's.
    """
    who = keys.verify(session, secret=secret, now=now)
    token = secrets.token_urlsafe(32)
    session.add(
        WebSession(
            sha256=keys.digest(token),
            key_id=who.key_id,
            secret_sha256=keys.digest(secret),
            expires_at=session.scalars(select(database_now(plus=SECONDS, now=now))).one(),
        )
    )
    session.flush()
    return token


def verify(session: Session, *, token: str, now: datetime | None = None) -> Caller:
    """Return who is signed in with a token.

    Raises:
        Unauthorized: the session has ended, or its key or secret is no longer good.
    """
    found = None
    if len(token) <= LONGEST_TOKEN:
        alive = WebSession.expires_at > database_now(now=now)
        found = session.scalar(select(WebSession).where(WebSession.sha256 == keys.digest(token), alive))
    if found is None:
        raise Unauthorized("this browser is no longer signed in; sign in again", code="session_ended")
    return keys.still_good(session, key_id=found.key_id, secret_sha256=found.secret_sha256, now=now)


def signed_in(session: Session, *, tokens: Sequence[str]) -> list[SignedIn]:
    """Return the sessions of a browser that are good, in the order of its tokens."""
    found = []
    for token in tokens:
        try:
            who = verify(session, token=token)
        except Unauthorized:
            continue
        project = session.get_one(Project, who.project_id)
        key = session.get_one(ApiKey, who.key_id)
        found.append(SignedIn(token, project.id, project.name, key.name, who.scopes))
    return found


def close_session(session: Session, *, token: str) -> None:
    """End a session; one that has ended stays ended."""
    session.execute(delete(WebSession).where(WebSession.sha256 == keys.digest(token)))


def sweep(session: Session, *, now: datetime | None = None) -> int:
    """Delete sessions that have expired; return how many."""
    old = (
        select(WebSession.sha256)
        .where(WebSession.expires_at < database_now(now=now))
        .order_by(WebSession.expires_at)
        .limit(SWEPT_AT_ONCE)
    )
    gone = session.scalars(
        delete(WebSession).where(WebSession.sha256.in_(old.scalar_subquery())).returning(WebSession.sha256)
    )
    return len(gone.all())
