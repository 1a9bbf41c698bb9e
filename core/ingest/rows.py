"""The rows of an uploaded file, whatever its form: each with its caption and how to read its picture."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from core.ingest.limits import Limits

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
OTHER_PICTURES = frozenset(
    {".svg", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif", ".ico", ".psd"}
)
LOSER = ".loser"
"""``KEY.loser.png`` is the picture that lost against ``KEY.png``, as the engine has it."""
TEXT_CONTROLS = frozenset("\t\n\r")
FORMULA = re.compile(r"[=+\-@\t\r].*[(|!]", re.DOTALL)
"""What a spreadsheet would run when a list of captions is opened in it."""

Read = Callable[[int], bytes]
"""Reads a picture of at most so many bytes; BadRow when it has more, or is damaged."""


@dataclass(frozen=True)
class Found:
    """A picture with its caption, or the reason why there is none."""

    file: str
    row: int | None
    """Line of the metadata file or row of the table, from 1; None for sidecars."""
    caption: str = ""
    reason: str | None = None
    read: Read | None = None
    """Of the picture; None where there is a reason."""
    read_loser: Read | None = None
    """Of the picture that lost against it, if the data has pairs."""


@dataclass(frozen=True)
class PassedOver:
    """A row that is sound but says nothing that can be learned from."""

    why: str


def caption_reason(caption: str, limits: Limits) -> str | None:
    """Return why a caption cannot be used; None when it can."""
    if not caption:
        return "its caption is empty"
    if len(caption) > limits.max_caption_characters:
        return f"its caption is longer than {limits.max_caption_characters} characters"
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in caption if letter not in TEXT_CONTROLS):
        return "its caption holds what is no text"
    if FORMULA.match(caption):
        return "its caption is a spreadsheet's formula: put a word before it"
    return None
