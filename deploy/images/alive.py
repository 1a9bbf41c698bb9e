"""Tell whether what process 1 runs is alive: the health check of the images. Exit code 0: it is.

Needs nothing but the standard library, and starts fast: an engine asks every few seconds.
"""

import os
import sys
from itertools import pairwise
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

API_PORT = "8000"
TIMEOUT_SECONDS = 4


def address(command: list[str], environment: dict[str, str]) -> str | None:
    """Return where the process of this command line answers; None for one that lives while it runs.

    ``python -m core.migrate`` and commands given by hand serve nothing: when they end, so does the container.
    """
    modules = {module for flag, module in pairwise(command) if flag == "-m"}
    if "api" in modules:
        port = command[command.index("--port") + 1] if "--port" in command else API_PORT
    elif "worker" in modules:
        port = environment.get("SPINDLE_METRICS_PORT", "0")
    else:
        return None
    return f"http://127.0.0.1:{port}/livez" if int(port) else None


def main() -> int:
    """Ask, and print why it is not alive."""
    command = Path("/proc/1/cmdline").read_bytes().decode(errors="replace").split("\0")
    url = address(command, dict(os.environ))
    if url is None:
        return 0
    try:
        with urlopen(url, timeout=TIMEOUT_SECONDS):  # noqa: S310  http, as written above
            return 0
    except HTTPError as error:
        print(f"{url}: {error.code} {error.read().decode(errors='replace')[:500]}")
    except OSError as error:
        print(f"{url}: {error}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
