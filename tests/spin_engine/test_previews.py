"""The sheet of labelled pictures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spin_engine.previews import GAP, MARGIN, write_grid


def test_writes_every_picture_in_its_cell(tmp_path: Path) -> None:
    colours = ["red", "lime", "blue", "yellow", "magenta"]
    write_grid(
        [Image.new("RGB", (64, 64), colour) for colour in colours], colours, tmp_path / "grid.png", columns=3
    )
    with Image.open(tmp_path / "grid.png") as sheet:
        cell = 192
        assert sheet.width == 2 * MARGIN + 3 * cell + 2 * GAP
        pitch = (sheet.height - 2 * MARGIN + GAP) // 2
        for index, colour in enumerate(colours):
            at = (MARGIN + index % 3 * (cell + GAP) + 96, MARGIN + index // 3 * pitch + 96)
            assert sheet.getpixel(at) == Image.new("RGB", (1, 1), colour).getpixel((0, 0))


def test_writes_captions_below_and_nowhere_else(tmp_path: Path) -> None:
    long = "a very long caption that goes on and on until nobody could fit it below one small picture " * 3
    for name, prompt in (("none", ""), ("short", "apple"), ("long", long), ("wide", "W" * 90)):
        pictures = [Image.new("RGB", (64, 64), "white")] * 2
        write_grid(pictures, [prompt, long], tmp_path / f"{name}.png", columns=1)
    sheets = {path.stem: np.asarray(Image.open(path)) for path in tmp_path.glob("*.png")}
    for name in ("short", "long", "wide"):
        rows, columns = np.nonzero((sheets[name] != sheets["none"]).any(axis=-1))
        assert rows.min() > MARGIN + 192
        assert rows.max() < sheets[name].shape[0] - MARGIN - 192 - GAP
        assert columns.min() >= MARGIN - 1
        assert columns.max() <= MARGIN + 193


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (4, 2), (16, 4), (24, 6), (32, 8), (48, 8)])
def test_fills_its_rows(tmp_path: Path, count: int, columns: int) -> None:
    write_grid([Image.new("RGB", (160, 160))] * count, ["x"] * count, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as sheet:
        assert sheet.width == 2 * MARGIN + columns * 160 + (columns - 1) * GAP


def test_keeps_the_shape_of_pictures_that_are_not_square(tmp_path: Path) -> None:
    write_grid([Image.new("RGB", (64, 32), "red")], ["wide"], tmp_path / "grid.png")
    sheet = np.asarray(Image.open(tmp_path / "grid.png"))
    red = (sheet == (255, 0, 0)).all(axis=-1)
    assert red.any(axis=0).sum() == 192
    assert red.any(axis=1).sum() == 96


@pytest.mark.parametrize("count", [0, 2])
def test_refuses_pictures_without_prompts(tmp_path: Path, count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} pictures for 1 prompts"):
        write_grid([Image.new("RGB", (8, 8))] * count, ["one"], tmp_path / "grid.png")
    assert not list(tmp_path.iterdir())
