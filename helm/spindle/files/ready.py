# ruff: noqa: INP001  it is no part of a package: the chart hands it to a pod as it is
"""What `helm test` runs: ask an API for two minutes whether it could run a job, then tell what is missing."""

import json
import sys
import time
from urllib.error import HTTPError
from urllib.request import urlopen

ATTEMPTS = 24


def missing(address: str) -> str:
    """Return what is missing; nothing, when everything is there."""
    try:
        with urlopen(f"{address}/readyz", timeout=10):  # noqa: S310  the release's own Service
            return ""
    except HTTPError as error:
        checks: dict[str, str] = json.load(error)["checks"]
        return "; ".join(f"{part}: {state}" for part, state in checks.items() if state != "ok")
    except OSError as error:
        return f"the API does not answer at {address}: {error}"


def main(address: str, pause: float = 5.0) -> int:
    """Return the exit code."""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(pause)
        told = missing(address)
        if not told:
            print("ready: database, store, queue and a worker are there")
            return 0
    print(f"not ready: {told}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
