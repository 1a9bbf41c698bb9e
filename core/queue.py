"""The queue carries doorbells: the name of a task and one id. Lost or doubled, they do no harm."""

import fcntl
import json
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from queue import Empty
from typing import Any, Final
from urllib.parse import urlsplit

import redis
import structlog
from celery import Celery
from kombu.entity import Exchange, Queue
from kombu.exceptions import KombuError
from kombu.transport import TRANSPORT_ALIASES, filesystem

from core.errors import Unavailable
from core.models.states import UnitKind
from core.settings import Settings

log = structlog.get_logger(__name__)

# Each kind has its own bell: a worker must not hear, and so use up, those of kinds it leaves to others.
RUN_UNIT: Final = {kind: f"worker.units.{kind.value}" for kind in UnitKind}
UNITS: Final = {kind: f"units-{kind.value}" for kind in UnitKind}
DRAW: Final = "worker.serve.ring"
SERVE: Final = "drawings"
OWN: Final = "own-"  # and the worker's name: a queue that nobody else hears
ROUTES: Final = {RUN_UNIT[kind]: {"queue": UNITS[kind]} for kind in UnitKind} | {DRAW: {"queue": SERVE}}
POLL_SECONDS = 0.2
TIMEOUT_SECONDS = 3.0


class FolderChannel(filesystem.Channel):
    """kombu's folder of messages, where every file appears whole and is taken by one reader.

    kombu 5.7 opens a message under its final name and then writes it, takes it through the system's
    temporary folder, and rewrites the table of queues in place: a second process can meet half of each.
    Remove this class when kombu renames files into place.
    """

    # kombu names this argument differently in two classes above.
    def _put(self, queue: str, payload: Any, **_: Any) -> None:  # type: ignore[override]
        folder = Path(self.data_folder_out)
        name = f"{time.time_ns() // 1_000_000:015d}_{uuid.uuid4()}"
        _write_whole(folder / f"{name}.{queue}.msg", payload)

    def _get(self, queue: str, timeout: Any = None) -> Any:  # noqa: ARG002
        folder = Path(self.data_folder_in)
        for name in sorted(path.name for path in folder.iterdir()):
            if name.partition(".")[2] != f"{queue}.msg":
                continue
            taken = folder / f".{name}.taken"
            try:
                (folder / name).rename(taken)
            except FileNotFoundError:  # another reader was first
                continue
            payload = json.loads(taken.read_bytes())
            taken.unlink()
            return payload
        raise Empty

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        row = [routing_key or "", pattern or "", queue or ""]
        file: Path = self._exchange_file(exchange)
        with file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            table = [list(known) for known in self.get_table(exchange)]
            if row not in table:
                _write_whole(file, [row, *table])


class FolderTransport(filesystem.Transport):
    """``filesystem://`` with the channel above."""

    Channel = FolderChannel


TRANSPORT_ALIASES["filesystem"] = "core.queue:FolderTransport"


def _write_whole(path: Path, content: Any) -> None:
    partial = path.with_name(f".{path.name}.{uuid.uuid4()}.part")
    partial.write_text(json.dumps(content))
    partial.replace(path)


def named(name: str) -> Queue:
    """Return the queue of a name."""
    return Queue(name, Exchange(""), routing_key=name)


def celery_app(settings: Settings) -> Celery:
    """Return the Celery application: JSON, no results, messages acknowledged when received, one at a time."""
    app = Celery("spindle", set_as_current=False)
    app.conf.update(
        broker_url="filesystem://" if _is_folder(settings) else settings.broker_url,
        broker_transport_options=_transport_options(settings),
        broker_connection_timeout=TIMEOUT_SECONDS,
        broker_connection_retry_on_startup=True,
        task_routes=ROUTES,
        # The default exchange leads to the queue of the routing key's name, and needs no table of bindings.
        task_queues=[named(name) for name in (*UNITS.values(), SERVE)],
        task_default_queue=SERVE,  # for nothing: each task has its route
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        enable_utc=True,
    )
    return app


def _is_folder(settings: Settings) -> bool:
    return settings.broker_url.startswith("filesystem://")


def _transport_options(settings: Settings) -> dict[str, Any]:
    if not _is_folder(settings):
        return {
            "socket_connect_timeout": TIMEOUT_SECONDS,
            "socket_timeout": 30.0,
            "health_check_interval": 10,
        }
    folder = queue_folder(settings)
    for name in ("messages", "control"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return {
        "data_folder_in": str(folder / "messages"),
        "data_folder_out": str(folder / "messages"),
        "control_folder": str(folder / "control"),
        "polling_interval": POLL_SECONDS,
    }


def queue_folder(settings: Settings) -> Path:
    """Return the folder of a ``filesystem://`` broker."""
    return Path(settings.broker_url.removeprefix("filesystem://"))


class Bell:
    """Sends doorbells; a queue that does not answer costs a warning, for the relay will ring again."""

    def __init__(self, settings: Settings) -> None:
        self._app = celery_app(settings)
        # A request of a user waits for this: the relay has more patience.
        self._app.conf.broker_transport_options |= {"max_retries": 1, "interval_start": 0.0}

    def ring(
        self, task: str, payload: str, *, queue: str | None = None, headers: Mapping[str, str] | None = None
    ) -> bool:
        """Send one message, to the task's queue or another; False when the queue did not take it.

        ``headers`` go with it: where its sending stands in a trace.
        """
        place = {} if queue is None else {"queue": named(queue)}
        try:
            self._app.send_task(task, args=[payload], retry=False, headers=dict(headers or {}), **place)
        except (KombuError, redis.RedisError, OSError) as error:
            log.warning("doorbell_not_sent", task=task, payload=payload, error=type(error).__name__)
            return False
        return True

    def answer(self, queue: str) -> bool:
        """Take one message from a queue to which nobody may be listening; False when it has none to give."""
        try:
            with self._app.connection_for_read(connect_timeout=TIMEOUT_SECONDS) as connection:
                return connection.default_channel.basic_get(queue, no_ack=True) is not None
        except (KombuError, redis.RedisError, OSError) as error:
            log.warning("doorbell_not_answered", queue=queue, error=type(error).__name__)
            return False

    def close(self) -> None:
        """Give the connections back."""
        self._app.close()


def messages(settings: Settings) -> dict[str, int]:
    """Count the messages that wait, by queue.

    Raises:
        Unavailable: the queue does not answer.
    """
    names = (*UNITS.values(), SERVE)
    if _is_folder(settings):
        waiting = [path.name for path in (queue_folder(settings) / "messages").glob("*.msg")]
        return {name: sum(each.partition(".")[2] == f"{name}.msg" for each in waiting) for name in names}
    try:
        with _redis(settings) as client:
            return {name: client.llen(name) for name in names}
    except redis.RedisError as error:
        raise _silent(error) from error


def _redis(settings: Settings) -> Any:
    return redis.Redis.from_url(
        settings.broker_url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
    )


def _silent(error: redis.RedisError) -> Unavailable:
    return Unavailable(f"the queue does not answer ({type(error).__name__})", code="queue_unavailable")


def check_broker(settings: Settings) -> None:
    """Make sure that the queue can be used, and that it keeps messages when memory runs short.

    Raises:
        Unavailable: it does not answer.
        ValueError: it would throw messages away.
    """
    if _is_folder(settings):
        folder = queue_folder(settings) / "messages"
        folder.mkdir(parents=True, exist_ok=True)
        next(folder.iterdir(), None)
        return
    try:
        with _redis(settings) as client:
            memory: Any = client.info("memory")
    except redis.RedisError as error:
        raise _silent(error) from error
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        host = urlsplit(settings.broker_url).hostname
        raise ValueError(f"the Redis at {host} evicts keys ({policy}): set maxmemory-policy noeviction")
