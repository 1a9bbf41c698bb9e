"""An uploaded file is read in its own process, ``python -m worker.ingest SPEC``: no torch, no secrets.

SPEC is JSON: ``{"archive": file, "out": folder, "result": file, "limits": {...}, "options": {...},
"memory_bytes": n, "cpu_seconds": n}``. It tells its progress about once a second.
"""

import argparse
import json
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.ingest.dataset import Progress, Rejected, ingest
from core.ingest.limits import BadArchive, Limits
from core.ingest.options import Options
from spin_engine.unit_spec import DATA_ERROR

EVERY_SECONDS = 1.0


class OutOfTime(BaseException):
    """The processor time is used up. No error: what handles the errors of one picture must not stop it."""


def main(arguments: list[str] | None = None) -> int:
    """Read one file within its limits and return the exit code."""
    parser = argparse.ArgumentParser("python -m worker.ingest", description="Turn a file into a dataset.")
    parser.add_argument(
        "spec", type=Path, help="JSON: archive, out, result, limits, options, memory_bytes, cpu_seconds"
    )
    spec = json.loads(parser.parse_args(arguments).spec.read_text())
    memory, seconds = spec["memory_bytes"], spec["cpu_seconds"]
    limit(memory=memory, seconds=seconds)
    try:
        found = ingest(
            Path(spec["archive"]),
            Path(spec["out"]),
            limits=Limits(**spec["limits"]),
            options=Options.of_json(spec["options"]),
            progress=now_and_then(_tell_progress),
        )
    except BadArchive as error:
        return refuse(str(error), rejected=error.rejected if isinstance(error, Rejected) else [])
    # The limits are the same for every attempt and worker: it is the file that has to change.
    except OutOfTime:
        return refuse(f"the file needs more than {seconds} seconds of processor time to be read", rejected=[])
    except MemoryError:
        return refuse(f"the file needs more than {memory >> 20} MiB of memory to be read", rejected=[])
    Path(spec["result"]).write_text(json.dumps(found.as_json()))
    say({"type": "done"})
    return 0


def limit(*, memory: int, seconds: int) -> None:
    """Bound what this process may take of memory and processor time."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    signal.signal(signal.SIGXCPU, _out_of_time)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 10))


def _out_of_time(_signal: int, _frame: object) -> None:
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)  # it comes again each second, while this one is told
    raise OutOfTime


def now_and_then(tell: Progress, *, clock: Callable[[], float] = time.monotonic) -> Progress:
    """Return what passes progress on once in ``EVERY_SECONDS``, the first at once."""
    due = clock()

    def told(done: int, of: int) -> None:
        nonlocal due
        if (now := clock()) >= due:
            due = now + EVERY_SECONDS
            tell(done, of)

    return told


def _tell_progress(done: int, of: int) -> None:
    say({"type": "progress", "step": done, "of": of, "what": "ingest"})


def refuse(message: str, **more: Any) -> int:
    """Tell that the file is at fault, and return the exit code that says so."""
    say({"type": "error", "reason": "user_error", "message": message, **more})
    return DATA_ERROR


def say(line: dict[str, Any]) -> None:
    """Tell one line to whoever started this process."""
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(main())
