"""What one worker process counts of itself, for its /metrics."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from core.models.states import UnitKind
from core.storage.metered import StoreMeters

SECONDS = (0.005, 0.05, 0.5, 5, 60)
RENEWALS = ("renewed", "lost", "failed")
STARTS = ("warm", "fresh")
ENDS = ("succeeded", "stopped", "failed", "killed")


class Meters:
    """The counters of a worker; each costs a look into a dictionary and an addition."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.store = StoreMeters(self.registry)
        self._duties = self._counter(
            "spindle_duties", "Rounds of the pulse's and the beat's duties, by outcome.", "duty", "outcome"
        )
        self._duty_seconds = Histogram(
            "spindle_duty_seconds",
            "Seconds that a duty took.",
            ("duty",),
            registry=self.registry,
            buckets=SECONDS,
        )
        self._duty_succeeded = Gauge(
            "spindle_duty_success_timestamp_seconds",
            "When a duty last went well, in seconds since 1970.",
            ("duty",),
            registry=self.registry,
        )
        self._running = Gauge(
            "spindle_worker_running", "Units that this worker runs now.", ("kind",), registry=self.registry
        )
        self._renewals = self._counter(
            "spindle_lease_renewals", "Renewals of leases on units and drawings, by outcome.", "outcome"
        )
        self._starts = self._counter(
            "spindle_child_starts", "Processes started for units, by how: forked warm or fresh.", "start"
        )
        self._ends = self._counter(
            "spindle_child_ends", "Processes of units and of drawing that ended, by how.", "end"
        )
        self._certificates = Gauge(
            "spindle_certificate_expiry_timestamp_seconds",
            "When a certificate that this process uses ends, in seconds since 1970.",
            ("what",),
            registry=self.registry,
        )
        for counter, known in ((self._renewals, RENEWALS), (self._starts, STARTS), (self._ends, ENDS)):
            for each in known:
                counter.labels(each)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def tell_kinds(self, kinds: tuple[UnitKind, ...]) -> None:
        """Tell of these kinds that none runs yet."""
        for kind in kinds:
            self._running.labels(kind.value)

    def did(self, duty: str, *, seconds: float, well: bool) -> None:
        """Note how long a duty took, and whether it went well."""
        for outcome in ("succeeded", "failed"):
            self._duties.labels(duty, outcome).inc(outcome == ("succeeded" if well else "failed"))
        self._duty_seconds.labels(duty).observe(seconds)
        if well:
            self._duty_succeeded.labels(duty).set(time.time())

    @contextmanager
    def running(self, kind: UnitKind) -> Iterator[None]:
        """Surround the work on a unit."""
        with self._running.labels(kind.value).track_inprogress():
            yield

    def drawing(self, *, held: Callable[[], int], process: Callable[[], bool]) -> None:
        """Tell of a serving worker: how many drawings it holds, and whether its process runs."""
        asked = (
            ("spindle_drawings_held", "Requests for pictures that this worker has claimed.", held),
            ("spindle_drawing_process", "1 while the process that draws runs.", process),
        )
        for name, text, ask in asked:
            Gauge(name, text, registry=self.registry).set_function(ask)

    def certificate(self, *, what: str, expires: datetime) -> None:
        """Tell when a certificate ends."""
        self._certificates.labels(what).set(expires.timestamp())

    def counting(self, renew: Callable[[], bool]) -> Callable[[], bool]:
        """Return a way to renew a lease that is counted."""

        def counted() -> bool:
            try:
                ours = renew()
            except Exception:
                self.renewed("failed")
                raise
            self.renewed("renewed" if ours else "lost")
            return ours

        return counted

    def renewed(self, outcome: str, number: int = 1) -> None:
        """Count renewals of leases that ended in one of ``RENEWALS``."""
        self._renewals.labels(outcome).inc(number)

    def started(self, start: str) -> None:
        """Count a process that was started in one of ``STARTS``."""
        self._starts.labels(start).inc()

    def ended(self, end: str) -> None:
        """Count a process that ended in one of ``ENDS``."""
        self._ends.labels(end).inc()
