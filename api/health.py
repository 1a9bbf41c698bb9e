"""Whether the process runs, whether it can work, and what it has measured."""

from collections.abc import Iterable
from importlib.metadata import version

import structlog
from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CollectorRegistry, Info, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from api.deps import PlatformDep
from core import health, measures
from core.db import Database, look

log = structlog.get_logger(__name__)
router = APIRouter(tags=["health"])


class PlatformNumbers(Collector):
    """What core.measures finds in the database when somebody asks: the same from every API process."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def describe(self) -> Iterable[Metric]:
        """Name nothing in advance: the registry would ask the database at start otherwise."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Ask."""
        up = GaugeMetricFamily("spindle_database_up", "1 when the database answered this process just now.")
        families: dict[str, Metric] = {up.name: up}
        try:
            with look(self.database) as session:
                gauges = measures.gauges(session)
                counts, spreads = measures.counters(session)
        except SQLAlchemyError as error:  # what this process has counted itself is worth telling all the more
            log.warning("database_not_measured", error=type(error).__name__)
            up.add_metric([], 0)
            return families.values()
        up.add_metric([], 1)
        for gauge in gauges:
            family = families.setdefault(gauge.name, GaugeMetricFamily(gauge.name, gauge.text))
            family.add_sample(gauge.name, dict(gauge.labels), gauge.value)
        for count in counts:
            family = families.setdefault(count.name, CounterMetricFamily(count.name, count.text))
            family.add_sample(f"{count.name}_total", dict(count.labels), count.value)
        for spread in spreads:
            family = families.setdefault(spread.name, HistogramMetricFamily(spread.name, spread.text))
            for bound, number in spread.buckets:
                family.add_sample(f"{spread.name}_bucket", dict(spread.labels) | {"le": bound}, number)
            family.add_sample(f"{spread.name}_count", dict(spread.labels), spread.buckets[-1][1])
            family.add_sample(f"{spread.name}_sum", dict(spread.labels), spread.sum)
        return families.values()


def registry_for(database: Database) -> CollectorRegistry:
    """Return the registry of one app."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    Info("spindle_process", "What this process is.", registry=registry).info(
        {"role": "api", "version": version("spindle")}
    )
    registry.register(PlatformNumbers(database))
    return registry


@router.get("/livez")
def livez() -> dict[str, str]:
    """Answer while the process runs."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    responses={503: {"description": "Something is missing.", "content": {"application/json": {}}}},
)
def readyz(parts: PlatformDep) -> JSONResponse:
    """Answer 200 when database, store, queue and a worker are there, else 503 and what is missing."""
    found = health.check(parts.settings, parts.database, parts.store)
    ready = all(state == "ok" for state in found.values())
    return JSONResponse(
        {"status": "ok" if ready else "not ready", "checks": found}, status_code=200 if ready else 503
    )


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(parts: PlatformDep) -> PlainTextResponse:
    """Return the measurements in Prometheus' text format."""
    return PlainTextResponse(generate_latest(parts.metrics), media_type=CONTENT_TYPE_LATEST)
