"""Hostile archives: each is refused with its own message, and nothing of it stays."""

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core.ingest.dataset import ingest
from core.ingest.limits import BadArchive
from tests.core.archives import LIMITS, picture, write_tar, write_zip

ANEW = "pack it anew and upload it again"
WANTED = "upload a zip or tar of pictures with captions"
GOOD = {"a.png": picture(), "a.txt": b"a red one"}


def refused(archive: Path, limits: object = LIMITS) -> str:
    """Return the message; the archive's folder must hold nothing but the archive afterwards."""
    out = archive.parent / "dataset" / "out"
    before = archive.read_bytes()
    with pytest.raises(BadArchive) as caught:
        ingest(archive, out, limits=limits)  # type: ignore[arg-type]
    assert not out.exists()
    assert sorted(path.name for path in archive.parent.rglob("*")) == sorted([archive.name, "dataset"])
    assert archive.read_bytes() == before
    return str(caught.value)


def zip_with(path: Path, change: Callable[[zipfile.ZipInfo], None], name: str = "x.png") -> Path:
    write_zip(path, GOOD)
    entry = zipfile.ZipInfo(name)
    change(entry)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, b"target")
    return path


def tar_with(path: Path, entry: tarfile.TarInfo) -> Path:
    write_tar(path, GOOD)
    with tarfile.open(path, "a") as archive:
        archive.addfile(entry, io.BytesIO(bytes(max(0, entry.size))))
    return path


def tar_entry(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.linkname = kind, size, "/etc/passwd"
    return entry


NAMES = [
    ("../x.png", "../x.png leaves the archive's folder: names must stay inside the archive"),
    ("a/../../x.png", "a/../../x.png leaves the archive's folder: names must stay inside the archive"),
    ("/etc/x.png", "/etc/x.png is an absolute path: names must stay inside the archive"),
    ("C:x.png", "C:x.png is an absolute path: names must stay inside the archive"),
    ("..\\x.png", "'..\\\\x.png': this name is not a path with forward slashes"),
    ("x\n.png", "'x\\n.png': this name is not a path with forward slashes"),
]


@pytest.mark.parametrize(("name", "message"), NAMES)
def test_names_that_leave_the_archive(tmp_path: Path, name: str, message: str) -> None:
    assert refused(zip_with(tmp_path / "a.zip", lambda _: None, name)) == message


@pytest.mark.parametrize(("name", "message"), NAMES)
def test_names_that_leave_the_archive_in_a_tar(tmp_path: Path, name: str, message: str) -> None:
    assert refused(tar_with(tmp_path / "a.tar", tar_entry(name))) == message


def test_a_name_with_a_zero_byte(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", GOOD | {"x_.png.exe": b""})
    archive.write_bytes(archive.read_bytes().replace(b"x_.png.exe", b"x\0.png.exe"))
    assert refused(archive) == "'x\\x00.png.exe': this name is not a path with forward slashes"


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        (0o120777, "x.png is a link: only plain files are taken"),
        (0o020666, "x.png is a device: only plain files are taken"),
        (0o010666, "x.png is a device: only plain files are taken"),
    ],
)
def test_links_and_devices_in_a_zip(tmp_path: Path, mode: int, message: str) -> None:
    def change(entry: zipfile.ZipInfo) -> None:
        entry.create_system, entry.external_attr = 3, mode << 16

    assert refused(zip_with(tmp_path / "a.zip", change)) == message


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (tarfile.SYMTYPE, "x.png is a link: only plain files are taken"),
        (tarfile.LNKTYPE, "x.png is a link: only plain files are taken"),
        (tarfile.CHRTYPE, "x.png is a device: only plain files are taken"),
        (tarfile.BLKTYPE, "x.png is a device: only plain files are taken"),
        (tarfile.FIFOTYPE, "x.png is a device: only plain files are taken"),
    ],
)
def test_links_and_devices_in_a_tar(tmp_path: Path, kind: bytes, message: str) -> None:
    assert refused(tar_with(tmp_path / "a.tar", tar_entry("x.png", kind))) == message


def test_an_encrypted_zip(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", GOOD)
    data = bytearray(archive.read_bytes())
    directory = data.index(b"PK\x01\x02")
    data[6] |= 1
    data[directory + 8] |= 1
    archive.write_bytes(data)
    assert refused(archive) == "a.png is encrypted: make the zip without a password"


def test_a_method_other_than_deflate(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_LZMA) as opened:
        opened.writestr("a.png", picture())
    assert refused(archive) == "a.png is packed by a method other than store and deflate: make the zip anew"


def test_a_bomb_by_its_ratio(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", GOOD | {"bomb.png": bytes(11 << 20)})
    assert refused(archive) == "bomb.png unpacks to more than 100 times its packed size, as a zip bomb does"


def test_a_bomb_by_its_sum(tmp_path: Path) -> None:
    files = {f"{number}.png": bytes(9 << 20) for number in range(6)}
    message = "the archive unpacks to more than 50.0 MB"
    assert refused(write_zip(tmp_path / "a.zip", files)) == message
    (tmp_path / "a.zip").unlink()
    (tmp_path / "dataset").rmdir()
    assert refused(write_tar(tmp_path / "a.tar", files)) == message


def test_a_gzip_bomb(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(gzip.compress(bytes(20 << 20)))
    assert (
        refused(archive) == "the archive unpacks to more than 100 times its packed size, as a zip bomb does"
    )
    limits = replace(LIMITS, max_unpacked_bytes=1_000_000)
    (tmp_path / "dataset").rmdir()
    assert refused(archive, limits) == "the archive unpacks to more than 1.0 MB"


def test_a_bomb_that_lies_about_its_size_yields_a_damaged_row(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"bomb.png": bytes(2_000_000), "bomb.txt": b"text"} | GOOD)
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x01\x02") + 24 :][:4] = b""
    directory = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, directory + 24, 100)
    archive.write_bytes(data)
    found = ingest(archive, tmp_path / "out", limits=LIMITS)
    assert [one["file"] for one in found.rejected] == ["bomb.png"]
    assert found.rejected[0]["reason"].startswith("damaged: ")


def test_entries_that_overlap(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {f"{number}.txt": bytes(range(256)) * 4 for number in range(9)})
    data = bytearray(archive.read_bytes())
    position = data.index(b"PK\x01\x02")
    while (position := data.find(b"PK\x01\x02", position + 4)) > 0:
        struct.pack_into("<I", data, position + 20, len(data))
    archive.write_bytes(data)
    assert refused(archive) == "the zip's entries overlap, as those of a zip bomb do"


def test_too_many_entries(tmp_path: Path) -> None:
    files = {f"{number}.txt": b"" for number in range(51)}
    message = "the archive has more than 50 entries"
    assert refused(write_zip(tmp_path / "a.zip", files)) == message
    (tmp_path / "a.zip").unlink()
    (tmp_path / "dataset").rmdir()
    assert refused(write_tar(tmp_path / "a.tar", files)) == message


def test_a_name_that_is_there_twice(tmp_path: Path) -> None:
    archive = tar_with(tmp_path / "a.tar", tar_entry("./a.png"))
    assert refused(archive) == "a.png is in the archive twice: leave one out"


def test_a_zip_that_is_cut_off(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", GOOD)
    archive.write_bytes(archive.read_bytes()[:-30])
    assert refused(archive) == f"the zip is damaged or cut off (File is not a zip file): {ANEW}"


@pytest.mark.parametrize("left", [0.3, 0.6])
def test_a_tar_that_is_cut_off(tmp_path: Path, left: float) -> None:
    archive = write_tar(tmp_path / "a.tar", GOOD | {"big.png": bytes(20_000)})
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * left)])
    assert refused(archive) == f"the tar is damaged or cut off (unexpected end of data): {ANEW}"


def test_a_tar_that_ends_between_two_entries(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", GOOD)
    archive.write_bytes(archive.read_bytes()[:1024])
    assert refused(archive) == f"the tar is damaged or cut off (it has no end mark): {ANEW}"


def test_a_tar_with_a_damaged_header_in_the_middle(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", GOOD)
    data = bytearray(archive.read_bytes())
    data[1024 + 150] ^= 0xFF
    archive.write_bytes(data)
    assert refused(archive) == f"the tar is damaged or cut off (it has no end mark): {ANEW}"


def test_a_tar_gz_that_is_cut_off(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar.gz", GOOD, mode="w:gz")
    archive.write_bytes(archive.read_bytes()[:-20])
    assert refused(archive) == (
        "the tar.gz is damaged or cut off "
        f"(Compressed file ended before the end-of-stream marker was reached): {ANEW}"
    )


def test_a_negative_size_does_not_turn_back_for_ever(tmp_path: Path) -> None:
    archive = tar_with(tmp_path / "a.tar", tar_entry("x.png"))
    data = bytearray(archive.read_bytes())
    header = data.index(b"x.png\0")
    data[header + 124 : header + 136] = (-1024).to_bytes(12, "big", signed=True)
    data[header + 148 : header + 156] = b" " * 8
    data[header + 148 : header + 156] = f"{sum(data[header : header + 512]):06o}\0 ".encode()
    archive.write_bytes(data)
    assert refused(archive) == "x.png has a negative size"


def test_a_sparse_file(tmp_path: Path) -> None:
    assert refused(tar_with(tmp_path / "a.tar", tar_entry("x.png", tarfile.GNUTYPE_SPARSE))) == (
        "x.png is a sparse file: only plain files are taken"
    )


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.zip").touch()
    assert refused(tmp_path / "a.zip") == f"the file is empty: {WANTED}"


@pytest.mark.parametrize("make", [write_zip, write_tar])
def test_an_archive_without_files(tmp_path: Path, make: Callable[..., Path]) -> None:
    assert refused(make(tmp_path / "a", {"__MACOSX/a.png": b"", ".DS_Store": b""})) == (
        f"the archive holds no files: {WANTED}"
    )


def test_what_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"%PDF-1.7 " + bytes(2000))
    assert refused(tmp_path / "a.zip") == f"the file is neither a zip nor a tar: {WANTED}"


def test_two_metadata_files(tmp_path: Path) -> None:
    files = GOOD | {"metadata.jsonl": b"", "metadata.csv": b""}
    assert refused(write_zip(tmp_path / "a.zip", files)) == (
        "metadata.csv and metadata.jsonl: one metadata file is expected, not several"
    )


def test_a_table_without_its_columns(tmp_path: Path) -> None:
    assert refused(write_zip(tmp_path / "a.zip", GOOD | {"metadata.csv": b"image,caption\n"})) == (
        "metadata.csv: the first line must name the columns file_name and text"
    )


def test_a_line_without_end(tmp_path: Path) -> None:
    files = GOOD | {"metadata.jsonl": b"x" * (1 << 20) + b"y"}
    assert refused(write_zip(tmp_path / "a.zip", files)) == "metadata.jsonl has a line longer than 1.0 MB"


def test_metadata_whose_bytes_are_damaged(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as opened:
        opened.writestr("metadata.jsonl", '{"file_name": "a.png", "text": "SENTINEL"}\n')
        opened.writestr("a.png", picture())
    archive.write_bytes(archive.read_bytes().replace(b"SENTINEL", b"TAMPERED", 1))
    assert refused(archive) == "metadata.jsonl is damaged: Bad CRC-32 for file 'metadata.jsonl'"
