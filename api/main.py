"""The HTTP service: ``python -m uvicorn api.main:app``, or ``create_app(settings)``."""

import logging
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib.metadata import version
from types import FrameType

from fastapi import APIRouter, Depends, FastAPI
from prometheus_client import Gauge
from starlette.types import Scope

from api import errors, health
from api.datasets import router as datasets
from api.deps import Platform, refuse_unknown_query
from api.files import router as files
from api.files.multipart import ALLOWANCE
from api.fine_tuning import records
from api.fine_tuning import router as fine_tuning
from api.images import router as images
from api.keys import router as keys
from api.middleware import BodyLimit, HttpMetrics, Observed
from api.models import router as models
from api.objects import router as objects
from api.pages import router as pages
from api.pages.openapi import schema_of
from api.projects import router as projects
from core.db import Database
from core.logs import configure_logs
from core.settings import Settings
from core.storage.store import store_for
from core.tracing import configure_tracing, flush_tracing

JSON_BODY_BYTES = 1 << 20


def _body_limits(settings: Settings) -> Callable[[Scope], int]:
    def limit_for(scope: Scope) -> int:
        if scope["path"] == "/v1/files":
            return settings.max_file_bytes + ALLOWANCE
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


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the service for these settings; by default those of the environment."""
    settings = settings or Settings.load()
    configure_logs(settings)
    configure_tracing(settings, service="spindle-api")
    _quiet_uvicorn()
    database = Database(settings)
    registry = health.registry_for(database)
    listeners = Gauge("spindle_sse_clients", "Streams of events open in this process.", registry=registry)
    parts = Platform(settings, database, store_for(settings), registry, threading.Event(), listeners)
    app = FastAPI(
        title="Spindle",
        version=version("spindle"),
        summary="Fine-tunes text-to-image diffusion models by self-play.",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(parts),
    )
    app.state.platform = parts
    errors.install(app)
    app.add_middleware(BodyLimit, limit_for=_body_limits(settings))
    app.add_middleware(Observed, metrics=HttpMetrics(registry))
    v1 = APIRouter(prefix="/v1", dependencies=[Depends(refuse_unknown_query)])
    for resource in (files, datasets, fine_tuning, records, models, images, keys, projects, objects):
        v1.include_router(resource.router)
    app.include_router(v1)
    app.include_router(health.router)
    app.include_router(pages.router)
    # FastAPI's own way to change the document.
    app.openapi = partial(schema_of, app)  # type: ignore[method-assign]
    return app


def __getattr__(name: str) -> FastAPI:
    """Make ``app`` when a server asks for it, so that importing this module touches nothing."""
    if name == "app":
        return create_app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
