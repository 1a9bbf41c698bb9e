"""Datasets out of sound archives: rows, captions, canonical shards, and what is told of them."""

import hashlib
import io
import json
import tarfile
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from core.ingest.dataset import Rejected, ingest
from core.ingest.limits import BadArchive
from core.ingest.options import Columns, Options
from core.ingest.shards import page_rows
from spin_engine import data as engine
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
    names = [*found.fingerprints, *found.pages, *found.shards]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names


def test_statistics(tmp_path: Path) -> None:
    files = FILES | {"data/metadata.jsonl": FILES["data/metadata.jsonl"] + jsonl(("d.png", "red again"))}
    files["data/d.png"] = RED
    found = ingest(write_zip(tmp_path / "a.zip", files), tmp_path / "out", limits=LIMITS)
    assert found.statistics == {
        "rows": 4,
        "pairs": 0,
        "rejected": 0,
        "passed_over": {},
        "bytes": 2 * len(RED) + len(BLUE) + len(GREEN),
        "repeated_pictures": 1,
        "repeated_captions": 0,
        "similar_pictures": {"rows": 0, "examples": []},
        "formats": {"jpg": 1, "png": 2, "webp": 1},
        "rewritten": {},
        "shapes": {"square": 1, "tall": 1, "wide": 2},
        "width": {"min": 4, "mean": 6.25, "max": 8},
        "height": {"min": 5, "mean": 6.75, "max": 10},
        "aspect": {"min": 0.4, "mean": 1.02, "max": 1.333},
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


def test_the_first_rejections_are_listed_and_all_are_on_pages(tmp_path: Path) -> None:
    files = {f"{number:02d}.png": RED for number in range(8)} | {"00.txt": b"the only caption"}
    limits = replace(LIMITS, listed_rejections=3)
    found = ingest(write_zip(tmp_path / "a.zip", files), tmp_path / "out", limits=limits)
    assert [one["file"] for one in found.rejected] == ["01.png", "02.png", "03.png"]
    assert found.statistics["rejected"] == 7
    assert found.rejections == ["rejected-00000.json", "rejected-00001.json", "rejected-00002.json"]
    pages = [json.loads((tmp_path / "out" / page).read_text()) for page in found.rejections]
    assert [[one["file"] for one in page] for page in pages] == [
        ["01.png", "02.png", "03.png"],
        ["04.png", "05.png", "06.png"],
        ["07.png"],
    ]


@pytest.mark.parametrize("bad", [3, 4])
def test_as_few_rejections_as_are_listed_need_no_page(tmp_path: Path, bad: int) -> None:
    files = {f"{number:02d}.png": RED for number in range(bad + 1)} | {"00.txt": b"the only caption"}
    limits = replace(LIMITS, listed_rejections=3)
    found = ingest(write_zip(tmp_path / "a.zip", files), tmp_path / "out", limits=limits)
    assert found.statistics["rejected"] == bad
    assert len(found.rejections) == (0 if bad == 3 else 2)


def test_more_bad_rows_than_are_tolerated_fail_and_all_are_told(tmp_path: Path) -> None:
    files = {f"{number}.png": RED for number in range(5)} | {f"{number}.txt": b"red" for number in range(3)}
    archive = write_zip(tmp_path / "a.zip", files)
    limits = replace(LIMITS, listed_rejections=1)
    with pytest.raises(Rejected) as caught:
        ingest(archive, tmp_path / "out", limits=limits, options=Options(tolerance=0.39))
    assert str(caught.value) == (
        "2 of 5 rows are bad (40.0%), more than the tolerance of 39.0%; "
        "the first: 3.png: no caption: 3.txt is not beside it"
    )
    assert [one["file"] for one in caught.value.rejected] == ["3.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == caught.value.pages
    assert len(caught.value.pages) == 2
    found = ingest(archive, tmp_path / "again", limits=limits, options=Options(tolerance=0.4))
    assert found.rows == 3


def test_progress_is_told_of_every_row(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    archive = write_zip(tmp_path / "a.zip", FILES)
    ingest(archive, tmp_path / "out", limits=LIMITS, progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_more_rows_than_entries_are_refused(tmp_path: Path) -> None:
    lines = jsonl(("a.png", "red")) + jsonl(("missing.png", "nothing")) * 50
    with pytest.raises(BadArchive, match=r"^the file has more than 50 rows$"):
        ingest(
            write_zip(tmp_path / "a.zip", {"metadata.jsonl": lines, "a.png": RED}),
            tmp_path / "out",
            limits=LIMITS,
        )
    assert not (tmp_path / "out").exists()


def test_webdataset_captions_in_json(tmp_path: Path) -> None:
    files = {
        "000.jpg": BLUE,
        "000.json": b'{"caption": "a blue one", "url": "x"}',
        "001.png": RED,
        "001.txt": b"a red one",
        "001.json": b'{"caption": "not this"}',
        "002.webp": GREEN,
        "002.json": b"{}",
    }
    found = ingest(write_tar(tmp_path / "a.tar", files), tmp_path / "out", limits=LIMITS)
    shard = members(tmp_path / "out" / "shard-00000.tar")
    assert (shard["00000000.txt"], shard["00000001.txt"]) == (b"a blue one", b"a red one")
    assert [(one["file"], one["reason"]) for one in found.rejected] == [
        ("002.webp", "its caption is not in 002.json: caption, text, prompt are its usual names")
    ]


def test_pairs_keep_their_losers_in_either_form_and_are_read_back(tmp_path: Path) -> None:
    rows = [
        {"file_name": "a.png", "text": "one", "loser_file_name": "b.jpg"},
        {"file_name": "a.png", "text": "one", "loser_file_name": "c.webp"},
    ]
    files = {"metadata.jsonl": "\n".join(map(json.dumps, rows)).encode(), "a.png": RED, "b.jpg": BLUE}
    found = ingest(write_zip(tmp_path / "a.zip", files | {"c.webp": GREEN}), tmp_path / "out", limits=LIMITS)
    assert (found.rows, found.statistics["pairs"], found.rejected) == (2, 2, [])
    assert members(tmp_path / "out" / "shard-00000.tar") == {
        "00000000.png": RED,
        "00000000.loser.jpg": BLUE,
        "00000000.txt": b"one",
        "00000001.png": RED,
        "00000001.loser.webp": GREEN,
        "00000001.txt": b"one",
    }
    rows_of_engine = list(engine.rows(tmp_path / "out"))
    assert [(row.caption, row.loser().size) for row in rows_of_engine] == [("one", (4, 10)), ("one", (5, 5))]
    again = ingest(tmp_path / "out" / "shard-00000.tar", tmp_path / "two", limits=LIMITS)
    assert (again.rows, again.statistics["pairs"], again.sha256) == (2, 2, found.sha256)
    page = (tmp_path / "out" / found.pages[0]).read_bytes()
    assert all((row.loser_thumbnail or "").startswith("data:image/webp") for row in page_rows(page))


def test_pairs_and_single_pictures_do_not_mix(tmp_path: Path) -> None:
    files = {"a.png": RED, "a.loser.png": RED, "a.txt": b"one", "b.jpg": BLUE, "b.txt": b"two"}
    with pytest.raises(BadArchive, match=r"^1 of 2 rows name a picture that lost"):
        ingest(write_zip(tmp_path / "a.zip", files), tmp_path / "out", limits=LIMITS)
    assert not (tmp_path / "out").exists()


def test_tables_may_have_other_columns(tmp_path: Path) -> None:
    files = {"metadata.csv": b"path,label\na.png,a red one\n", "a.png": RED}
    options = Options(columns=Columns(image="path", caption="label"))
    archive = write_zip(tmp_path / "a.zip", files)
    assert ingest(archive, tmp_path / "out", limits=LIMITS, options=options).rows == 1


def test_columns_of_no_table_are_a_mistake(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a.png": RED, "a.txt": b"red"})
    with pytest.raises(BadArchive, match=r"^columns are told, but there is neither metadata.jsonl nor"):
        ingest(archive, tmp_path / "out", limits=LIMITS, options=Options(columns=Columns(caption="label")))


def test_no_row_left_fails_with_the_first_reason(tmp_path: Path) -> None:
    files = {"metadata.jsonl": jsonl(("a.png", "text"), ("b.png", "text")), "a.png": b"junk"}
    with pytest.raises(Rejected) as caught:
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
