"""An uploaded archive is read in its own process, ``python -m worker.ingest SPEC``: no torch, no secrets.

SPEC is JSON: ``{"archive": file, "out": folder, "result": file, "limits": {...}, "memory_bytes": n,
"cpu_seconds": n}``.
"""

import argparse
import json
import resource
import sys
from pathlib import Path
from typing import Any

from core.ingest.dataset import NoRows, ingest
from core.ingest.limits import BadArchive, Limits
from spin_engine.unit_spec import DATA_ERROR, OUT_OF_MEMORY


def main(arguments: list[str] | None = None) -> int:
    """Read one archive within its limits and return the exit code."""
    parser = argparse.ArgumentParser("python -m worker.ingest", description="Turn an archive into a dataset.")
    parser.add_argument(
        "spec", type=Path, help="JSON: archive, out, result, limits, memory_bytes, cpu_seconds"
    )
    spec = json.loads(parser.parse_args(arguments).spec.read_text())
    memory, seconds = spec["memory_bytes"], spec["cpu_seconds"]
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 10))
    try:
        found = ingest(Path(spec["archive"]), Path(spec["out"]), limits=Limits(**spec["limits"]))
    except BadArchive as error:
        rejected = error.rejected if isinstance(error, NoRows) else []
        return _tell("user_error", str(error), DATA_ERROR, rejected=rejected)
    except MemoryError:
        return _tell("out_of_memory", f"the archive needs more than {memory >> 20} MiB", OUT_OF_MEMORY)
    Path(spec["result"]).write_text(json.dumps(found.as_json()))
    print(json.dumps({"type": "done"}), flush=True)
    return 0


def _tell(reason: str, message: str, code: int, **more: Any) -> int:
    print(json.dumps({"type": "error", "reason": reason, "message": message} | more), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
