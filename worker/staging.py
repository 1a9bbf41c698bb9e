"""Inputs on this host: files of the store in a cache named by content, folders of this host in place."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import structlog

from core.errors import StoreUnavailable
from core.sources import Source, SourceFile
from core.storage.store import ObjectStore
from core.tracing import span

FIRST_WAIT, LONGEST_WAIT = 0.2, 2.0

log = structlog.get_logger(__name__)


class Interrupted(Exception):  # noqa: N818  an order, not an error
    """An order came while inputs were staged."""


def stage(source: Source, *, store: ObjectStore, cache: Path, go_on: Callable[[], bool]) -> Path:
    """Return the folder that holds a source; each file fetched has the sha256 its manifest tells.

    A folder is named by its manifest's digest and appears whole, by a rename: one that is there is right.

    Raises:
        Interrupted: ``go_on`` said no between two files.
    """
    if source.folder is not None:
        return Path(source.folder)
    digest = hashlib.sha256()
    for file in sorted(source.files, key=lambda file: file.path):
        digest.update(f"{file.path}\0{file.sha256}\n".encode())
    target = cache / digest.hexdigest()[:32]
    if target.is_dir():
        os.utime(target)
        return target
    with span("stage", files=len(source.files)):
        _fetch(source, target, store=store, go_on=go_on)
    return target


def _fetch(source: Source, target: Path, *, store: ObjectStore, go_on: Callable[[], bool]) -> None:
    partial = target.with_suffix(".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for file in source.files:
            path = partial / inside(file.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            fetch_file(file, path, store=store, go_on=go_on)
        partial.rename(target)
    except BaseException:  # a disk that is full needs the room
        shutil.rmtree(partial, ignore_errors=True)
        raise


def fetch_file(file: SourceFile, path: Path, *, store: ObjectStore, go_on: Callable[[], bool]) -> None:
    """Fetch one file; again, while the store cannot be reached and nobody ordered otherwise.

    Raises:
        Interrupted: ``go_on`` said no.
    """
    wait = FIRST_WAIT
    while True:
        if not go_on():
            raise Interrupted
        try:
            store.get_file(file.key, path, sha256=file.sha256)
        except StoreUnavailable as error:
            log.warning("staging_waits", key=file.key, error=str(error), seconds=wait)
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)
        else:
            return


def inside(path: str) -> PurePosixPath:
    """Return a manifest's path; ValueError when it would leave the folder."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or not parts.parts:
        raise ValueError(f"{path!r} is not a path inside a folder")
    return parts


def make_room(cache: Path, *, limit: int) -> None:
    """Remove the folders unused for longest until the cache holds at most ``limit`` bytes."""
    folders = sorted(
        (folder for folder in cache.iterdir() if folder.is_dir()), key=lambda at: at.stat().st_mtime
    )
    sizes = {folder: _size(folder) for folder in folders}
    total = sum(sizes.values())
    for folder in folders:
        if total <= limit:
            return
        log.info("cache_evicted", folder=folder.name, bytes=sizes[folder])
        shutil.rmtree(folder, ignore_errors=True)
        total -= sizes[folder]


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
