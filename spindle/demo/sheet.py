"""The sheet: held-out captions drawn by each model, as one PNG."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from spindle.demo.pictures import Row
from spindle.reports import ReportColumn

CELL, GAP, MARGIN, CAPTION, HEAD = 128, 14, 40, 230, 76
PAPER, INK, LINE = "#fcfbf8", "#20201d", "#e7e3da"
COLOURS = {"base": "#8d897f", "other": "#b9751a", "own": "#14697c", "real": INK}


def draw(columns: Sequence[ReportColumn], rows: Sequence[Row], path: Path) -> None:
    """Write the grid of pictures with its labels: a column a model, a row a caption."""
    heads = [(column.label, column.role) for column in columns] + [("Real", "real")]
    width = 2 * MARGIN + CAPTION + len(heads) * (CELL + GAP) - GAP
    height = 2 * MARGIN + HEAD + len(rows) * (CELL + GAP) - GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    head_font, caption_font = ImageFont.load_default(24), ImageFont.load_default(20)
    for index, (label, role) in enumerate(heads):
        left = MARGIN + CAPTION + index * (CELL + GAP)
        pen.text((left, MARGIN + HEAD - 34), label, font=head_font, fill=COLOURS[role], anchor="ls")
        pen.line((left, MARGIN + HEAD - 20, left + CELL, MARGIN + HEAD - 20), fill=COLOURS[role], width=3)
    for index, row in enumerate(rows):
        top = MARGIN + HEAD + index * (CELL + GAP)
        lines = _wrapped(row.caption, caption_font, CAPTION - 24)
        for number, line in enumerate(lines):
            middle = top + CELL / 2 + (number - (len(lines) - 1) / 2) * 26
            pen.text((MARGIN, middle), line, font=caption_font, fill=INK, anchor="lm")
        for column, png in enumerate((*row.drawn, row.real)):
            left = MARGIN + CAPTION + column * (CELL + GAP)
            with Image.open(io.BytesIO(png)) as picture:
                sheet.paste(
                    picture.convert("RGB").resize((CELL, CELL), Image.Resampling.LANCZOS), (left, top)
                )
            pen.rectangle((left, top, left + CELL - 1, top + CELL - 1), outline=LINE)
    sheet.save(path, optimize=True)


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> list[str]:
    """Return the words of a caption in lines that fit."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
