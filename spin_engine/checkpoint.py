"""Checkpoints that are whole or not there: written beside, forced to the disk, then renamed.

A checkpoint is a folder ``step-00000050`` of safetensors and JSON. ``manifest.json`` is written last and
lists every file with its size and sha256; what does not match it is not used.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from spin_engine.files import move_folder, sha256_of

MANIFEST = "manifest.json"
PREFIX = "step-"


@dataclass(frozen=True)
class StoredFile:
    """What a file of a checkpoint must be."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """Where training stood, and the files by their path in the folder."""

    step: int
    iteration: int
    files: dict[str, StoredFile]


def write(checkpoints: Path, *, step: int, iteration: int, fill: Callable[[Path], None]) -> Path:
    """Write a checkpoint and return its folder.

    Args:
        checkpoints: folder of all checkpoints of the unit; made if it is not there.
        step: optimiser steps done.
        iteration: of the job.
        fill: writes the files into the folder it is given.
    """
    checkpoints.mkdir(parents=True, exist_ok=True)
    final = checkpoints / f"{PREFIX}{step:08d}"
    partial = checkpoints / f".{final.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    fill(partial)
    files = {
        str(path.relative_to(partial)): StoredFile(sha256_of(path), path.stat().st_size)
        for path in sorted(partial.rglob("*"))
        if path.is_file()
    }
    manifest = asdict(Manifest(step, iteration, files))
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    move_folder(partial, final)
    return final


def verify(folder: Path) -> Manifest:
    """Return the manifest of a checkpoint whose files are all as it says; else ValueError."""
    try:
        raw = json.loads((folder / MANIFEST).read_text())
        files = {path: StoredFile(**stored) for path, stored in raw["files"].items()}
        manifest = Manifest(raw["step"], raw["iteration"], files)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder} is not a checkpoint: {error}") from error
    for name, stored in manifest.files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != stored.size or sha256_of(path) != stored.sha256:
            raise ValueError(f"{path} is missing or damaged")
    return manifest


def newest(checkpoints: Path) -> Path | None:
    """Return the checkpoint with most steps that is whole, or None."""
    for folder in sorted(checkpoints.glob(f"{PREFIX}*"), reverse=True):
        try:
            verify(folder)
        except ValueError:
            continue
        return folder
    return None


def prune(checkpoints: Path, *, keep: int) -> None:
    """Delete all but the newest ``keep`` checkpoints."""
    for folder in sorted(checkpoints.glob(f"{PREFIX}*"))[:-keep]:
        shutil.rmtree(folder)
