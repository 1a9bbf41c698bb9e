"""Captioned pictures, streamed: nothing is held but the row at hand.

A source is a folder or a zip with ``metadata.jsonl`` ({"file_name", "text"} a line), or with a ``.txt`` file
beside each picture; or a folder of tar shards (KEY.png|jpg|jpeg|webp and KEY.txt, one after the other, as
WebDataset writes them).
"""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
MOST_PIXELS = 100_000_000


@dataclass(frozen=True)
class Row:
    """One captioned picture; its bytes are read when they are asked for."""

    name: str
    caption: str
    read: Callable[[], bytes]

    def picture(self) -> Image.Image:
        """Return the picture as RGB, turned as its camera says, on white where it is transparent."""
        try:
            with Image.open(io.BytesIO(self.read())) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    raise ValueError(f"more than {MOST_PIXELS} pixels")
                upright = ImageOps.exif_transpose(opened).convert("RGBA")
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise ValueError(f"{self.name} is not a picture that can be read: {error}") from error
        white = Image.new("RGBA", upright.size, "white")
        return Image.alpha_composite(white, upright).convert("RGB")


def rows(source: Path) -> Iterator[Row]:
    """Yield the rows of a folder or zip, always in the same order.

    Raises:
        ValueError: there are no rows, or one has no picture or caption.
    """
    if source.is_dir():
        shards = sorted(source.glob("*.tar"))
        found = _from_tars(shards) if shards else _from_names(*_folder(source))
    elif zipfile.is_zipfile(source):
        found = _from_zip(source)
    else:
        raise ValueError(f"{source} is neither a folder nor a zip")
    first = next(found, None)
    if first is None:
        raise ValueError(f"{source} has no captioned pictures: metadata.jsonl or .txt files are expected")
    yield first
    yield from found


def fit(picture: Image.Image, side: int) -> Image.Image:
    """Return the middle square of a picture, resized to ``side`` x ``side`` pixels."""
    if picture.size == (side, side):
        return picture
    return ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS)


def to_pixels(pictures: list[Image.Image]) -> Tensor:
    """Return float32 (B, 3, H, W) in -1..1 of equally large RGB pictures."""
    stacked = np.stack([np.asarray(picture, dtype=np.float32) for picture in pictures])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous() / 127.5 - 1


def _folder(folder: Path) -> tuple[list[str], Callable[[str], bytes]]:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

    def read(name: str) -> bytes:
        return (folder / name).read_bytes()

    return names, read


def _from_zip(path: Path) -> Iterator[Row]:
    """Return rows that read from the archive: it stays open as long as one of them is held."""
    archive = zipfile.ZipFile(path)
    names = sorted(entry.filename for entry in archive.infolist() if not entry.is_dir())
    return _from_names(names, archive.read)


def _from_names(names: list[str], read: Callable[[str], bytes]) -> Iterator[Row]:
    """Yield rows of named files, by ``metadata.jsonl`` where there is one, else by ``.txt`` files."""
    metadata = sorted(
        (name for name in names if PurePosixPath(name).name == "metadata.jsonl"),
        key=lambda name: name.count("/"),
    )
    if metadata:
        return _from_metadata(metadata[0], frozenset(names), read)
    return _from_sidecars(names, read)


def _from_metadata(metadata: str, names: frozenset[str], read: Callable[[str], bytes]) -> Iterator[Row]:
    root = PurePosixPath(metadata).parent
    for number, line in enumerate(read(metadata).decode().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            name, caption = str(root / entry["file_name"]), str(entry["text"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{metadata}, line {number}: file_name and text are expected ({error})"
            ) from error
        if name not in names:
            raise ValueError(f"{metadata}, line {number}: there is no picture {entry['file_name']}")
        yield Row(name, caption, lambda name=name: read(name))  # type: ignore[misc]  # mypy #15459


def _from_sidecars(names: list[str], read: Callable[[str], bytes]) -> Iterator[Row]:
    known = frozenset(names)
    for name in names:
        path = PurePosixPath(name)
        if path.suffix.lower() not in PICTURES:
            continue
        text = str(path.with_suffix(".txt"))
        if text not in known:
            raise ValueError(f"{name} has no caption: there is no {text}")
        yield Row(name, read(text).decode().strip(), lambda name=name: read(name))  # type: ignore[misc]


def _from_tars(shards: list[Path]) -> Iterator[Row]:
    for shard in shards:
        with tarfile.open(shard) as archive:
            pending: dict[str, tuple[str, bytes]] = {}
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() else None
                if stream is None:
                    continue
                path = PurePosixPath(member.name)
                key, suffix = str(path.with_suffix("")), path.suffix.lower()
                if suffix not in (*PICTURES, ".txt"):
                    continue
                partner = pending.pop(key, None)
                if partner is None:
                    pending[key] = (suffix, stream.read())
                else:
                    yield _paired(f"{shard.name}/{member.name}", partner, (suffix, stream.read()))
        if pending:
            raise ValueError(f"{shard.name}: {next(iter(pending))} has a picture or a caption, not both")


def _paired(name: str, one: tuple[str, bytes], other: tuple[str, bytes]) -> Row:
    """Return the row of a picture and a caption that came in either order."""
    texts = [data for suffix, data in (one, other) if suffix == ".txt"]
    pictures = [data for suffix, data in (one, other) if suffix != ".txt"]
    if len(texts) != 1:
        raise ValueError(f"{name}: one picture and one caption are expected under one key")
    return Row(name, texts[0].decode().strip(), lambda: pictures[0])
