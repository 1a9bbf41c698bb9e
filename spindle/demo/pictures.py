"""The held-out pictures, and the same captions drawn by each model."""

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from spindle.client import Spindle
from spindle.reports import ReportColumn

ROWS = 12
FIRST_SEED = 1000


@dataclass(frozen=True)
class HeldOut:
    """A caption that nothing was trained on, and its real picture as PNG."""

    caption: str
    real: bytes


@dataclass(frozen=True)
class Row:
    """A held-out caption: one PNG of each column, drawn with the same seed, and the real picture."""

    caption: str
    seed: int
    drawn: tuple[bytes, ...]
    real: bytes


def held_out(archive: Path) -> list[HeldOut]:
    """Read the captions and pictures of a dataset's zip, in the order of their captions."""
    with zipfile.ZipFile(archive) as files:
        rows = [json.loads(line) for line in files.read("metadata.jsonl").splitlines() if line.strip()]
        found = [HeldOut(row["text"], _png(files.read(row["file_name"]))) for row in rows]
    return sorted(found, key=lambda each: each.caption)


def spread(items: list[HeldOut], count: int = ROWS) -> list[HeldOut]:
    """Return ``count`` items at even distances: a choice that nobody makes."""
    if len(items) <= count:
        return items
    return [items[round((index + 0.5) * len(items) / count - 0.5)] for index in range(count)]


def draw_rows(
    client: Spindle,
    columns: Sequence[ReportColumn],
    wanted: list[HeldOut],
    sampler: dict[str, Any],
    done: Callable[[], None],
) -> tuple[Row, ...]:
    """Draw each caption with each model through the API, from the same seed along a row.

    Args:
        client: the platform.
        columns: the models.
        wanted: captions with their real pictures.
        sampler: ``steps`` and ``guidance_scale``, the same for all.
        done: called after each picture.
    """
    drawn: dict[tuple[int, int], bytes] = {}
    for across, column in enumerate(columns):  # model by model, so that each is loaded once
        assert column.model is not None, "what has succeeded has a name"
        for down, item in enumerate(wanted):
            seed = FIRST_SEED + down
            drawn[down, across] = client.images.generate(column.model, item.caption, seed=seed, **sampler)[0]
            done()
    return tuple(
        Row(
            item.caption,
            FIRST_SEED + down,
            tuple(drawn[down, across] for across in range(len(columns))),
            item.real,
        )
        for down, item in enumerate(wanted)
    )


def _png(data: bytes) -> bytes:
    """Return a picture as PNG, whatever it was."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(data)) as picture:
        picture.convert("RGB").save(out, "PNG", optimize=True)
    return out.getvalue()
