"""Hostile zips and tars."""

import gzip
import io
import struct
import tarfile
import zipfile

from tests.core.archives import picture
from tests.hostile.packing import (
    DIRECTORY,
    GOOD,
    Hostile,
    entry,
    in_directory,
    octal,
    patched,
    raw_header,
    tarred,
    zipped,
    zipped_with,
)

ANEW = "pack it anew and upload it again"
WANTED = "upload a zip or tar of pictures with captions, or a parquet file"
INSIDE = "names must stay inside the archive"
PLAIN = "only plain files are taken"
NO_PATH = "this name is not a path with forward slashes"
TWICE = "a.png is in the archive twice: leave one out"


def encrypted() -> bytes:
    data = zipped(GOOD)
    return patched(data, (6, b"\x01"), (data.index(DIRECTORY) + 8, b"\x01"))


def overlapping() -> bytes:
    data = bytearray(zipped({f"{number}.txt": bytes(range(256)) * 4 for number in range(9)}))
    at = data.index(DIRECTORY)
    while (at := data.find(DIRECTORY, at + 4)) > 0:
        struct.pack_into("<I", data, at + 20, len(data))
    return bytes(data)


def one_body_for_many_names() -> bytes:
    """Return a zip whose directory names the same bytes many times, as the best of bombs do."""
    data = zipped({"a.png": bytes(5_000_000)})
    at = data.index(DIRECTORY)
    end = data.index(b"PK\x05\x06")
    first = data[at:end]
    entries = b"".join(first.replace(b"a.png", b"%c.png" % letter) for letter in range(97, 109))
    told = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 12, 12, len(entries), at, 0)
    return data[:at] + entries + told


def lying_size() -> bytes:
    """Return a zip whose directory says that two megabytes are a hundred bytes."""
    data = zipped({"bomb.png": bytes(2_000_000), "bomb.txt": b"text"})
    return in_directory(data, 24, struct.pack("<I", 100))


def renamed_inside() -> bytes:
    """Return a zip whose local header has another name than its directory."""
    data = zipped({"a.png": picture(), "a.txt": b"text"}, method=zipfile.ZIP_STORED)
    return patched(data, (30, b"b.png"))


def nested(depth: int) -> bytes:
    data = zipped(GOOD)
    for _ in range(depth):
        data = zipped({"inner.zip": data})
    return data


def twice_in_a_zip() -> bytes:
    return zipped(GOOD | {"b.png": b"other"}).replace(b"b.png", b"a.png")


def prefixed() -> bytes:
    return b"#!/bin/sh\nexit\n" + zipped(GOOD)


def two_dots_by_unicode_twice() -> bytes:
    return tarred([entry("caf\u00e9.png"), entry("cafe\u0301.png")])


def negative_size() -> bytes:
    size = (-1024).to_bytes(12, "big", signed=True)
    return raw_header(b"x.png", b"0", size) + bytes(1024)


def huge_header() -> bytes:
    return raw_header(b"././@LongLink", b"L", octal(40 << 20)) + bytes(4096)


def pax_of_digits() -> bytes:
    data = b"9" * 60_000
    padded = data + bytes(-len(data) % 512)
    return raw_header(b"pax", b"x", octal(len(data))) + padded + raw_header(b"x.png", b"0", octal(0))


def headers_without_end() -> bytes:
    """Return a tar of two thousand long names, each of the next."""
    name = b"n" * 200
    return (raw_header(b"././@LongLink", b"L", octal(200)) + name + bytes(312)) * 2000


def beyond_the_end() -> bytes:
    return raw_header(b"x.png", b"0", octal(7 << 30)) + bytes(2048)


def damaged_in_the_middle() -> bytes:
    data = tarred(GOOD)
    return patched(data, (1024 + 150, bytes([data[1024 + 150] ^ 0xFF])))


def gzip_in_gzip() -> bytes:
    return gzip.compress(tarred(GOOD, packed=True))


def many_gzip_members() -> bytes:
    return gzip.compress(bytes(1 << 20)) * 30


def zip64_of_exabytes() -> bytes:
    """Return a zip whose directory says that one entry unpacks to an exabyte."""
    data = zipped({"a.png": b"x"}, method=zipfile.ZIP_STORED)
    at = data.index(DIRECTORY)
    extra = struct.pack("<HHQ", 1, 8, 1 << 60)
    name_end = at + 46 + 5
    changed = bytearray(data[:name_end] + extra + data[name_end:])
    struct.pack_into("<I", changed, at + 24, 0xFFFFFFFF)
    struct.pack_into("<H", changed, at + 30, len(extra))
    end = changed.index(b"PK\x05\x06")
    struct.pack_into("<I", changed, end + 12, end - at)
    return bytes(changed)


def without_end_mark() -> bytes:
    return tarred(GOOD)[:1024]


def many(count: int) -> dict[str, bytes]:
    return {f"{number}.txt": b"" for number in range(count)}


def long_name() -> bytes:
    return zipped(GOOD | {"n" * 2000 + ".png": b""})


def method_lzma() -> bytes:
    return zipped({"a.png": picture()}, method=zipfile.ZIP_LZMA)


def bzipped_tar() -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:bz2") as archive:
        archive.addfile(entry("a.png"))
    return sink.getvalue()


NAMES = [
    ("dots", "../x.png", f"../x.png leaves the archive's folder: {INSIDE}"),
    ("dots inside", "a/../../x.png", f"a/../../x.png leaves the archive's folder: {INSIDE}"),
    ("absolute", "/etc/x.png", f"/etc/x.png is an absolute path: {INSIDE}"),
    ("drive", "C:x.png", f"C:x.png is an absolute path: {INSIDE}"),
    ("backslash", "..\\x.png", f"'..\\\\x.png': {NO_PATH}"),
    ("line break", "x\n.png", f"'x\\n.png': {NO_PATH}"),
    ("escape", "\x1b[2J.png", f"'\\x1b[2J.png': {NO_PATH}"),
]
KINDS = [
    ("symlink", tarfile.SYMTYPE, f"x.png is a link: {PLAIN}"),
    ("hard link", tarfile.LNKTYPE, f"x.png is a link: {PLAIN}"),
    ("character device", tarfile.CHRTYPE, f"x.png is a device: {PLAIN}"),
    ("block device", tarfile.BLKTYPE, f"x.png is a device: {PLAIN}"),
    ("pipe", tarfile.FIFOTYPE, f"x.png is a device: {PLAIN}"),
    ("sparse file", tarfile.GNUTYPE_SPARSE, f"x.png is a sparse file: {PLAIN}"),
]
MODES = [
    ("symlink", 0o120777, f"x.png is a link: {PLAIN}"),
    ("device", 0o020666, f"x.png is a device: {PLAIN}"),
    ("pipe", 0o010666, f"x.png is a device: {PLAIN}"),
]
CUT_ZIP, CUT_TAR = "the zip is damaged or cut off (", "the tar is damaged or cut off ("

CONTAINERS = [
    *(Hostile(f"zip: {what}", lambda name=name: zipped_with(name), says) for what, name, says in NAMES),
    *(Hostile(f"tar: {what}", lambda name=name: tarred([entry(name)]), says) for what, name, says in NAMES),
    *(
        Hostile(f"zip: {what}", lambda mode=mode: zipped_with("x.png", mode=mode), says)
        for what, mode, says in MODES
    ),
    *(
        Hostile(f"tar: {what}", lambda kind=kind: tarred([entry("x.png", kind)]), says)
        for what, kind, says in KINDS
    ),
    Hostile(
        "zip: zero in a name",
        lambda: zipped(GOOD | {"x_.png.exe": b""}).replace(b"x_.png.exe", b"x\0.png.exe"),
        f"'x\\x00.png.exe': {NO_PATH}",
    ),
    Hostile("zip: long name", long_name, "this name is longer than 1000 characters"),
    Hostile("zip: encrypted", encrypted, "a.png is encrypted: make the zip without a password"),
    Hostile("zip: lzma", method_lzma, "a.png is packed by a method other than store and deflate"),
    Hostile(
        "zip: bomb by ratio",
        lambda: zipped(GOOD | {"bomb.png": bytes(11 << 20)}),
        "bomb.png unpacks to more than 100 times its packed size, as a zip bomb does",
    ),
    Hostile(
        "zip: bomb by sum",
        lambda: zipped({f"{number}.png": bytes(7 << 20) for number in range(3)}),
        "the archive unpacks to more than 20.0 MB",
    ),
    Hostile("zip: exabytes", zip64_of_exabytes, "a.png unpacks to more than 100 times its packed size"),
    Hostile("zip: overlap", overlapping, "the zip's entries overlap, as those of a zip bomb do"),
    Hostile("zip: one body", one_body_for_many_names, "the zip's entries overlap, as those of a zip bomb do"),
    Hostile("zip: lying size", lying_size, "no row can be used; 1 left out, the first: bomb.png: damaged: "),
    Hostile("zip: two names of one file", renamed_inside, "the first: a.png: damaged: "),
    Hostile("zip: nested", lambda: nested(40), "the archive holds no captioned pictures"),
    Hostile("zip: count", lambda: zipped(many(51)), "the archive has more than 50 entries"),
    Hostile("zip: twice", twice_in_a_zip, TWICE),
    Hostile("zip: cut", lambda: zipped(GOOD)[:-30], f"{CUT_ZIP}File is not a zip file): {ANEW}"),
    Hostile("zip: in a script", prefixed, f"the file is neither a zip nor a tar: {WANTED}"),
    Hostile("zip: empty", lambda: zipped({"__MACOSX/a.png": b""}), "the archive holds no files"),
    Hostile(
        "tar: bomb by sum",
        lambda: tarred({f"{number}.png": bytes(7 << 20) for number in range(3)}, packed=True),
        "the archive unpacks to more than ",
    ),
    Hostile("tar: beyond the end", beyond_the_end, "the archive unpacks to more than 20.0 MB"),
    Hostile("tar: count", lambda: tarred(many(51)), "the archive has more than 50 entries"),
    Hostile("tar: twice", lambda: tarred([entry("./a.png")]), TWICE),
    Hostile("tar: twice by Unicode", two_dots_by_unicode_twice, "caf\u00e9.png is in the archive twice"),
    Hostile("tar: cut in a file", lambda: tarred(GOOD | {"b.png": bytes(9000)})[:4000], CUT_TAR),
    Hostile("tar: cut between files", without_end_mark, f"{CUT_TAR}it has no end mark): {ANEW}"),
    Hostile("tar: damaged header", damaged_in_the_middle, f"{CUT_TAR}it has no end mark): {ANEW}"),
    Hostile("tar: negative size", negative_size, "negative size"),
    Hostile("tar: header of 40 MB", huge_header, "the tar has a header larger than 65.5 KB"),
    Hostile("tar: header of digits", pax_of_digits, "the tar has a header that no program writes"),
    Hostile("tar: headers without end", headers_without_end, "the file is neither a zip nor a tar"),
    Hostile("tar: bzip2", bzipped_tar, f"the file is neither a zip nor a tar: {WANTED}"),
    Hostile(
        "tar.gz: bomb",
        lambda: gzip.compress(bytes(20 << 20)),
        "the archive unpacks to more than 100 times its packed size, as a zip bomb does",
    ),
    Hostile("tar.gz: of many members", many_gzip_members, "the archive unpacks to more than "),
    Hostile("tar.gz: nested", gzip_in_gzip, "the file is neither a zip nor a tar"),
    Hostile(
        "tar.gz: cut", lambda: tarred(GOOD, packed=True)[:-20], "the tar.gz is damaged or cut off (Compressed"
    ),
    Hostile("empty", lambda: b"", f"the file is empty: {WANTED}"),
    Hostile("a document", lambda: b"%PDF-1.7 " + bytes(2000), "the file is neither a zip nor a tar"),
    Hostile("zeros", lambda: bytes(20_000), "the archive holds no files"),
]
