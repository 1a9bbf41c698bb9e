"""A wire between a browser and a server, which can be cut."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Relay:
    """Passes bytes on while it is whole; cut, it drops every connection and takes no new one."""

    port: int
    listener: socket.socket
    whole: bool = True
    ends: list[socket.socket] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where the browser finds it."""
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def cut(self) -> None:
        """Drop what is connected."""
        self.whole = False
        for end in self.ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self.ends.clear()

    def serve(self) -> None:
        """Take connections until the listener is closed."""
        with suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                if not self.whole:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self.port))
                self.ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    self.start(threading.Thread(target=_pass, args=(one, other), daemon=True))

    def start(self, thread: threading.Thread) -> None:
        """Start a thread that is waited for at the end."""
        self.threads.append(thread)
        thread.start()


def _pass(source: socket.socket, sink: socket.socket) -> None:
    with source:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def relay_to(url: str) -> Iterator[Relay]:
    """Yield a wire to a server."""
    relay = Relay(urlsplit(url).port or 80, socket.create_server(("127.0.0.1", 0)))
    relay.start(threading.Thread(target=relay.serve, daemon=True))
    try:
        yield relay
    finally:
        relay.cut()
        with suppress(OSError):
            relay.listener.shutdown(socket.SHUT_RDWR)
        relay.listener.close()
        for thread in relay.threads:
            thread.join(5)
