"""Writing pictures to files, and what is said of them."""

import json
from collections.abc import Sequence
from pathlib import Path

from spindle.cli.terminal import out


def write(pictures: Sequence[bytes], target: Path) -> list[str]:
    """Write one picture to the target, or several to numbered files beside it; return their names."""
    written = []
    for index, picture in enumerate(pictures, start=1):
        path = target if len(pictures) == 1 else target.with_stem(f"{target.stem}-{index}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)
        written.append(str(path))
    return written


def tell(written: Sequence[str], *, as_json: bool) -> None:
    """Show the names of files."""
    if as_json:
        out.print_json(json.dumps(list(written)))
        return
    for name in written:
        out.print(name, markup=False)
