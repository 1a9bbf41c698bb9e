"""What an uploaded archive may cost, and how it is told that one is over."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The limits of one ingest: the platform's settings of the same names, and how its output is divided."""

    max_unpacked_bytes: int
    max_unpack_ratio: float
    max_entries: int
    max_picture_bytes: int
    max_picture_pixels: int
    max_caption_characters: int
    shard_rows: int = 1000
    page_rows: int = 100
    listed_rejections: int = 1000


class BadArchive(ValueError):  # noqa: N818  says what the file is
    """The archive as a whole cannot be used. The message is for the person who uploaded it."""


class BadRow(ValueError):  # noqa: N818
    """One row cannot be used; the rest can."""


def size_in_words(size: float) -> str:
    """Return ``12.3 MB`` for a number of bytes."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
