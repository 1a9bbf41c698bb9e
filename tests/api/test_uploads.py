"""Uploads over HTTP: in parts, straight to the store, resumed, refused without a trace."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai

from core import projects
from core.db import transaction
from core.keys import DEFAULT_PROJECT
from core.uploads.pieces import LARGEST_PART
from tests.api.platform import Running

DATA = b"".join(number.to_bytes(4, "big") for number in range(45_000))
PART = 65536
ASKED = {"filename": "a.zip", "purpose": "fine-tune", "mime_type": "application/zip", "bytes": len(DATA)}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def slices(data: bytes = DATA) -> list[bytes]:
    return [data[at : at + PART] for at in range(0, len(data), PART)]


def begin(platform: Running, **more: Any) -> dict[str, Any]:
    made = platform.client.post("/v1/uploads", json=ASKED | more)
    assert made.status_code == 200, made.text
    return dict(made.json())


def send(platform: Running, upload: dict[str, Any], data: bytes, **headers: str) -> httpx2.Response:
    return platform.client.post(
        f"/v1/uploads/{upload['id']}/parts", files={"data": ("part", data)}, headers=headers
    )


def complete(platform: Running, upload: dict[str, Any], part_ids: list[str], **more: Any) -> httpx2.Response:
    return platform.client.post(
        f"/v1/uploads/{upload['id']}/complete", json={"part_ids": part_ids, **more.pop("body", {})}, **more
    )


def put(platform: Running, part: dict[str, Any], data: bytes) -> httpx2.Response:
    """Send bytes to a part's address as anyone could, without a key: to this app, or to the store itself."""
    if not part["url"].startswith(platform.settings.public_url):
        return httpx2.put(part["url"], content=data, headers=part["headers"], timeout=60)
    path = part["url"].removeprefix(platform.settings.public_url)
    return platform.client.put(path, content=data, headers=part["headers"] | {"Authorization": ""})


def test_a_file_in_parts(platform: Running) -> None:
    upload = begin(
        platform, sha256=sha256(DATA).upper(), expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert (upload["object"], upload["status"], upload["bytes"]) == ("upload", "pending", len(DATA))
    assert upload["id"].startswith("upload-")
    assert upload["expires_at"] == upload["created_at"] + 24 * 3600
    assert (upload["file"], upload["part_urls"], upload["direct"]) == (None, None, False)
    assert (upload["part_bytes"], upload["received_bytes"]) == (LARGEST_PART, 0)
    parts = [send(platform, upload, data, **{"X-Content-SHA256": sha256(data)}).json() for data in slices()]
    assert {part["object"] for part in parts} == {"upload.part"}
    assert [part["bytes"] for part in parts] == [len(data) for data in slices()]
    done = complete(platform, upload, [part["id"] for part in parts]).json()
    assert (done["status"], done["received_bytes"]) == ("completed", len(DATA))
    file = done["file"]
    assert (file["bytes"], file["sha256"], file["filename"]) == (len(DATA), sha256(DATA), "a.zip")
    assert file["expires_at"] == file["created_at"] + 3600
    assert platform.client.get(f"/v1/files/{file['id']}").json() == file
    assert platform.client.get(f"/v1/files/{file['id']}/content").content == DATA
    assert platform.client.get(f"/v1/uploads/{upload['id']}").json() == done
    before = platform.counts()
    assert complete(platform, upload, [part["id"] for part in parts]).json() == done
    assert platform.counts() == before | {"audit_entry": before["audit_entry"] + 1}


def test_a_lost_connection_is_taken_up_by_what_is_there(platform: Running) -> None:
    upload = begin(platform)
    sent = [send(platform, upload, data).json() for data in slices()[:2]]
    before = platform.counts()
    assert send(platform, upload, slices()[1]).json() == sent[1]  # its answer was lost
    assert platform.counts() == before | {"audit_entry": before["audit_entry"] + 1}
    path = f"/v1/uploads/{upload['id']}/parts"
    listed = platform.client.get(path, params={"order": "asc"}).json()
    assert listed["data"] == sent
    assert platform.client.get(path, params={"limit": 1}).json()["data"] == [sent[1]]
    known = {part["sha256"]: part["id"] for part in listed["data"] if part["received"]}
    ids = [known.get(sha256(data)) or send(platform, upload, data).json()["id"] for data in slices()]
    assert complete(platform, upload, ids).json()["file"]["sha256"] == sha256(DATA)


def test_parts_go_straight_to_the_store(platform: Running) -> None:
    digests = [sha256(data) for data in slices()]
    upload = begin(platform, direct=True, part_bytes=PART, part_sha256=digests, sha256=sha256(DATA))
    urls = upload["part_urls"]
    assert (upload["direct"], upload["part_bytes"], len(urls)) == (True, PART, 3)
    assert [(url["number"], url["offset"], url["bytes"]) for url in urls] == [
        (0, 0, PART),
        (1, PART, PART),
        (2, 2 * PART, len(DATA) - 2 * PART),
    ]
    assert {url["method"] for url in urls} == {"PUT"}
    assert all(url["expires_at"] == upload["expires_at"] for url in urls)
    assert put(platform, urls[0], slices()[0]).status_code == 200
    path = f"/v1/uploads/{upload['id']}/parts"
    listed = platform.client.get(path, params={"order": "asc"}).json()["data"]
    assert [part["received"] for part in listed] == [True, False, False]
    ids = [part["id"] for part in listed]
    early = complete(platform, upload, ids)
    assert (early.status_code, early.json()["error"]["code"]) == (422, "part_missing")
    again = platform.client.get(f"/v1/uploads/{upload['id']}").json()
    assert [url["id"] for url in again["part_urls"]] == ids
    for url, data in zip(again["part_urls"][1:], slices()[1:], strict=True):
        assert put(platform, url, data).status_code == 200
    done = complete(platform, upload, ids).json()
    assert (done["status"], done["part_urls"], done["file"]["sha256"]) == ("completed", None, sha256(DATA))
    assert platform.client.get(f"/v1/files/{done['file']['id']}/content").content == DATA


def test_an_address_takes_only_the_bytes_it_was_made_for(platform: Running) -> None:
    digests = [sha256(data) for data in slices()]
    upload = begin(platform, direct=True, part_bytes=PART, part_sha256=digests)
    first, second, _ = upload["part_urls"]
    for data in (slices()[0] + b"1", slices()[0][1:], slices()[1]):
        assert put(platform, first, data).status_code in (400, 403, 422)
    for wrong in (
        first | {"url": first["url"].replace(first["id"], second["id"])},
        first | {"url": first["url"].replace("xpires=", "xpires=9")},
    ):
        assert put(platform, wrong, slices()[0]).status_code in (400, 403, 404)
    assert list(platform.store.list("uploads/")) == []


def test_a_body_without_a_length_is_held_to_the_addresss(embedded: Running) -> None:
    upload = begin(embedded, direct=True, part_bytes=PART)
    path = upload["part_urls"][0]["url"].removeprefix(embedded.settings.public_url)

    def body(size: int) -> Iterator[bytes]:
        for _ in range(size // 1024):
            yield b"x" * 1024

    for size in (PART - 1024, PART + 1024, 10 * PART):
        refused = embedded.client.put(path, content=body(size))
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "wrong_bytes")
    assert list(embedded.store.list("")) == []
    assert embedded.client.put(path, content=body(PART)).status_code == 200


WRONG: list[tuple[dict[str, Any], int, str]] = [
    ({"bytes": 0}, 422, "bytes"),
    ({"bytes": (1 << 20) + 1}, 413, "bytes"),
    ({"purpose": "assistants"}, 422, "purpose"),
    ({"filename": "a/"}, 422, "filename"),
    ({"mime_type": "a\nb"}, 422, "mime_type"),
    ({"sha256": "abc"}, 422, "sha256"),
    ({"part_bytes": PART}, 422, "part_bytes"),
    ({"part_sha256": ["0" * 64]}, 422, "part_sha256"),
    ({"direct": True, "part_bytes": 1}, 422, "part_bytes"),
    ({"direct": True, "part_bytes": PART, "part_sha256": ["0" * 64]}, 422, "part_sha256"),
    ({"expires_after": {"anchor": "created_at", "seconds": 1}}, 422, "expires_after.seconds"),
    ({"resume": True}, 422, "resume"),
]


def test_a_wrong_beginning_is_refused(platform: Running) -> None:
    before = platform.counts()
    for more, status, param in WRONG:
        answer = platform.client.post("/v1/uploads", json=ASKED | more)
        assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
    assert platform.counts() == before
    assert platform.client.get("/v1/project").json()["stored_bytes"] == 0


def test_a_wrong_part_is_refused_and_leaves_nothing(platform: Running) -> None:
    upload = begin(platform)
    path = f"/v1/uploads/{upload['id']}/parts"
    before = platform.counts()
    sent: list[tuple[dict[str, Any], int, str]] = [
        ({"files": {"data": ("p", b"x")}, "data": {"purpose": "x"}}, 422, "extra_forbidden"),
        ({"files": {"file": ("p", b"x")}}, 422, "missing"),
        ({"json": {"data": "x"}}, 422, "not_multipart"),
        ({"files": {"data": ("p", b"x")}, "headers": {"X-Content-SHA256": "0" * 64}}, 422, "sha256_mismatch"),
        ({"files": {"data": ("p", b"x")}, "headers": {"X-Content-SHA256": "0"}}, 422, "bad_sha256"),
        ({"files": {"data": ("p", DATA + b"1")}}, 422, "too_many_bytes"),
    ]
    for given, status, code in sent:
        answer = platform.client.post(path, **given)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert platform.counts() == before


def test_a_part_over_the_limit_is_413(embedded: Running) -> None:
    upload = begin(embedded)
    headers = {
        "Content-Type": "multipart/form-data; boundary=B",
        "Content-Length": str(LARGEST_PART + 100_000),
    }
    answer = embedded.client.post(f"/v1/uploads/{upload['id']}/parts", content=b"", headers=headers)
    assert answer.status_code == 413


def test_a_file_that_is_another_is_refused_and_its_parts_stay(platform: Running) -> None:
    upload = begin(platform)
    ids = [send(platform, upload, data).json()["id"] for data in slices()]
    before = platform.counts()
    for body, code in (({"sha256": "0" * 64}, "sha256_mismatch"), ({"md5": "0" * 32}, "md5_mismatch")):
        answer = complete(platform, upload, ids, body=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)
    missing = complete(platform, upload, [*ids[:2], "part-x"])
    assert missing.json()["error"]["param"] == "part_ids"
    assert platform.counts() == before
    right = {"md5": hashlib.md5(DATA).hexdigest(), "sha256": sha256(DATA)}  # noqa: S324  as OpenAI's clients
    assert complete(platform, upload, ids, body=right).status_code == 200


def test_the_same_key_does_it_once(platform: Running) -> None:
    once = {"Idempotency-Key": "begin"}
    first = platform.client.post("/v1/uploads", json=ASKED, headers=once)
    before = platform.counts()
    assert platform.client.post("/v1/uploads", json=ASKED, headers=once).json() == first.json()
    upload = first.json()
    first_part = send(platform, upload, slices()[0], **{"Idempotency-Key": "part"})
    again = send(platform, upload, slices()[0], **{"Idempotency-Key": "part"})
    assert (again.json(), again.headers["idempotent-replayed"]) == (first_part.json(), "true")
    reused = send(platform, upload, slices()[1], **{"Idempotency-Key": "part"})
    assert reused.json()["error"]["code"] == "idempotency_key_reused"
    assert platform.counts()["upload_part"] == 1
    ids = [send(platform, upload, data).json()["id"] for data in slices()]
    key = {"Idempotency-Key": "end"}
    wrong = complete(platform, upload, ids[::-1][:1], headers=key)
    assert wrong.status_code == 422
    done = complete(platform, upload, ids, headers=key)
    assert done.json()["status"] == "completed"
    replayed = complete(platform, upload, ids, headers=key)
    assert (replayed.json(), replayed.headers["idempotent-replayed"]) == (done.json(), "true")
    other = complete(platform, upload, ids, headers=key, body={"md5": "0" * 32})
    assert other.json()["error"]["code"] == "idempotency_key_reused"
    assert before["upload"] == platform.counts()["upload"] == 1


def test_a_cancelled_upload_takes_nothing_more(platform: Running) -> None:
    upload = begin(platform)
    part = send(platform, upload, slices()[0]).json()
    path = f"/v1/uploads/{upload['id']}/cancel"
    assert platform.client.post(path).json()["status"] == "cancelled"
    assert platform.client.post(path).json()["status"] == "cancelled"
    for answer in (send(platform, upload, b"x"), complete(platform, upload, [part["id"]])):
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "upload_cancelled")
        assert answer.headers["x-should-retry"] == "false"
    assert platform.client.get("/v1/project").json()["stored_bytes"] == 0


def test_a_project_stores_no_more_than_it_may(platform: Running) -> None:
    with transaction(platform.database) as session:
        projects.set_limits(session, project_id=DEFAULT_PROJECT, limits={"max_bytes": 100})
    before = platform.counts()
    too_much = [
        platform.client.post("/v1/uploads", json=ASKED | {"bytes": 101}),
        platform.client.post("/v1/files", files={"file": ("a", b"x" * 101)}, data={"purpose": "fine-tune"}),
    ]
    for answer in too_much:
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "storage_exceeded")
        assert answer.headers["retry-after"] == "60"
    assert platform.counts() == before
    platform.upload(b"x" * 100)
    told = platform.client.get("/v1/project").json()
    assert (told["max_bytes"], told["stored_bytes"]) == (100, 100)


def test_another_projects_upload_does_not_exist(platform: Running) -> None:
    upload = begin(platform)
    other = platform.other_project()
    path = f"/v1/uploads/{upload['id']}"
    answers = [
        platform.client.get(path, headers=other),
        platform.client.get(f"{path}/parts", headers=other),
        send(platform, upload, b"x", **other),
        complete(platform, upload, ["part-x"], headers=other),
        platform.client.post(f"{path}/cancel", headers=other),
    ]
    assert [answer.status_code for answer in answers] == [404] * 5
    assert platform.client.get(path).json()["status"] == "pending"


def test_the_official_client_uploads_in_parts(platform: Running, tmp_path: Path) -> None:
    client = openai.OpenAI(
        base_url="http://testserver/v1", api_key=platform.secret, http_client=platform.client
    )
    upload = client.uploads.create(**ASKED)  # type: ignore[arg-type]  # a purpose among strings
    parts = [client.uploads.parts.create(upload.id, data=data) for data in slices()]
    done = client.uploads.complete(
        upload.id,
        part_ids=[part.id for part in parts],
        md5=hashlib.md5(DATA).hexdigest(),  # noqa: S324
    )
    assert done.file is not None
    assert (done.status, done.file.bytes) == ("completed", len(DATA))
    assert client.files.content(done.file.id).read() == DATA
    path = tmp_path / "large.zip"
    path.write_bytes(DATA[::-1])
    chunked = client.uploads.upload_file_chunked(
        file=path, mime_type="application/zip", purpose="fine-tune", part_size=PART
    )
    assert chunked.file is not None
    assert client.files.content(chunked.file.id).read() == DATA[::-1]
    given_up = client.uploads.create(**ASKED)  # type: ignore[arg-type]
    assert client.uploads.cancel(given_up.id).status == "cancelled"
    kept = client.files.create(
        file=("a.zip", b"short"), purpose="fine-tune", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert kept.expires_at == kept.created_at + 3600
