"""The sheet of the demo."""

import io
from pathlib import Path

from PIL import Image

from spindle.demo.pictures import Row
from spindle.demo.sheet import draw
from spindle.reports import ReportColumn


def disc(colour: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(data, "PNG")
    return data.getvalue()


def test_the_sheet_shows_each_picture_in_its_place(tmp_path: Path) -> None:
    columns = [
        ReportColumn(label="Base", role="base"),
        ReportColumn(label="SFT", role="other"),
        ReportColumn(label="SPIN 1", role="own"),
        ReportColumn(label="SPIN 2", role="own"),
    ]
    rows = [Row(f"caption {n}", 7, (disc("white"),) * 4, disc("red")) for n in range(12)]
    draw(columns, rows, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (2 * 40 + 230 + 5 * 142 - 14, 2 * 40 + 76 + 12 * 142 - 14)
        real = sheet.getpixel((40 + 230 + 4 * 142 + 64, 40 + 76 + 64 + 30))
        drawn = sheet.getpixel((40 + 230 + 3 * 142 + 64, 40 + 76 + 64 + 30))
    assert (real, drawn) == ((255, 0, 0), (255, 255, 255))
