"""What tells that content is another: one sha256 over names and bytes."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

WHOLE_BYTES = 64 << 20
SAMPLE_BYTES = 1 << 20


def of_manifest(files: Iterable[dict[str, Any]]) -> str:
    """Return the digest of a manifest, ``[{path, sha256, ...}]``."""
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: str(file["path"])):
        digest.update(f"{file['path']}\0{file['sha256']}\n".encode())
    return digest.hexdigest()


def of_folder(folder: Path) -> str:
    """Return the digest of a folder's names, sizes and bytes; of a very large file only its ends are read."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode())
        with path.open("rb") as stream:
            if size <= WHOLE_BYTES:
                digest.update(stream.read())
            else:
                digest.update(stream.read(SAMPLE_BYTES))
                stream.seek(-SAMPLE_BYTES, 2)
                digest.update(stream.read())
    return digest.hexdigest()
