"""Forms as clients send them, in any slicing, and as they should not."""

from collections.abc import Callable, Iterator

import pytest

from api.files.multipart import MAX_FIELD_BYTES, MAX_FIELDS, MultipartForm
from core.errors import AppError, Invalid, TooLarge

TYPE = "multipart/form-data; boundary=XX"


def part(name: str, value: bytes, filename: str | None = None) -> bytes:
    told = f'; filename="{filename}"'.encode() if filename is not None else b""
    return (
        b'--XX\r\nContent-Disposition: form-data; name="'
        + name.encode()
        + b'"'
        + told
        + b"\r\n\r\n"
        + value
        + b"\r\n"
    )


def form_of(*parts: bytes, end: bytes = b"--XX--\r\n", size: int = 7, limit: int = 1000) -> MultipartForm:
    body = b"".join(parts) + end
    pieces: Iterator[bytes] = (body[at : at + size] for at in range(0, len(body), size))
    return MultipartForm(TYPE, lambda: next(pieces, b""), max_file_bytes=limit)


@pytest.mark.parametrize("size", [1, 2, 3, 16, 64, 10_000])
@pytest.mark.parametrize("file_first", [False, True])
def test_the_file_and_the_fields_come_out_whole_however_the_body_is_cut(size: int, file_first: bool) -> None:
    data = b"\r\n--X\r\n-- \x00\xff" * 20 + b"--XX almost\r\n"
    parts = [part("purpose", b"fine-tune"), part("file", data, "pictures.zip")]
    form = form_of(*(reversed(parts) if file_first else parts), size=size)
    with form.open_file() as stream:
        assert stream.read() == data
    form.finish()
    assert form.fields == {"purpose": "fine-tune"}
    assert form.filename == "pictures.zip"


def test_an_empty_file_is_a_file() -> None:
    form = form_of(part("file", b"", "a.zip"))
    assert form.open_file().read() == b""
    form.finish()


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\data\\a.zip", "a.zip"),
        ("ü ☃.zip", "ü ☃.zip"),
        ("dir/a b.zip", "a b.zip"),
    ],
)
def test_only_the_last_part_of_a_file_name_is_kept(sent: str, kept: str) -> None:
    form = form_of(part("file", b"x", sent))
    form.open_file()
    assert form.filename == kept


def read_all(form: MultipartForm) -> None:
    form.open_file().read()
    form.finish()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: form_of(part("purpose", b"fine-tune")), Invalid, "file: this field is required"),
        (lambda: form_of(part("file", b"x" * 1001, "a")), TooLarge, "1000 bytes"),
        (lambda: form_of(part("file", b"x" * 50, "a"), end=b""), Invalid, "cut off"),
        (lambda: form_of(part("file", b"x", "a"), part("file", b"y", "b")), Invalid, "given twice"),
        (lambda: form_of(part("a", b"1"), part("a", b"2"), part("file", b"x", "a")), Invalid, "given twice"),
        (lambda: form_of(part("file", b"x", "")), Invalid, "file name"),
        (lambda: form_of(part("file", b"x", "a\x07b")), Invalid, "file name"),
        (lambda: form_of(part("file", b"x", "a" * 256)), Invalid, "file name"),
        (
            lambda: form_of(part("p", b"x" * (MAX_FIELD_BYTES + 1)), part("file", b"x", "a")),
            Invalid,
            "longer than",
        ),
        (
            lambda: form_of(part("x" * (MAX_FIELD_BYTES + 1), b"x"), size=1000),
            Invalid,
            "a header of the form is longer",
        ),
        (
            lambda: form_of(*(part(f"f{n}", b"x") for n in range(MAX_FIELDS + 1))),
            Invalid,
            "more than 16 fields",
        ),
        (lambda: form_of(part("purpose", b"\xff"), part("file", b"x", "a")), Invalid, "not UTF-8"),
        (lambda: form_of(b"nonsense"), Invalid, "cannot be read"),
        (
            lambda: MultipartForm("application/json", lambda: b"", max_file_bytes=1),
            Invalid,
            "multipart/form-data",
        ),
        (
            lambda: MultipartForm("multipart/form-data", lambda: b"", max_file_bytes=1),
            Invalid,
            "multipart/form-data",
        ),
        (lambda: MultipartForm("", lambda: b"", max_file_bytes=1), Invalid, "multipart/form-data"),
    ],
)
def test_a_form_that_is_wrong_says_how(
    make: Callable[[], MultipartForm], error: type[AppError], message: str
) -> None:
    with pytest.raises(error, match=message):
        read_all(make())
