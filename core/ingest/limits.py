"""What an uploaded file may cost, and how it is told that one is over, damaged or hostile."""

from dataclasses import dataclass

LONGEST_MESSAGE = 1000


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
    """The file as a whole cannot be used. The message is for the person who uploaded it."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message, at_most=LONGEST_MESSAGE))


class BadRow(ValueError):  # noqa: N818
    """One row cannot be used; the rest can."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message, at_most=LONGEST_MESSAGE))


def printable(text: str, *, at_most: int) -> str:
    """Return a text that any database, log and terminal takes: no control characters, no lone surrogates.

    Names in hostile files are told in messages; PostgreSQL keeps no NUL, and a terminal obeys an escape.
    """
    shown = text[:at_most]
    if not shown.isprintable():
        shown = "".join(
            letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in shown
        )[:at_most]
    return shown if len(text) <= at_most else f"{shown[: at_most - 3]}..."


def size_in_words(size: float) -> str:
    """Return ``12.3 MB`` for a number of bytes."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
