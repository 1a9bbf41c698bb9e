"""A sheet of drawn pictures with their prompts, as one PNG."""

import math
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

MARGIN = 28
GAP = 18
SMALLEST_CELL = 144
LARGEST_CELL = 320
CAPTION_LINES = 2
CAPTION_GAP = 6
INK = "#23262f"
PAPER = "#f4f5f7"
EDGE = "#dfe2e8"


def write_grid(
    pictures: list[Image.Image], prompts: list[str], path: Path, *, columns: int | None = None
) -> None:
    """Write the pictures as a labelled grid.

    Args:
        pictures: at least one; each is fitted into a square cell, small ones are enlarged.
        prompts: one a picture, written below it in at most two lines.
        path: of the PNG; its folder must exist.
        columns: pictures in a row; None: a little wider than high, with the last row as full as can be.
    """
    if not pictures or len(pictures) != len(prompts):
        raise ValueError(f"{len(pictures)} pictures for {len(prompts)} prompts")
    columns = min(len(pictures), columns or _columns(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    cell = _cell(max(max(picture.size) for picture in pictures))
    size = max(13, cell // 11)
    font = ImageFont.load_default(size=size)
    line = math.ceil(size * 1.3)
    labels = [_wrap(prompt, font, cell) for prompt in prompts]
    pitch = cell + CAPTION_GAP + max(len(label) for label in labels) * line + GAP
    width = 2 * MARGIN + columns * (cell + GAP) - GAP
    height = 2 * MARGIN + rows * pitch - GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        left = MARGIN + index % columns * (cell + GAP)
        top = MARGIN + index // columns * pitch
        fitted = _fit(picture, cell)
        pen.rounded_rectangle(
            (left - 1, top - 1, left + cell, top + cell), radius=6, fill="white", outline=EDGE
        )
        mask = Image.new("L", fitted.size, 0)
        ImageDraw.Draw(mask).rounded_rectangle(
            (0, 0, fitted.width - 1, fitted.height - 1), radius=5, fill=255
        )
        sheet.paste(fitted, (left + (cell - fitted.width) // 2, top + (cell - fitted.height) // 2), mask)
        for number, text in enumerate(label):
            middle = (left + cell / 2, top + cell + CAPTION_GAP + number * line)
            pen.text(middle, text, font=font, fill=INK, anchor="ma")
    sheet.save(path, "PNG", optimize=True)


def _columns(count: int) -> int:
    """Return a width near 1.2 times the square root of ``count`` that leaves the fewest empty cells."""
    wished = math.sqrt(1.4 * count)
    near = range(max(1, math.floor(wished * 0.8)), math.ceil(wished * 1.35) + 1)
    return min(near, key=lambda columns: (-count % columns, abs(columns - wished)))


def _cell(longest: int) -> int:
    """Return the side of a cell: a whole multiple of small pictures, at most 320 pixels for large ones."""
    return min(LARGEST_CELL, longest * math.ceil(SMALLEST_CELL / longest))


def _fit(picture: Image.Image, cell: int) -> Image.Image:
    scale = cell / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _wrap(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """Break a prompt into lines no wider than the cell; what does not fit ends in an ellipsis."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    shown = lines[:CAPTION_LINES]
    if len(lines) > CAPTION_LINES:
        shown[-1] += "…"
    return [_cut(line, font, width) for line in shown]


def _cut(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    while font.getlength(line) > width and len(line) > 1:
        line = line.rstrip("…")[:-1] + "…"
    return line
