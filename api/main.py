"""The HTTP service: ``python -m api``, or ``create_app(settings)``."""

import logging
import re
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib.metadata import version
from types import FrameType

from fastapi import APIRouter, Depends, FastAPI
from prometheus_client import Gauge
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Scope

from api import errors, health
from api.audit import router as audit
from api.comparisons import router as comparisons
from api.comparisons import voting
from api.datasets import router as datasets
from api.deps import Platform, refuse_unknown_query
from api.files import router as files
from api.files.multipart import ALLOWANCE
from api.fine_tuning import plans, records, reports
from api.fine_tuning import router as fine_tuning
from api.images import router as images
from api.images.watch import Watch
from api.keys import router as keys
from api.middleware import HttpMetrics, Observed, RequestLimits, Revalidated
from api.models import router as models
from api.models import transfers
from api.objects import router as objects
from api.pages import router as pages
from api.pages.openapi import schema_of
from api.projects import router as projects
from api.queue import router as queue
from api.registry import router as registered
from api.uploads import router as uploads
from api.web import router as web
from api.web.errors import shown
from api.webhooks import router as webhooks
from api.workers import router as workers
from core.db import Database
from core.logs import configure_logs
from core.rates import buckets_for
from core.settings import Settings
from core.storage.metered import MeteredStore, StoreMeters
from core.storage.store import store_for
from core.tracing import configure_tracing, flush_tracing
from core.uploads.pieces import LARGEST_PART

JSON_BODY_BYTES = 1 << 20
RESOURCES = (
    files,
    uploads,
    datasets,
    fine_tuning,
    plans,
    records,
    reports,
    transfers,  # before the models: an import is none
    models,
    registered,
    images,
    keys,
    projects,
    audit,
    webhooks,
    comparisons,
    voting,
    workers,
    queue,
    objects,
)
"""What lies under /v1, in the order in which addresses are tried."""
PARTS = re.compile(r"/v1/uploads/[^/]+/parts")
ASKED_BY_PAGES = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Prefer",
    "Range",
    "X-Content-SHA256",
    "X-Request-Id",
)
TOLD_TO_PAGES = (
    "Accept-Ranges",
    "Content-Range",
    "ETag",
    "Idempotent-Replayed",
    "Location",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-Id",
)


def _body_limits(settings: Settings) -> Callable[[Scope], int]:
    def limit_for(scope: Scope) -> int:
        if scope["path"] == "/v1/files":
            return settings.max_file_bytes + ALLOWANCE
        if PARTS.fullmatch(scope["path"]):
            return LARGEST_PART + ALLOWANCE
        if scope["method"] == "PUT" and scope["path"].startswith("/v1/objects/"):
            return settings.max_file_bytes
        return JSON_BODY_BYTES

    return limit_for


def _lifespan(parts: Platform) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """End streams when the server is told to stop: it would wait for them, and they for their jobs."""

    def tell_streams(signum: int) -> None:
        before = signal.getsignal(signum)

        def stop(number: int, frame: FrameType | None) -> None:
            parts.stopping.set()
            if callable(before):
                before(number, frame)

        signal.signal(signum, stop)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if threading.current_thread() is threading.main_thread():
            tell_streams(signal.SIGTERM)
            tell_streams(signal.SIGINT)
        yield
        parts.stopping.set()
        parts.database.dispose()
        flush_tracing()  # the server ends by the signal that stopped it

    return lifespan


def _quiet_uvicorn() -> None:
    """Give the server's lines our form, and drop its access log, whose queries hold signatures of links."""
    server = logging.getLogger("uvicorn")
    server.handlers.clear()
    server.propagate = True
    logging.getLogger("uvicorn.access").disabled = True


def _answer_pages_of(app: FastAPI, origins: str) -> None:
    """Let web pages of these origins call from a browser; without any, no browser lets a page do so."""
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=[origin for origin in origins.split(",") if origin],
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=ASKED_BY_PAGES,
            expose_headers=TOLD_TO_PAGES,
        )


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the service for these settings; by default those of the environment."""
    settings = settings or Settings.load()
    configure_logs(settings)
    configure_tracing(settings, service="spindle-api")
    _quiet_uvicorn()
    database = Database(settings)
    registry = health.registry_for(database)
    listeners = Gauge("spindle_sse_clients", "Streams of events open in this process.", registry=registry)
    stopping = threading.Event()
    parts = Platform(
        settings,
        database,
        MeteredStore(store_for(settings), StoreMeters(registry)),
        registry,
        stopping,
        listeners,
        Watch(database, stopping),
        buckets_for(settings),
    )
    app = FastAPI(
        title="Spindle",
        version=version("spindle"),
        summary="Fine-tunes text-to-image diffusion models by self-play.",
        # api.middleware tells of requests: FastAPI would tell of each again, and of every scrape and probe.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(parts),
    )
    app.state.platform = parts
    errors.install(app, shown)
    app.add_middleware(RequestLimits, limit_for=_body_limits(settings))
    app.add_middleware(Revalidated)
    app.add_middleware(Observed, metrics=HttpMetrics(registry))
    _answer_pages_of(app, settings.cors_origins)
    v1 = APIRouter(prefix="/v1", dependencies=[Depends(refuse_unknown_query)])
    for resource in RESOURCES:
        v1.include_router(resource.router)
    app.include_router(v1)
    app.include_router(health.router)
    app.include_router(pages.router)
    app.include_router(web.router)
    # FastAPI's own way to change the document.
    app.openapi = partial(schema_of, app)  # type: ignore[method-assign]
    return app


def __getattr__(name: str) -> FastAPI:
    """Make ``app`` when a server asks for it, so that importing this module touches nothing."""
    if name == "app":
        return create_app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
