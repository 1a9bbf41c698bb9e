"""What a route can ask for: who calls, a session, the store, and "only once"."""

import hashlib
import json
import math
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, TypeVar

import structlog
from fastapi import Depends, Header, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CollectorRegistry, Gauge
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from api.images.watch import Watch
from api.routes import object_of, route_of
from api.web import cookies
from core import audit, idempotency, keys, sessions
from core.audit import Act
from core.db import Database, transaction
from core.errors import Forbidden, TooMany, Unauthorized
from core.keys import Caller
from core.models import Outcome
from core.rates import Buckets, OwnBuckets, Rate
from core.settings import Settings
from core.storage.store import ObjectStore

log = structlog.get_logger(__name__)

ResultT = TypeVar("ResultT")
DENIALS_KEPT = Rate(60)
SAFE = ("GET", "HEAD")
# Who asks for what, for whatever the request does; set once its key is known.
acting: ContextVar[Act | None] = ContextVar("acting", default=None)

Credentials = HTTPAuthorizationCredentials | None
bearer = HTTPBearer(auto_error=False, description="A Spindle key; `spindle key` prints the first one.")


@dataclass(frozen=True)
class Platform:
    """What one app works with, made once at its start."""

    settings: Settings
    database: Database
    store: ObjectStore
    metrics: CollectorRegistry
    stopping: threading.Event
    listeners: Gauge
    watch: Watch
    buckets: Buckets | None
    denials: OwnBuckets = field(default_factory=lambda: OwnBuckets(DENIALS_KEPT))


def platform(request: Request) -> Platform:
    """Return the parts this app was made with."""
    found = request.app.state.platform
    assert isinstance(found, Platform)
    return found


PlatformDep = Annotated[Platform, Depends(platform)]


def session(request: Request, parts: PlatformDep) -> Iterator[Session]:
    """Give the request its one transaction; it is committed before the answer is sent.

    What changes something is recorded in it; of a POST that is ``Once``'s to do.
    """
    with transaction(parts.database) as opened:
        yield opened
        if request.method not in (*SAFE, "POST"):
            _record(opened)


# With the default scope the commit would follow the answer, and a failed one still say 200.
SessionDep = Annotated[Session, Depends(session, scope="function")]


async def identity(request: Request, parts: PlatformDep) -> Caller:
    """Return who calls, whatever it may do; once a request, however many ask.

    In transactions of its own, so that waiting and streaming routes hold none. Async, so that what it tells
    of the request stays told in the tasks and threads that do the rest. It takes the header by itself: what
    asks for a security scheme with other scopes would be asked again.
    """
    credentials = await bearer(request)
    if credentials is not None:
        found = await run_in_threadpool(_admit, request, parts, secret=credentials.credentials)
    elif tokens := cookies.tokens_of(request):
        cookies.refuse_other_sites(request, parts.settings.public_url)
        found = await run_in_threadpool(_admit, request, parts, token=tokens[0])
    else:
        raise Unauthorized(
            "this address needs a key: send `Authorization: Bearer KEY` (`spindle key` prints one)",
            code="missing_api_key",
        )
    acting.set(
        Act(
            project_id=found.project_id,
            key_id=found.key_id,
            method=request.method,
            route=route_of(request.scope),
            object_id=object_of(request.path_params),
            request_id=request.state.request_id,
        )
    )
    return found


IdentityDep = Annotated[Caller, Depends(identity)]


def _admit(request: Request, parts: Platform, *, secret: str = "", token: str = "") -> Caller:
    """Look up the key, or the session that it opened; count the request, and note the use."""
    with transaction(parts.database) as opened:
        found = sessions.verify(opened, token=token) if token else keys.verify(opened, secret=secret)
    request.state.project_id = found.project_id
    request.state.key_id = found.key_id
    _count(request, parts, found.key_id)
    if found.unnoted:
        try:
            with transaction(parts.database) as opened:
                keys.note_use(opened, key_id=found.key_id)
        except SQLAlchemyError as error:  # nothing that was asked for depends on it
            log.warning("use_not_noted", key_id=found.key_id, error=type(error).__name__)
    return found


def _count(request: Request, parts: Platform, key_id: str) -> None:
    """Take a request out of the key's bucket, and let the answer tell how it stands."""
    if parts.buckets is None:
        return
    rate, found = parts.buckets.rate, parts.buckets.take(key_id)
    request.state.answer_headers = {
        "RateLimit-Policy": f'"key";q={rate.requests};w={rate.seconds:.0f}',
        "RateLimit": f'"key";r={found.remaining};t={math.ceil(found.full_seconds)}',
    }
    if not found.admitted:
        raise TooMany(
            f"this key has made its {rate.requests} requests a minute; wait for what Retry-After tells",
            code="rate_limit_exceeded",
            retry_after=max(1, math.ceil(found.retry_seconds)),
        )


async def caller(
    request: Request,
    parts: PlatformDep,
    who: IdentityDep,
    _told: Annotated[Credentials, Security(bearer, scopes=["read", "train"])],
) -> Caller:
    """Return who calls, who may read, or on a route that changes something may train."""
    return await _with_scope(parts, who, "read" if request.method in SAFE else "train")


async def artist(
    parts: PlatformDep, who: IdentityDep, _told: Annotated[Credentials, Security(bearer, scopes=["serve"])]
) -> Caller:
    """Return who calls, who may have pictures drawn."""
    return await _with_scope(parts, who, "serve")


async def administrator(
    parts: PlatformDep, who: IdentityDep, _told: Annotated[Credentials, Security(bearer, scopes=["admin"])]
) -> Caller:
    """Return who calls, who may make and revoke keys and read the audit log."""
    return await _with_scope(parts, who, "admin")


CallerDep = Annotated[Caller, Depends(caller)]
ArtistDep = Annotated[Caller, Depends(artist)]
AdministratorDep = Annotated[Caller, Depends(administrator)]


async def _with_scope(parts: Platform, who: Caller, scope: str) -> Caller:
    """Refuse a key without the scope, and record that: the first times, so that nobody fills the log."""
    if scope in who.scopes:
        return who
    if parts.denials.take(who.key_id).admitted:
        await in_transaction(parts, partial(_record, outcome=Outcome.denied))
    held = [each for each in keys.SCOPES if each in who.scopes]
    raise Forbidden(
        f"this key may {' and '.join(held) or 'nothing'}, but not {scope}; use another key",
        code="scope_missing",
    )


def _record(opened: Session, *, outcome: Outcome = Outcome.done, made: str | None = None) -> None:
    """Write into the audit log what the request at hand does; what needs no key has nobody to name."""
    act = acting.get()
    if act is not None:
        audit.record(opened, act, outcome=outcome, made=made)


def refuse_unknown_query(request: Request) -> None:
    """Refuse query parameters on a route that has none; the others have strict models for theirs."""
    if request.query_params and not request.scope["route"].dependant.query_params:
        raise RequestValidationError(
            [{"type": "extra_forbidden", "loc": ("query", name), "msg": ""} for name in request.query_params]
        )


def _canonical(body: bytes) -> bytes:
    """Return the body with its keys in order, so that a client may write them in any."""
    try:
        return json.dumps(json.loads(body), sort_keys=True, separators=(",", ":")).encode()
    except ValueError:
        return body


def fingerprint(request: Request, body: bytes) -> str:
    """Return what two requests with the same idempotency key must share."""
    told = f"{request.method} {request.url.path}\n".encode()
    return hashlib.sha256(told + body).hexdigest()


@dataclass(frozen=True)
class Once:
    """Does the work of one POST once for each ``Idempotency-Key``, in the transaction of that work.

    The work is recorded in the audit log there too. Only an answer that was committed is kept: a refused
    request changed nothing and may be mended and sent again under its key.
    """

    project_id: str
    key: str | None
    fingerprint: str

    def begin(self, opened: Session) -> JSONResponse | None:
        """Return the first answer again, or None when this is the first request."""
        if self.key is None:
            return None
        kept = idempotency.begin(
            opened, project_id=self.project_id, key=self.key, fingerprint=self.fingerprint
        )
        if kept is None:
            return None
        return JSONResponse(kept.body, kept.status, headers={"Idempotent-Replayed": "true"})

    def finish(
        self, opened: Session, body: BaseModel, *, status: int = 200, recorded: bool = True
    ) -> JSONResponse:
        """Keep the answer and return it; what changed nothing is not ``recorded``."""
        told: dict[str, Any] = jsonable_encoder(body)
        if recorded:
            _record(opened, made=told.get("id"))
        if self.key is not None:
            idempotency.finish(opened, project_id=self.project_id, key=self.key, status=status, body=told)
        return JSONResponse(told, status)

    def abandon(self, opened: Session) -> None:
        """Forget a request that came to nothing, so that it can be sent again."""
        if self.key is not None:
            idempotency.abandon(opened, project_id=self.project_id, key=self.key)

    def __call__(
        self, opened: Session, work: Callable[[], BaseModel], *, status: int = 200, recorded: bool = True
    ) -> JSONResponse:
        """Do the work, or return what it answered the first time."""
        return self.begin(opened) or self.finish(opened, work(), status=status, recorded=recorded)


IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        description="A string of your own: a request repeated with it gets the first answer again.",
    ),
]


async def once(request: Request, who: IdentityDep, idempotency_key: IdempotencyKey = None) -> Once:
    """Return the guard of a POST with a JSON body, or none."""
    body = _canonical(await request.body()) if idempotency_key else b""
    return Once(who.project_id, idempotency_key, fingerprint(request, body))


OnceDep = Annotated[Once, Depends(once)]


async def in_transaction(parts: Platform, work: Callable[[Session], ResultT]) -> ResultT:
    """Do blocking database work from an async route, in a thread, in one short transaction."""

    def run() -> ResultT:
        with transaction(parts.database) as opened:
            return work(opened)

    return await run_in_threadpool(run)
