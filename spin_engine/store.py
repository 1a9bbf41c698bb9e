"""A folder, on this machine or behind a URI that fsspec knows (``s3://bucket/path``), by its files' names."""

from pathlib import Path
from typing import Any, BinaryIO, cast

from fsspec.core import url_to_fs

from spin_engine.files import write_whole

EXTRAS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
HEADER_BYTES = 2**20


def is_remote(place: str | Path) -> bool:
    """Return whether a place is a URI rather than a path on this machine."""
    return "://" in str(place)


class Store:
    """The files below one place; nothing is kept between calls."""

    def __init__(self, place: str | Path) -> None:
        """Connect; ValueError if the URI's protocol is not known here.

        Args:
            place: a path, or a URI. Credentials and endpoint of a URI are those of its fsspec package's own
                environment (s3fs: AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...).
        """
        self.place = place
        self._fs: Any = None
        self._root = str(place)
        if is_remote(place):
            self._fs, self._root = _connect(str(place))

    def is_folder(self) -> bool:
        """Return whether there is a folder at the place."""
        return bool(self._fs.isdir(self._root)) if self._fs else Path(self._root).is_dir()

    def names(self) -> list[str]:
        """Return the names of all files, relative to the place, sorted."""
        if self._fs:
            start = len(self._root.rstrip("/")) + 1
            return sorted(path[start:] for path in self._fs.find(self._root))
        root = Path(self._root)
        return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())

    def exists(self, name: str) -> bool:
        """Return whether there is such a file."""
        return bool(self._fs.exists(self._at(name))) if self._fs else Path(self._at(name)).is_file()

    def fingerprint(self, name: str) -> str:
        """Return what changes when a file does: of the store's own record of it, not of its bytes."""
        if self._fs:
            return str(self._fs.ukey(self._at(name)))
        status = Path(self._at(name)).stat()
        return f"{status.st_size} {status.st_mtime_ns}"

    def read(self, name: str, *, start: int = 0, size: int | None = None) -> bytes:
        """Return the bytes of a file, or ``size`` of them from ``start``."""
        end = None if size is None else start + size
        if self._fs:
            return cast("bytes", self._fs.cat_file(self._at(name), start, end))
        with Path(self._at(name)).open("rb") as stream:
            stream.seek(start)
            return stream.read(-1 if size is None else size)

    def open(self, name: str) -> BinaryIO:
        """Return a file opened for reading, with seek; ``""`` is the place itself."""
        if self._fs:
            return cast("BinaryIO", self._fs.open(self._at(name), "rb", block_size=HEADER_BYTES))
        return Path(self._at(name)).open("rb")

    def write(self, name: str, data: bytes) -> None:
        """Write a file that appears complete or not at all, as object stores and ``write_whole`` do."""
        if self._fs:
            self._fs.makedirs(self._root, exist_ok=True)
            self._fs.pipe_file(self._at(name), data)
        else:
            write_whole(Path(self._at(name)), data)

    def local(self, name: str, scratch: Path) -> Path:
        """Return a path to a file on this machine: its own, or that of a copy in the folder ``scratch``."""
        if not self._fs:
            return Path(self._at(name))
        copy = scratch / name.replace("/", "_")
        self._fs.get_file(self._at(name), str(copy))
        return copy

    def _at(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}" if name else self._root


def _connect(uri: str) -> tuple[Any, str]:
    protocol = uri.partition("://")[0]
    try:
        fs, root = url_to_fs(uri)
    except ImportError as error:
        package = EXTRAS.get(protocol, f"the fsspec package for {protocol}")
        raise ValueError(f"{uri} cannot be read here: install {package} ({error})") from error
    return fs, str(root)
