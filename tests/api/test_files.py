"""Files: streamed in and out, measured, refused without a trace."""

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from core import files
from tests.api.platform import Running


def send(platform: Running, data: bytes, **headers: str) -> Any:
    return platform.client.post(
        "/v1/files", files={"file": ("a.zip", data)}, data={"purpose": "fine-tune"}, headers=headers
    )


def test_a_file_comes_back_as_it_was_sent(platform: Running) -> None:
    data = bytes(range(256)) * 3000
    made = send(platform, data).json()
    assert made["object"] == "file"
    assert made["id"].startswith("file-")
    assert (made["bytes"], made["filename"], made["purpose"]) == (len(data), "a.zip", "fine-tune")
    assert made["sha256"] == hashlib.sha256(data).hexdigest()
    assert isinstance(made["created_at"], int)
    assert platform.client.get(f"/v1/files/{made['id']}").json() == made
    content = platform.client.get(f"/v1/files/{made['id']}/content")
    assert content.content == data
    assert content.headers["content-length"] == str(len(data))


def test_the_sha256_is_held_against_what_was_told(platform: Running) -> None:
    data = b"some bytes"
    right, wrong = hashlib.sha256(data).hexdigest(), "0" * 64
    before = platform.counts()
    for headers, fields in (
        ({"X-Content-SHA256": wrong}, {}),
        ({}, {"sha256": wrong}),
        ({"X-Content-SHA256": right}, {"sha256": wrong}),
    ):
        answer = platform.client.post(
            "/v1/files",
            files={"file": ("a.zip", data)},
            data={"purpose": "fine-tune"} | fields,
            headers=headers,
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "sha256_mismatch")
        assert platform.counts() == before
    assert send(platform, data, **{"X-Content-SHA256": right.upper()}).json()["sha256"] == right


def test_twins_are_stored_once_and_each_lives_alone(platform: Running) -> None:
    one, two = (send(platform, b"twins").json() for _ in range(2))
    assert one["id"] != two["id"]
    assert len(list(platform.store.list("files/"))) == 1
    assert platform.client.get("/v1/project").json()["stored_bytes"] == 5
    platform.client.delete(f"/v1/files/{one['id']}")
    files.purge(platform.database, platform.store)
    assert platform.client.get(f"/v1/files/{two['id']}/content").content == b"twins"
    platform.client.delete(f"/v1/files/{two['id']}")
    files.purge(platform.database, platform.store)
    assert list(platform.store.list("files/")) == []
    assert platform.client.get("/v1/project").json()["stored_bytes"] == 0


def test_a_wrong_time_or_digest_is_refused(embedded: Running) -> None:
    anchor, seconds = "expires_after[anchor]", "expires_after[seconds]"
    before = embedded.counts()
    for form, param in (
        ({anchor: "created_at"}, seconds),
        ({seconds: "3600"}, anchor),
        ({anchor: "created_at", seconds: "60"}, seconds),
        ({anchor: "deleted_at", seconds: "3600"}, anchor),
        ({"sha256": "short"}, "sha256"),
    ):
        answer = embedded.client.post(
            "/v1/files", files={"file": ("a.zip", b"x")}, data={"purpose": "fine-tune"} | form
        )
        assert (answer.status_code, answer.json()["error"]["param"]) == (422, param)
        assert embedded.counts() == before


def test_files_are_listed_newest_first_in_pages(platform: Running) -> None:
    ids = [platform.upload(f"{n}".encode(), f"{n}.zip") for n in range(5)][::-1]
    first = platform.client.get("/v1/files", params={"limit": 2}).json()
    assert ([each["id"] for each in first["data"]], first["has_more"]) == (ids[:2], True)
    assert (first["first_id"], first["last_id"]) == (ids[0], ids[1])
    rest = platform.client.get("/v1/files", params={"limit": 3, "after": first["last_id"]}).json()
    assert ([each["id"] for each in rest["data"]], rest["has_more"]) == (ids[2:], False)
    oldest = platform.client.get("/v1/files", params={"order": "asc", "limit": 1}).json()
    assert oldest["data"][0]["id"] == ids[-1]


def test_a_deleted_file_is_gone(platform: Running) -> None:
    file_id = platform.upload(b"x")
    gone = platform.client.delete(f"/v1/files/{file_id}")
    assert gone.json() == {"id": file_id, "object": "file", "deleted": True}
    assert platform.client.get(f"/v1/files/{file_id}").status_code == 404
    assert platform.client.get("/v1/files").json()["data"] == []


@pytest.mark.parametrize("told", [True, False], ids=["with a Content-Length", "without one"])
def test_a_file_over_the_limit_is_413_and_leaves_nothing(platform: Running, told: bool) -> None:
    before = platform.counts()
    data = b"x" * (platform.settings.max_file_bytes + 1)
    if told:
        answer = send(platform, data + b"y" * 100_000)
    else:
        head = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\n'

        def body() -> Iterator[bytes]:
            yield head
            for at in range(0, len(data), 65536):
                yield data[at : at + 65536]
            yield b"\r\n--B--\r\n"

        answer = platform.client.post(
            "/v1/files", content=body(), headers={"Content-Type": "multipart/form-data; boundary=B"}
        )
    assert answer.status_code == 413
    assert "bytes" in answer.json()["error"]["message"]
    assert platform.counts() == before


@pytest.mark.parametrize(
    ("form", "param", "words"),
    [
        ({}, "purpose", "required"),
        ({"purpose": "assistants"}, "purpose", "must be one of fine-tune, user_data"),
        ({"purpose": "fine-tune", "purpos": "x"}, "purpos", "unknown field"),
    ],
)
@pytest.mark.parametrize("file_first", [False, True])
def test_a_wrong_form_is_refused_and_leaves_nothing(
    platform: Running, form: dict[str, str], param: str, words: str, file_first: bool
) -> None:
    before = platform.counts()
    fields = [(name, (None, value)) for name, value in form.items()]
    file = [("file", ("a.zip", b"data"))]
    parts: list[Any] = file + fields if file_first else fields + file
    answer = platform.client.post("/v1/files", files=parts)
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == param
    assert words in answer.json()["error"]["message"]
    assert platform.counts() == before


def test_a_body_that_is_no_form_is_refused(platform: Running) -> None:
    before = platform.counts()
    answer = platform.client.post("/v1/files", json={"file": "x"})
    assert answer.status_code == 422
    assert "multipart/form-data" in answer.json()["error"]["message"]
    assert platform.counts() == before


def test_the_same_key_uploads_once_whatever_the_boundary(platform: Running) -> None:
    first = send(platform, b"same", **{"Idempotency-Key": "k"})
    before = platform.counts()
    again = send(platform, b"same", **{"Idempotency-Key": "k"})
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    other = send(platform, b"other", **{"Idempotency-Key": "k"})
    assert other.status_code == 422
    assert other.json()["error"]["code"] == "idempotency_key_reused"
    assert platform.counts() == before


def test_bytes_that_are_gone_are_told_before_the_answer_begins(platform: Running) -> None:
    file_id = platform.upload(b"mine")
    for key in list(platform.store.list("files/")):
        platform.store.delete(key)
    answer = platform.client.get(f"/v1/files/{file_id}/content")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "object_gone")


def test_another_projects_file_does_not_exist(platform: Running) -> None:
    file_id = platform.upload(b"mine")
    other = platform.other_project()
    for path in (f"/v1/files/{file_id}", f"/v1/files/{file_id}/content"):
        assert platform.client.get(path, headers=other).status_code == 404
    assert platform.client.delete(f"/v1/files/{file_id}", headers=other).status_code == 404
    assert platform.client.get("/v1/files", headers=other).json()["data"] == []
    assert platform.client.get(f"/v1/files/{file_id}").status_code == 200
