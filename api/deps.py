"""What a route can ask for: who calls, a session, the store, and "only once"."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CollectorRegistry, Gauge
from pydantic import BaseModel
from sqlalchemy.orm import Session

from core import idempotency, keys
from core.db import Database, transaction
from core.errors import Forbidden, Unauthorized
from core.keys import Caller
from core.settings import Settings
from core.storage.store import ObjectStore

ResultT = TypeVar("ResultT")

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


def platform(request: Request) -> Platform:
    """Return the parts this app was made with."""
    found = request.app.state.platform
    assert isinstance(found, Platform)
    return found


PlatformDep = Annotated[Platform, Depends(platform)]


def session(parts: PlatformDep) -> Iterator[Session]:
    """Give the request its one transaction; it is committed before the answer is sent."""
    with transaction(parts.database) as opened:
        yield opened


# With the default scope the commit would follow the answer, and a failed one still say 200.
SessionDep = Annotated[Session, Depends(session, scope="function")]


def caller(
    request: Request,
    parts: PlatformDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
) -> Caller:
    """Return who calls. A transaction of its own, so that waiting and streaming routes hold none."""
    if credentials is None:
        raise Unauthorized(
            "this address needs a key: send `Authorization: Bearer KEY` (`spindle key` prints one)",
            code="missing_api_key",
        )
    with transaction(parts.database) as opened:
        found = keys.verify(opened, secret=credentials.credentials)
    request.state.project_id = found.project_id
    request.state.key_id = found.key_id
    _require(found, "read" if request.method in ("GET", "HEAD") else "write")
    return found


CallerDep = Annotated[Caller, Depends(caller)]


def administrator(who: CallerDep) -> Caller:
    """Return who calls, who may make and revoke keys."""
    _require(who, "admin")
    return who


AdministratorDep = Annotated[Caller, Depends(administrator)]


def _require(who: Caller, scope: str) -> None:
    if scope not in who.scopes:
        raise Forbidden(
            f"this key may {' and '.join(sorted(who.scopes)) or 'nothing'}, but not {scope}; use another key",
            code="scope_missing",
        )


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

    Only an answer that was committed is kept: a refused request changed nothing and may be mended and
    sent again under its key.
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

    def finish(self, opened: Session, body: BaseModel, *, status: int = 200) -> JSONResponse:
        """Keep the answer and return it."""
        told: dict[str, Any] = jsonable_encoder(body)
        if self.key is not None:
            idempotency.finish(opened, project_id=self.project_id, key=self.key, status=status, body=told)
        return JSONResponse(told, status)

    def abandon(self, opened: Session) -> None:
        """Forget a request that came to nothing, so that it can be sent again."""
        if self.key is not None:
            idempotency.abandon(opened, project_id=self.project_id, key=self.key)

    def __call__(self, opened: Session, work: Callable[[], BaseModel], *, status: int = 200) -> JSONResponse:
        """Do the work, or return what it answered the first time."""
        return self.begin(opened) or self.finish(opened, work(), status=status)


IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        description="A string of your own: a request repeated with it gets the first answer again.",
    ),
]


async def once(request: Request, who: CallerDep, idempotency_key: IdempotencyKey = None) -> Once:
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
