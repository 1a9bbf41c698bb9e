"""Datasets out of sound archives: rows, captions, canonical shards, and what is told of them."""

import hashlib
import io
import tarfile
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from core.ingest.dataset import NoRows, ingest
from core.ingest.limits import BadArchive
from core.ingest.shards import page_rows
from tests.core.archives import LIMITS, jsonl, picture, write_tar, write_zip

RED, BLUE, GREEN = picture("red"), picture("blue", (4, 10), "JPEG"), picture("green", (5, 5), "WEBP")
FILES = {
    "data/metadata.jsonl": jsonl(
        ("b.jpg", " a blue one "), ("a.png", "a red one"), ("c.webp", "a green one")
    ),
    "data/a.png": RED,
    "data/b.jpg": BLUE,
    "data/c.webp": GREEN,
}


def members(shard: Path) -> dict[str, bytes]:
    with tarfile.open(shard) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def rejected(archive: Path, out: Path) -> list[tuple[str, int | None, str]]:
    found = ingest(archive, out, limits=LIMITS)
    return [(one["file"], one["row"], one["reason"]) for one in found.rejected]


def test_rows_keep_their_order_and_their_bytes(tmp_path: Path) -> None:
    found = ingest(write_zip(tmp_path / "a.zip", FILES), tmp_path / "out", limits=LIMITS)
    assert (found.rows, found.rejected) == (3, [])
    assert found.shards == ["shard-00000.tar", "shard-00001.tar"]
    assert members(tmp_path / "out" / "shard-00000.tar") == {
        "00000000.jpg": BLUE,
        "00000000.txt": b"a blue one",
        "00000001.png": RED,
        "00000001.txt": b"a red one",
    }
    assert members(tmp_path / "out" / "shard-00001.tar") == {
        "00000002.webp": GREEN,
        "00000002.txt": b"a green one",
    }
    digest = hashlib.sha256()
    for data, text in ((BLUE, b"a blue one"), (RED, b"a red one"), (GREEN, b"a green one")):
        digest.update(hashlib.sha256(data).digest() + hashlib.sha256(text).digest())
    assert found.sha256 == digest.hexdigest()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [*found.pages, *found.shards]


def test_statistics(tmp_path: Path) -> None:
    files = FILES | {"data/metadata.jsonl": FILES["data/metadata.jsonl"] + jsonl(("d.png", "red again"))}
    files["data/d.png"] = RED
    found = ingest(write_zip(tmp_path / "a.zip", files), tmp_path / "out", limits=LIMITS)
    assert found.statistics == {
        "rows": 4,
        "rejected": 0,
        "bytes": 2 * len(RED) + len(BLUE) + len(GREEN),
        "repeated_pictures": 1,
        "formats": {"jpg": 1, "png": 2, "webp": 1},
        "width": {"min": 4, "mean": 6.25, "max": 8},
        "height": {"min": 5, "mean": 6.75, "max": 10},
        "caption_characters": {"min": 9, "mean": 9.75, "max": 11},
    }


def test_pages_show_every_row_with_a_thumbnail(tmp_path: Path) -> None:
    found = ingest(write_zip(tmp_path / "a.zip", FILES), tmp_path / "out", limits=LIMITS)
    rows = [row for page in found.pages for row in page_rows((tmp_path / "out" / page).read_bytes())]
    assert [(row.index, row.file_name, row.text, row.width, row.height) for row in rows] == [
        (0, "data/b.jpg", "a blue one", 4, 10),
        (1, "data/a.png", "a red one", 8, 6),
        (2, "data/c.webp", "a green one", 5, 5),
    ]
    assert all(row.thumbnail.startswith("data:image/webp;base64,") for row in rows)


def test_the_same_rows_give_the_same_bytes_in_any_wrapping(tmp_path: Path) -> None:
    first = ingest(write_zip(tmp_path / "a.zip", FILES), tmp_path / "one", limits=LIMITS)
    archives = [
        write_tar(tmp_path / "a.tar", FILES),
        write_tar(tmp_path / "a.tar.gz", FILES, mode="w:gz"),
        write_zip(tmp_path / "b.zip", dict(reversed(FILES.items()))),
    ]
    for number, archive in enumerate(archives):
        out = tmp_path / f"out-{number}"
        again = ingest(archive, out, limits=LIMITS)
        assert again == first
        assert [(out / name).read_bytes() for name in again.shards] == [
            (tmp_path / "one" / name).read_bytes() for name in first.shards
        ]


def test_a_dataset_in_its_canonical_form_is_read_back(tmp_path: Path) -> None:
    first = ingest(
        write_zip(tmp_path / "a.zip", FILES), tmp_path / "one", limits=replace(LIMITS, shard_rows=1000)
    )
    again = ingest(tmp_path / "one" / "shard-00000.tar", tmp_path / "two", limits=LIMITS)
    assert (again.rows, again.sha256) == (first.rows, first.sha256)


def test_metadata_csv_and_sidecars(tmp_path: Path) -> None:
    table = '\ufefffile_name,text,extra\na.png,"red, with a comma",1\n'.encode()
    by_csv = write_zip(tmp_path / "csv.zip", {"metadata.csv": table, "a.png": RED})
    ingest(by_csv, tmp_path / "csv", limits=LIMITS)
    assert members(tmp_path / "csv" / "shard-00000.tar")["00000000.txt"] == b"red, with a comma"
    by_text = write_zip(tmp_path / "txt.zip", {"x/a.png": RED, "x/a.txt": "rouge é\n".encode()})
    ingest(by_text, tmp_path / "txt", limits=LIMITS)
    assert members(tmp_path / "txt" / "shard-00000.tar")["00000000.txt"] == "rouge é".encode()


def test_names_match_in_either_unicode_form(tmp_path: Path) -> None:
    files = {"metadata.jsonl": jsonl(("caf\u00e9.png", "a cup")), "cafe\u0301.png": RED}
    assert rejected(write_zip(tmp_path / "a.zip", files), tmp_path / "out") == []


def test_each_bad_line_of_metadata_is_told_with_its_number(tmp_path: Path) -> None:
    lines = [
        jsonl(("a.png", "good")),
        b"not json\n",
        b"[1]\n",
        b'{"text": "no name"}\n',
        b'{"file_name": "a.png", "text": 7}\n',
        jsonl(("missing.png", "nothing there"), ("../a.png", "outside"), ("a.png", "again")),
        jsonl(("b.jpg", "   "), ("c.webp", "x" * 41)),
        b'{"file_name": "b.jpg", "text": "\\ud800"}\n',
        b"\xff\n",
    ]
    files = {"metadata.jsonl": b"".join(lines), "a.png": RED, "b.jpg": BLUE, "c.webp": GREEN, "z.png": RED}
    assert rejected(write_zip(tmp_path / "a.zip", files), tmp_path / "out") == [
        ("metadata.jsonl", 2, "not a line of JSON"),
        ("metadata.jsonl", 3, "not an object with file_name and text"),
        ("metadata.jsonl", 4, "file_name is missing or no text"),
        ("a.png", 5, "text is missing or no text"),
        ("missing.png", 6, "no such file in the archive"),
        ("../a.png", 7, "no such file in the archive"),
        ("a.png", 8, "named a second time"),
        ("b.jpg", 9, "its caption is empty"),
        ("c.webp", 10, "its caption is longer than 40 characters"),
        ("b.jpg", 11, "named a second time"),
        ("metadata.jsonl", 12, "not UTF-8"),
        ("z.png", None, "no row of metadata.jsonl names it"),
    ]


def test_each_bad_picture_is_told_with_its_reason(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    moving = io.BytesIO()
    frames[0].save(moving, "PNG", save_all=True, append_images=frames[1:])
    gif = io.BytesIO()
    frames[0].save(gif, "GIF")
    noise = Image.effect_noise((99, 99), 90)
    large = io.BytesIO()
    noise.save(large, "PNG")
    pictures = {
        "cut.png": large.getvalue()[:-2000],
        "fake.png": b"\x89PNG\r\n\x1a\n" + b"\0" * 64,
        "gif.png": gif.getvalue(),
        "good.png": RED,
        "heavy.png": RED + b"\0" * 1_000_000,
        "moving.png": moving.getvalue(),
        "vector.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "wide.png": picture("red", (101, 100)),
    }
    captions = {f"{name.partition('.')[0]}.txt": b"a caption" for name in pictures}
    lone = {"lone.png": RED, "lonely.txt": b"no picture", "latin.png": RED, "latin.txt": b"\xe9"}
    found = rejected(write_zip(tmp_path / "a.zip", pictures | captions | lone), tmp_path / "out")
    reasons = {file: reason for file, _, reason in found}
    damaged = {name: reasons.pop(name) for name in ("cut.png", "fake.png")}
    assert damaged["cut.png"].startswith("the picture is damaged: ")
    assert damaged["fake.png"] == "not a PNG, JPEG or WebP picture"
    assert reasons == {
        "gif.png": "not a PNG, JPEG or WebP picture",
        "heavy.png": "larger than 1.0 MB",
        "latin.png": "its caption is not UTF-8",
        "lone.png": "no caption: lone.txt is not beside it",
        "lonely.txt": "a caption without a picture beside it",
        "moving.png": "an animation: one still picture is expected",
        "vector.svg": "not a PNG, JPEG or WebP picture",
        "wide.png": "101 x 100: more than 10000 pixels",
    }


def test_a_picture_of_absurd_size_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    header = bytearray(picture())
    header[16:24] = (60_000).to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    files = {"a.png": bytes(header), "a.txt": b"huge", "b.png": RED, "b.txt": b"red"}
    [(file, _, reason)] = rejected(write_zip(tmp_path / "a.zip", files), tmp_path / "out")
    assert file == "a.png"
    assert reason == "more than 10000 pixels"


def test_only_so_many_rejections_are_listed_but_all_are_counted(tmp_path: Path) -> None:
    files = {f"{number:02d}.png": RED for number in range(8)} | {"00.txt": b"the only caption"}
    limits = replace(LIMITS, listed_rejections=3)
    found = ingest(write_zip(tmp_path / "a.zip", files), tmp_path / "out", limits=limits)
    assert [one["file"] for one in found.rejected] == ["01.png", "02.png", "03.png"]
    assert found.statistics["rejected"] == 7


def test_no_row_left_fails_with_the_first_reason(tmp_path: Path) -> None:
    files = {"metadata.jsonl": jsonl(("a.png", "text"), ("b.png", "text")), "a.png": b"junk"}
    with pytest.raises(NoRows) as caught:
        ingest(write_zip(tmp_path / "a.zip", files), tmp_path / "out", limits=LIMITS)
    assert str(caught.value) == (
        "no row can be used; 2 left out, the first: a.png, line 1: not a PNG, JPEG or WebP picture"
    )
    assert [one["file"] for one in caught.value.rejected] == ["a.png", "b.png"]
    assert not (tmp_path / "out").exists()


def test_an_archive_without_pictures_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(BadArchive, match=r"^the archive holds no captioned pictures: put"):
        ingest(write_zip(tmp_path / "a.zip", {"notes.md": b"#"}), tmp_path / "out", limits=LIMITS)
    assert not (tmp_path / "out").exists()
