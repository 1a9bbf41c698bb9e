"""Reads every hostile input in one limited process, ``python -m tests.hostile.reader FOLDER``, and tells.

A line of JSON for each: what was said, the processor time it took, by how much the process grew at its peak,
and what lay in the folder afterwards.
"""

import json
import resource
import shutil
import sys
import time
from pathlib import Path

from core.ingest.dataset import ingest
from core.ingest.limits import BadArchive
from tests.hostile.corpus import CORPUS
from tests.hostile.packing import LIMITS, made
from tests.memory import peak, resident

MEMORY = 1 << 30
SECONDS = 120


def main(folder: Path) -> None:
    """Read all; an input that is not refused, or breaks the reader, is told as such."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    for hostile in CORPUS:
        data = made(hostile)
        (folder / "upload").write_bytes(data)
        before = resident()
        began = time.process_time()
        try:
            found = ingest(folder / "upload", folder / "out", limits=LIMITS)
            said = f"taken: {found.rows} rows"
        except BadArchive as error:
            said = str(error)
        except Exception as error:  # noqa: BLE001  the other inputs are to be read too; the test fails by what is told
            said = f"broke: {type(error).__name__}: {error}"
        told = {
            "name": hostile.name,
            "said": said,
            "seconds": time.process_time() - began,
            "grown": peak() - before,
            "left": sorted(path.name for path in folder.iterdir()),
            "whole": (folder / "upload").read_bytes() == data,
        }
        print(json.dumps(told), flush=True)
        shutil.rmtree(folder / "out", ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
