"""Ports to listen on."""

import socket

from spindle.errors import SpindleError


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def free_port(host: str) -> int:
    """Return a port that nothing listens on now."""
    with socket.socket(_family(host)) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def check_port(host: str, port: int) -> None:
    """Refuse a port that is taken or may not be used.

    Raises:
        SpindleError: the port cannot be listened on.
    """
    with socket.socket(_family(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SpindleError(
                f"Cannot listen on {host}:{port}: {error.strerror}. "
                "Choose another port with --port (0: a free one)."
            ) from error
