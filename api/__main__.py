"""``python -m api``: the HTTP service by uvicorn, with its limits on connections.

Whatever it listens on, every address under /v1 wants a key: there is no setting that opens it.
"""

import argparse
from collections.abc import Sequence

import uvicorn

from api.connection import ImpatientConnection
from api.middleware import HEAD_BYTES


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("python -m api", description="Serve the HTTP API.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    return parser.parse_args(given)


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    told = arguments()
    uvicorn.run(
        "api.main:app",
        host=told.host,
        port=told.port,
        http=ImpatientConnection,
        h11_max_incomplete_event_size=HEAD_BYTES,
        access_log=False,
        server_header=False,
    )


if __name__ == "__main__":
    main()
