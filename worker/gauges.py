"""What a worker tells of itself when it is asked: its pulse, its disk, its warm process and its GPUs."""

import math
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Generic, TypeVar

from prometheus_client import Info, ProcessCollector
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from worker.workplace import Workplace

CACHE_SECONDS = 60.0  # walking a cache of many files takes a while
GPU_SECONDS = 15.0
ASK_SECONDS = 5.0
ASK = (
    "nvidia-smi",
    "--query-gpu=index,memory.used,memory.total,utilization.gpu,temperature.gpu",
    "--format=csv,noheader,nounits",
)
OF_GPUS = (
    ("spindle_gpu_memory_used_bytes", "Memory of the GPU that is taken.", 1 << 20),
    ("spindle_gpu_memory_bytes", "Memory of the GPU.", 1 << 20),
    ("spindle_gpu_utilisation_ratio", "Share of the last second in which the GPU computed.", 0.01),
    ("spindle_gpu_temperature_celsius", "Temperature of the GPU.", 1),
)
Clock = Callable[[], float]
ValueT = TypeVar("ValueT")


def add_gauges(place: Workplace) -> None:
    """Let a worker's metrics tell of its process and its host as well."""
    place.meters.tell_kinds(place.kinds)
    ProcessCollector(registry=place.meters.registry)
    about = {"role": place.kind, "version": version("spindle")}
    Info("spindle_process", "What this process is.", registry=place.meters.registry).info(about)
    place.meters.registry.register(PlaceNumbers(place))
    if place.kind != "beat":
        place.meters.registry.register(GpuNumbers())


class PlaceNumbers(Collector):
    """A worker's pulse, and what it takes of its host."""

    def __init__(self, place: Workplace, clock: Clock = time.monotonic) -> None:
        self._place = place
        self._cache_bytes = Remembered(lambda: float(bytes_in(place.cache)), CACHE_SECONDS, clock)

    def describe(self) -> Iterable[Metric]:
        """Name nothing in advance: the registry would walk the cache at start otherwise."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Look."""
        place = self._place
        disk = shutil.disk_usage(place.settings.state)
        found: tuple[tuple[str, str, float], ...] = (
            (
                "spindle_worker_pulse_age_seconds",
                "Seconds since the worker's pulse, or the beat, last went round.",
                place.vitals.still_seconds,
            ),
            (
                "spindle_worker_unheard_seconds",
                "Seconds that work has been waiting for this worker without a message.",
                place.vitals.unheard_seconds,
            ),
            (
                "spindle_worker_draining",
                "1 when the worker finishes what it does, and stops.",
                place.draining.is_set(),
            ),
            ("spindle_worker_cache_bytes", "Staged inputs on this worker's disk.", self._cache_bytes()),
            ("spindle_worker_cache_limit_bytes", "What they may take.", place.settings.worker_cache_bytes),
            (
                "spindle_worker_disk_free_bytes",
                "Room in the file system of the state folder.",
                disk.free,
            ),
            ("spindle_worker_disk_bytes", "Size of the file system of the state folder.", disk.total),
            (
                "spindle_worker_warm",
                "1 while a process that has imported the engine waits to be forked.",
                place.warm.pid is not None,
            ),
        )
        return [GaugeMetricFamily(name, text, value=float(value)) for name, text, value in found]


class GpuNumbers(Collector):
    """What NVIDIA's driver tells, asked at most every 15 seconds; nothing where there is none.

    How many there ever were stays told, so that it is seen when one is lost.
    """

    def __init__(self, ask: Callable[[], str] | None = None, clock: Clock = time.monotonic) -> None:
        self._most = 0
        self._told = Remembered(ask or told_by_driver, GPU_SECONDS, clock)

    def describe(self) -> Iterable[Metric]:
        """Name nothing in advance: the driver would be asked at start otherwise."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Ask."""
        rows = [[part.strip() for part in line.split(",")] for line in self._told().splitlines()]
        rows = [row for row in rows if len(row) == len(OF_GPUS) + 1]
        self._most = max(self._most, len(rows))
        counts = (
            ("spindle_worker_gpus", "GPUs that the driver has told of since the worker started.", self._most),
            ("spindle_worker_gpus_answering", "GPUs that the driver tells of now.", len(rows)),
        )
        families = [GaugeMetricFamily(name, text, value=float(value)) for name, text, value in counts]
        for column, (name, text, unit) in enumerate(OF_GPUS, start=1):
            family = GaugeMetricFamily(name, text, labels=("gpu",))
            for row in rows:
                value = number(row[column])
                if not math.isnan(value):  # "[N/A]": this GPU does not tell
                    family.add_metric([row[0]], value * unit)
            families.append(family)
        return families


class Remembered(Generic[ValueT]):
    """What a function returned, for so many seconds."""

    def __init__(self, ask: Callable[[], ValueT], seconds: float, clock: Clock) -> None:
        self._ask, self._seconds, self._clock = ask, seconds, clock
        self._known: tuple[float, ValueT] | None = None

    def __call__(self) -> ValueT:
        """Return what is known, or ask."""
        now = self._clock()
        if self._known is None or now - self._known[0] >= self._seconds:
            self._known = (now, self._ask())
        return self._known[1]


def told_by_driver() -> str:
    """Return the driver's lines; nothing when there is no driver, or it does not answer."""
    try:
        return subprocess.run(ASK, capture_output=True, text=True, timeout=ASK_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def number(text: str) -> float:
    """Return a number, or NaN where none stands."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def bytes_in(folder: Path) -> int:
    """Return the bytes of the files below a folder; what vanishes meanwhile takes none."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total
