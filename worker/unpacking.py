"""A model from outside is unpacked in its own process, ``python -m worker.unpacking SPEC``, without torch.

SPEC is JSON: ``{"file": path, "out": folder, "result": file, "limits": {...}, "memory_bytes": n,
"cpu_seconds": n}``. It tells its progress about once a second.
"""

import argparse
import json
import sys
from pathlib import Path

from core.incoming.unpack import unpack
from core.ingest.limits import BadArchive, Limits
from worker.ingest import OutOfTime, limit, now_and_then, refuse, say


def main(arguments: list[str] | None = None) -> int:
    """Unpack one file within its limits and return the exit code."""
    parser = argparse.ArgumentParser("python -m worker.unpacking", description="Unpack a model.")
    parser.add_argument("spec", type=Path, help="JSON: file, out, result, limits, memory_bytes, cpu_seconds")
    spec = json.loads(parser.parse_args(arguments).spec.read_text())
    memory, seconds = spec["memory_bytes"], spec["cpu_seconds"]
    limit(memory=memory, seconds=seconds)
    try:
        found = unpack(
            Path(spec["file"]),
            Path(spec["out"]),
            limits=Limits(**spec["limits"]),
            progress=now_and_then(_tell_progress),
        )
    except BadArchive as error:
        return refuse(str(error))
    except OutOfTime:
        return refuse(f"the file needs more than {seconds} seconds of processor time to be read")
    except MemoryError:
        return refuse(f"the file needs more than {memory >> 20} MiB of memory to be read")
    Path(spec["result"]).write_text(json.dumps(found.as_json()))
    say({"type": "done"})
    return 0


def _tell_progress(done: int, of: int) -> None:
    say({"type": "progress", "step": done, "of": of, "what": "unpack"})


if __name__ == "__main__":
    sys.exit(main())
