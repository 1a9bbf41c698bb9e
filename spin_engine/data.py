"""Captioned pictures, streamed: nothing is held but the row at hand.

A source is a folder or a zip with ``metadata.jsonl`` ({"file_name", "text"} a line), or with a ``.txt`` file
beside each picture; or a folder of tar shards (KEY.png|jpg|jpeg|webp and KEY.txt, one after the other, as
WebDataset writes them). It may lie behind a URI (see ``store``). A row may hold a second, worse picture of
its caption, the loser: ``loser_file_name`` in ``metadata.jsonl``, KEY.loser.png in a tar.
"""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from spin_engine.store import Store, is_remote

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
LOSER = ".loser"
MOST_PIXELS = 100_000_000
TURNED = 5
"""From this EXIF orientation on, height and width change places."""

Read = Callable[[], bytes]


@dataclass(frozen=True)
class Row:
    """One captioned picture; its bytes are read when they are asked for."""

    name: str
    caption: str
    read: Read
    read_loser: Read | None = None
    """Of the picture that lost against this one, if the data names one."""

    def picture(self) -> Image.Image:
        """Return the picture as RGB, turned as its camera says, on white where it is transparent."""
        return _decoded(self.name, self.read)

    def size(self) -> tuple[int, int]:
        """Return height and width of the upright picture in pixels, without decoding it."""
        try:
            with Image.open(io.BytesIO(self.read())) as opened:
                turned = opened.getexif().get(ExifTags.Base.Orientation, 1) >= TURNED
                return (opened.width, opened.height) if turned else (opened.height, opened.width)
        except (OSError, Image.DecompressionBombError) as error:
            raise ValueError(f"{self.name} is not a picture that can be read: {error}") from error

    def loser(self) -> Image.Image:
        """Return the loser likewise."""
        assert self.read_loser is not None, "ask only rows that have one"
        return _decoded(f"the loser of {self.name}", self.read_loser)


def _decoded(name: str, read: Read) -> Image.Image:
    try:
        with Image.open(io.BytesIO(read())) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise ValueError(f"more than {MOST_PIXELS} pixels")
            upright = ImageOps.exif_transpose(opened).convert("RGBA")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name} is not a picture that can be read: {error}") from error
    white = Image.new("RGBA", upright.size, "white")
    return Image.alpha_composite(white, upright).convert("RGB")


def rows(source: Path | str) -> Iterator[Row]:
    """Yield the rows of a folder or zip, always in the same order.

    Args:
        source: a path, or a URI. Tar shards are read from their beginning once for the rows, and a picture's
            bytes when they are asked for: neither is kept.

    Raises:
        ValueError: there are no rows, or one has no picture or caption.
    """
    store = Store(source)
    if store.is_folder():
        names = store.names()
        shards = [name for name in names if name.endswith(".tar") and "/" not in name]
        found = _from_tars(shards, store) if shards else _from_names(names, store.read)
    elif (is_remote(source) and str(source).endswith(".zip")) or zipfile.is_zipfile(source):
        found = _from_zip(store)
    else:
        raise ValueError(f"{source} is neither a folder nor a zip")
    first = next(found, None)
    if first is None:
        raise ValueError(f"{source} has no captioned pictures: metadata.jsonl or .txt files are expected")
    yield first
    yield from found


def fit(picture: Image.Image, side: int, width: int | None = None) -> Image.Image:
    """Return the middle of a picture, ``side`` pixels high and ``width``, else ``side``, wide."""
    size = (width or side, side)
    if picture.size == size:
        return picture
    return ImageOps.fit(picture, size, Image.Resampling.LANCZOS)


def to_pixels(pictures: list[Image.Image]) -> Tensor:
    """Return float32 (B, 3, H, W) in -1..1 of equally large RGB pictures."""
    stacked = np.stack([np.asarray(picture, dtype=np.float32) for picture in pictures])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous() / 127.5 - 1


def _from_zip(store: Store) -> Iterator[Row]:
    """Return rows that read from the archive: it stays open as long as one of them is held."""
    archive = zipfile.ZipFile(store.open("") if is_remote(store.place) else store.place)
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
            loser = entry.get("loser_file_name")
            beaten = None if loser is None else str(root / loser)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{metadata}, line {number}: file_name and text are expected ({error})"
            ) from error
        for picture in (name, beaten):
            if picture is not None and picture not in names:
                shown = PurePosixPath(picture).relative_to(root)
                raise ValueError(f"{metadata}, line {number}: there is no picture {shown}")
        yield Row(name, caption, partial(read, name), None if beaten is None else partial(read, beaten))


def _from_sidecars(names: list[str], read: Callable[[str], bytes]) -> Iterator[Row]:
    known = frozenset(names)
    for name in names:
        path = PurePosixPath(name)
        if path.suffix.lower() not in PICTURES:
            continue
        text = str(path.with_suffix(".txt"))
        if text not in known:
            raise ValueError(f"{name} has no caption: there is no {text}")
        yield Row(name, read(text).decode().strip(), partial(read, name))


def _from_tars(shards: list[str], store: Store) -> Iterator[Row]:
    for shard in shards:
        with store.open(shard) as stream, tarfile.open(fileobj=stream) as archive:
            members = (member for member in archive if member.isfile())
            for key, group in groupby(members, key=lambda member: _key(member.name)[0]):
                parts: dict[str, Read] = {}
                for member in group:
                    part = _key(member.name)[1]
                    if part is None:
                        continue
                    if part in parts:
                        raise ValueError(
                            f"{shard}/{member.name}: one picture and one caption are expected under one key"
                        )
                    parts[part] = partial(store.read, shard, start=member.offset_data, size=member.size)
                if parts:
                    yield _of_parts(shard, key, parts)


def _key(name: str) -> tuple[str, str | None]:
    """Return a member's key, and what it is of its row: picture, loser, caption, or None for neither."""
    path = PurePosixPath(name)
    key, suffix = str(path.with_suffix("")), path.suffix.lower()
    if suffix == ".txt":
        return key, "caption"
    if suffix not in PICTURES:
        return key, None
    return (key.removesuffix(LOSER), "loser") if key.endswith(LOSER) else (key, "picture")


def _of_parts(shard: str, key: str, parts: dict[str, Read]) -> Row:
    if not {"picture", "caption"} <= set(parts):
        raise ValueError(f"{shard}: {key} has a picture or a caption, not both")
    caption = parts["caption"]().decode().strip()
    return Row(f"{shard}/{key}", caption, parts["picture"], parts.get("loser"))
