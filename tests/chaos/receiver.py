"""Who is told by webhooks: takes every event, checks its signature, and keeps it."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from standardwebhooks import Webhook, WebhookVerificationError

from tests.chaos.history import Sent
from tests.services import LOOPBACK

ID = "webhook-id"


class Receiver:
    """Listens on a port of its own, in threads of its own, while the ``with`` block runs.

    An event whose signature is good is answered with 204, another one with 400; both are kept.
    One that is not whole did not come.
    """

    def __init__(self) -> None:
        self.got: dict[str, list[Sent]] = {}
        """What came, by the path of the endpoint, in its order."""
        self._secrets: dict[str, str] = {}
        self._server = ThreadingHTTPServer((LOOPBACK, 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="receiver", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def expect(self, path: str, secret: str) -> None:
        """Take events at a path from now on, signed with this secret."""
        self._secrets[path] = secret
        self.got[path] = []

    def take(self, path: str, headers: dict[str, str], body: bytes) -> bool:
        """Keep one event and tell whether it is signed; headers by their names in small letters."""
        try:
            Webhook(self._secrets[path]).verify(body, headers)
        except WebhookVerificationError:
            signed = False
        else:
            signed = True
        self.got[path].append(Sent(headers.get(ID, ""), body.decode(errors="replace"), time.time(), signed))
        return signed

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        take = self.take

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                body = self.rfile.read(length)
                if len(body) < length:
                    return  # it was cut, and nobody waits for an answer
                headers = {name.lower(): value for name, value in self.headers.items()}
                self.send_response(204 if take(self.path, headers, body) else 400)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
