"""Files in parts: each sent again when the connection fails, and resumed where it broke off."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from spindle.client import Spindle
from spindle.errors import ApiError, UploadBrokenError
from tests.spindle.scripted import Answer, Script, scripted
from tests.spindle.test_client import BUSY, FILE, client_of

DATA = b"a" * 16 + b"b" * 16 + b"a" * 16 + b"end"
UPLOAD = {"id": "upload-1", "status": "pending", "bytes": len(DATA), "filename": "a.tar"}
DONE = Answer(200, UPLOAD | {"status": "completed", "file": FILE})


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "a.tar"
    path.write_bytes(DATA)
    return path


def part(name: str, data: bytes = b"") -> dict[str, Any]:
    return {"id": name, "upload_id": "upload-1", "bytes": 16, "sha256": hashlib.sha256(data).hexdigest()}


def told(script: Script, number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(script.asked[number].body)
    return found


def test_a_large_file_goes_in_parts_and_the_same_bytes_only_once(archive: Path) -> None:
    seen: list[tuple[int, int]] = []
    begun: list[str] = []
    parts = [Answer(200, part(f"part-{n}")) for n in range(3)]
    with (
        scripted(Answer(200, UPLOAD), parts[0], BUSY, parts[1], parts[2], DONE) as script,
        client_of(script) as client,
    ):
        file = client.files.upload(
            archive, part_bytes=16, progress=lambda *both: seen.append(both), begun=begun.append
        )
    assert (file.id, begun) == ("file-1", ["upload-1"])
    assert told(script, 0) == {
        "filename": "a.tar",
        "purpose": "fine-tune",
        "bytes": 51,
        "mime_type": "application/octet-stream",
    }
    sent = script.asked[1:5]
    assert {asked.path for asked in sent} == {"/v1/uploads/upload-1/parts"}
    assert [asked.headers["x-content-sha256"] for asked in sent] == [
        hashlib.sha256(data).hexdigest() for data in (b"a" * 16, b"b" * 16, b"b" * 16, b"end")
    ]
    assert sent[1].headers["idempotency-key"] == sent[2].headers["idempotency-key"]
    assert b'name="data"' in sent[0].body
    assert b"a" * 16 in sent[0].body
    assert told(script, 5) == {
        "part_ids": ["part-0", "part-1", "part-0", "part-2"],
        "sha256": hashlib.sha256(DATA).hexdigest(),
    }
    assert seen == [(16, 51), (32, 51), (48, 51), (51, 51)]


def test_what_broke_off_says_how_to_go_on_and_goes_on(archive: Path) -> None:
    refused = Answer(400, {"error": {"message": "the store is full"}})
    with (
        scripted(Answer(200, UPLOAD), Answer(200, part("part-0")), refused) as script,
        client_of(script) as client,
        pytest.raises(UploadBrokenError, match="the store is full") as broken,
    ):
        client.files.upload(archive, part_bytes=16)
    assert broken.value.upload_id == "upload-1"
    assert f"spindle files upload {archive} --resume upload-1" in str(broken.value)
    half_way = part("part-9", b"end") | {"received": False}
    page = {"data": [half_way, part("part-0", b"a" * 16)], "has_more": False}
    parts = [Answer(200, part(f"part-{n}")) for n in (1, 2)]
    with scripted(Answer(200, page), *parts, DONE) as script, client_of(script) as client:
        assert client.files.upload(archive, part_bytes=16, resume="upload-1").id == "file-1"
    assert script.asked[0].path == "/v1/uploads/upload-1/parts?limit=100"
    assert told(script, 3)["part_ids"] == ["part-0", "part-1", "part-0", "part-2"]


def test_what_cannot_begin_is_no_broken_upload(archive: Path) -> None:
    with (
        scripted(Answer(413, {"error": {"message": "too large"}})) as script,
        client_of(script) as client,
        pytest.raises(ApiError, match="too large"),
    ):
        client.files.upload(archive, part_bytes=16)


def test_a_file_is_downloaded_whole(tmp_path: Path) -> None:
    with scripted(Answer(200, DATA)) as script, client_of(script) as client:
        assert client.files.download("file-1", tmp_path / "copy") == len(DATA)
    assert (tmp_path / "copy").read_bytes() == DATA
    assert isinstance(client, Spindle)
