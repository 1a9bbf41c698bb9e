"""Pictures on disk: opened when they are looked at, drawn when they are missing."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spin_engine.families.loader import load
from spin_engine.gallery import Gallery, Sitting, fill, seed_of
from spin_engine.sampler import BATCH

HOW = Sitting(steps=1, guidance=1.0, side=32)


def pixels(gallery: Gallery) -> list[np.ndarray]:
    return [np.asarray(picture) for picture in gallery]


def test_a_part_of_a_gallery_is_a_gallery(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path, range(5))
    for number in range(5):
        gallery.put(number, Image.new("RGB", (2, 2), (number, 0, 0)))
    part = gallery[1:5:2]
    assert isinstance(part, Gallery)
    assert [picture.getpixel((0, 0)) for picture in part] == [(1, 0, 0), (3, 0, 0)]
    assert part[-1].getpixel((0, 0)) == (3, 0, 0)
    assert len(gallery[3:]) == 2
    with pytest.raises(IndexError):
        part[2]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"0000{number}.png" for number in range(5)]


def test_what_is_there_is_not_drawn_again(pipeline: Path, tmp_path: Path) -> None:
    """Two shares, the second after a stop, give what one gives, and leave what they find."""
    family = load(pipeline)
    count = BATCH + 3
    captions, seeds = [f"caption {index}" for index in range(count)], list(range(count))
    galleries = [Gallery(tmp_path / name, range(count)) for name in ("whole", "shared")]
    for gallery in galleries:
        gallery.folder.mkdir()
    counted: list[int] = []
    fill(galleries[0], family, captions, seeds, HOW, before=lambda: None, after=counted.append)
    assert counted == [BATCH, 3]
    for part in (1, 0):
        fill(
            galleries[1], family, captions, seeds, HOW,
            before=lambda: None, after=counted.append, part=part, parts=2,
        )  # fmt: skip
        assert galleries[1].path(BATCH).exists()
        assert galleries[1].path(0).exists() == (part == 0)
    assert counted == [BATCH, 3, 3, BATCH]
    assert all((one == other).all() for one, other in zip(*map(pixels, galleries), strict=True))
    galleries[1].put(0, Image.new("RGB", (32, 32), "red"))
    fill(galleries[1], family, captions, seeds, HOW, before=lambda: None, after=counted.append)
    assert galleries[1][0].getpixel((5, 5)) == (255, 0, 0)


def test_seeds_differ_and_do_not_depend_on_how_many_there_are() -> None:
    seeds = [seed_of(7, index, number) for index in range(20) for number in range(20)]
    assert len(set(seeds)) == 400
    assert seeds[0] == seed_of(7, 0, 0) != seed_of(8, 0, 0)
    assert max(seeds) < 2**31
