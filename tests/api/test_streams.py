"""Zips made on the fly: whole, readable, and never whole in memory."""

import hashlib
import io
import zipfile

from api.streams import CHUNK, Entry, attachment, zip_chunks


def entry(path: str, data: bytes) -> Entry:
    return Entry(path, lambda: io.BytesIO(data))


def test_a_zip_made_on_the_fly_opens_and_verifies() -> None:
    weights = bytes(range(256)) * 5000
    entries = [entry("model_index.json", b"{}"), entry("unet/weights.safetensors", weights)]
    made = b"".join(zip_chunks(entries))
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["model_index.json", "unet/weights.safetensors"]
        assert archive.read("unet/weights.safetensors") == weights


def test_the_same_files_make_the_same_zip() -> None:
    entries = [entry("a", b"1"), entry("b/c", b"2" * 1000)]
    first, second = (hashlib.sha256(b"".join(zip_chunks(entries))).hexdigest() for _ in range(2))
    assert first == second


def test_a_zip_is_told_in_pieces_no_larger_than_what_was_read() -> None:
    sizes = [len(piece) for piece in zip_chunks([entry("a", b"x" * (CHUNK * 4 + 5))])]
    assert len(sizes) >= 5
    assert max(sizes) < CHUNK + 1000


def test_a_file_name_cannot_break_out_of_its_header() -> None:
    assert (
        attachment('a"\r\nSet-Cookie: x=ü.zip')
        == "attachment; filename*=UTF-8''a%22%0D%0ASet-Cookie%3A%20x%3D%C3%BC.zip"
    )
