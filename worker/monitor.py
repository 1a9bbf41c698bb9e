"""``GET /metrics`` and ``GET /livez`` of a worker: asked by probes and by Prometheus, open to no write.

It listens before the queue or the database is reached, so that a worker that waits for one of them is seen
waiting, and ends with the process.
"""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from worker.gauges import add_gauges
from worker.vitals import Vitals
from worker.workplace import Workplace

log = structlog.get_logger(__name__)

EVERYWHERE = ""  # probes and Prometheus come from other hosts
IDLE_SECONDS = 10.0
PLAIN = "text/plain; charset=utf-8"


class PortTaken(ValueError):  # noqa: N818  says what is wrong with the setting
    """The metrics' port cannot be listened on."""


class Server(ThreadingHTTPServer):
    """Answers each request in a thread that ends with the process."""

    daemon_threads = True


def start_monitor(place: Workplace) -> Server | None:
    """Listen on the settings' ``metrics_port``; nothing is done when it is 0.

    Raises:
        PortTaken: it cannot be listened on.
    """
    port = place.settings.metrics_port
    if port == 0:
        return None
    add_gauges(place)
    try:
        server = server_at(port, registry=place.meters.registry, vitals=place.vitals)
    except OSError as error:
        raise PortTaken(
            f"cannot listen on port {port} for metrics ({error.strerror}): give each worker of a host a "
            "SPINDLE_METRICS_PORT of its own, or 0 for none"
        ) from error
    threading.Thread(target=server.serve_forever, name="monitor", daemon=True).start()
    log.info("monitor_listens", port=port)
    return server


def server_at(port: int, *, registry: CollectorRegistry, vitals: Vitals) -> Server:
    """Return a server that listens on a port of every address; OSError when it cannot."""

    class Handler(BaseHTTPRequestHandler):
        timeout = IDLE_SECONDS  # a connection that sends nothing holds its thread no longer

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/livez":
                    complaint = vitals.complaint()
                    self._answer(200 if complaint is None else 503, PLAIN, f"{complaint or 'ok'}\n".encode())
                case "/metrics":
                    self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
                case _:
                    self._answer(404, PLAIN, b"there are /livez and /metrics\n")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name it has above
            log.debug("monitor_asked", said=format % args)

    return Server((EVERYWHERE, port), Handler)
