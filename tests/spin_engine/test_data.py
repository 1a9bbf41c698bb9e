"""The same rows from every layout."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from spin_engine.data import fit, rows, to_pixels
from tests.tiny import build_dataset, picture


def png(index: int) -> bytes:
    stream = io.BytesIO()
    picture(index)[1].save(stream, "PNG")
    return stream.getvalue()


def as_sidecars(folder: Path, n: int) -> None:
    folder.mkdir()
    for index in range(n):
        (folder / f"{index:05d}.png").write_bytes(png(index))
        (folder / f"{index:05d}.txt").write_text(picture(index)[0] + "\n")


def as_tars(folder: Path, n: int) -> None:
    folder.mkdir()
    for start in range(0, n, 2):
        with tarfile.open(folder / f"shard-{start:05d}.tar", "w") as archive:
            for index in range(start, min(n, start + 2)):
                parts = [(".png", png(index)), (".txt", picture(index)[0].encode())]
                for suffix, data in parts if index % 2 else reversed(parts):
                    member = tarfile.TarInfo(f"{index:05d}{suffix}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))


def as_zip(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"pictures/{file.name}")


def test_every_layout_gives_the_same_rows(tmp_path: Path) -> None:
    build_dataset(tmp_path / "metadata", 5)
    as_sidecars(tmp_path / "sidecars", 5)
    as_tars(tmp_path / "tars", 5)
    as_zip(tmp_path / "metadata.zip", tmp_path / "metadata")
    as_zip(tmp_path / "sidecars.zip", tmp_path / "sidecars")
    for name in ("metadata", "sidecars", "tars", "metadata.zip", "sidecars.zip"):
        found = [(row.caption, row.picture().tobytes()) for row in rows(tmp_path / name)]
        assert found == [(picture(index)[0], picture(index)[1].tobytes()) for index in range(5)], name


@pytest.mark.parametrize("name", ["metadata", "tars", "metadata.zip"])
def test_rows_can_be_kept_for_later(name: str, tmp_path: Path) -> None:
    build_dataset(tmp_path / "metadata", 3)
    as_tars(tmp_path / "tars", 3)
    as_zip(tmp_path / "metadata.zip", tmp_path / "metadata")
    kept = list(rows(tmp_path / name))
    assert [row.picture().tobytes() for row in kept] == [picture(index)[1].tobytes() for index in range(3)]


def test_rows_are_read_one_at_a_time(tmp_path: Path) -> None:
    build_dataset(tmp_path, 3)
    found = rows(tmp_path)
    assert next(found).caption == picture(0)[0]
    (tmp_path / "00002.png").write_bytes(b"not a picture")
    next(found)
    with pytest.raises(ValueError, match=r"00002\.png is not a picture"):
        next(found).picture()


def test_transparency_becomes_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("nothing")
    assert next(rows(tmp_path)).picture().getcolors() == [(16, (255, 255, 255))]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "has no captioned pictures"),
        ({"a.png": b""}, "a.png has no caption"),
        ({"metadata.jsonl": b"{}"}, "line 1: file_name and text are expected"),
        ({"metadata.jsonl": b"\n[]\n"}, "line 2: file_name and text are expected"),
        ({"metadata.jsonl": json.dumps({"file_name": "x.png", "text": "x"}).encode()}, "no picture x.png"),
        ({"metadata.jsonl": json.dumps({"file_name": "../x.png", "text": "x"}).encode()}, "no picture"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=message):
        list(rows(tmp_path))


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("no")
    with pytest.raises(ValueError, match="neither a folder nor a zip"):
        list(rows(tmp_path / "a.zip"))


def test_pictures_are_cut_to_the_middle_square() -> None:
    wide = Image.new("RGB", (8, 4), "black")
    wide.paste("white", (2, 0, 6, 4))
    assert fit(wide, 4).getcolors() == [(16, (255, 255, 255))]


def test_pixels_run_from_minus_one_to_one() -> None:
    pixels = to_pixels([Image.new("RGB", (2, 2), (0, 255, 51))])
    assert pixels.shape == (1, 3, 2, 2)
    assert torch.allclose(pixels[0, :, 0, 0], torch.tensor([-1.0, 1.0, -0.6]))


def paired(path: Path, n: int) -> None:
    """Save rows whose loser is the picture of the row after."""
    build_dataset(path, n + 1)
    lines = [json.loads(line) for line in (path / "metadata.jsonl").read_text().splitlines()]
    for index in range(n):
        lines[index]["loser_file_name"] = f"{index + 1:05d}.png"
    (path / "metadata.jsonl").write_text("\n".join(json.dumps(line) for line in lines[:n]))


def test_losers_come_from_metadata_and_from_tars(tmp_path: Path) -> None:
    paired(tmp_path / "metadata", 2)
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        for index in range(2):
            caption = picture(index)[0].encode()
            for suffix, data in ((".loser.png", png(index + 1)), (".txt", caption), (".png", png(index))):
                member = tarfile.TarInfo(f"deep/{index}{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    (tmp_path / "tars").mkdir()
    (tmp_path / "shard.tar").rename(tmp_path / "tars" / "shard.tar")
    for name in ("metadata", "tars"):
        found = list(rows(tmp_path / name))
        assert [row.caption for row in found] == [picture(index)[0] for index in range(2)]
        assert [row.picture().tobytes() for row in found] == [picture(i)[1].tobytes() for i in (0, 1)]
        assert [row.loser().tobytes() for row in found] == [picture(i)[1].tobytes() for i in (1, 2)]


def test_a_loser_that_is_not_there_is_named(tmp_path: Path) -> None:
    paired(tmp_path, 2)
    (tmp_path / "00002.png").unlink()
    with pytest.raises(ValueError, match=r"line 2: there is no picture 00002\.png"):
        list(rows(tmp_path))
