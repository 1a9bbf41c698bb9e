"""Archives for tests, made in memory."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

from PIL import Image

from core.ingest.limits import Limits

LIMITS = Limits(
    max_unpacked_bytes=50_000_000,
    max_unpack_ratio=100.0,
    max_entries=50,
    max_picture_bytes=1_000_000,
    max_picture_pixels=10_000,
    max_caption_characters=40,
    shard_rows=2,
    page_rows=2,
)


def picture(
    color: str | tuple[int, int, int] = "red", size: tuple[int, int] = (8, 6), kind: str = "PNG"
) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", size, color).save(sink, kind)
    return sink.getvalue()


def jsonl(*rows: tuple[str, str]) -> bytes:
    return "".join(json.dumps({"file_name": name, "text": text}) + "\n" for name, text in rows).encode()


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, files: dict[str, bytes], *, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]  # any writing mode
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path
