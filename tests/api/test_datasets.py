"""Datasets: made in the background, versions that count, rows that can be looked at."""

import pytest

from tests.api.platform import Running, archive


def test_a_dataset_validates_in_the_background_and_tells_its_rows(platform: Running) -> None:
    file_id = platform.upload(archive(3, extra={"bad.png": b"no picture", "bad.txt": b"words"}))
    made = platform.client.post("/v1/datasets", json={"name": "set", "file": file_id}).json()
    assert made["id"].startswith("ds-")
    assert (made["object"], made["version"], made["status"], made["file"]) == (
        "dataset",
        1,
        "validating",
        file_id,
    )
    assert (made["rows"], made["rejected"]) == (None, [])
    assert platform.work() == 1
    ready = platform.client.get(f"/v1/datasets/{made['id']}").json()
    assert (ready["status"], ready["rows"]) == ("ready", 3)
    assert len(ready["sha256"]) == 64
    assert ready["statistics"]["rows"] == 3
    page = platform.client.get(f"/v1/datasets/{made['id']}/rows", params={"limit": 2}).json()
    assert [(row["index"], row["caption"]) for row in page["data"]] == [(0, "picture 0"), (1, "picture 1")]
    assert page["data"][0]["thumbnail"].startswith("data:image/")
    assert page["has_more"] is True
    last = platform.client.get(f"/v1/datasets/{made['id']}/rows", params={"after": page["last_id"]}).json()
    assert [row["index"] for row in last["data"]] == [2]
    assert last["has_more"] is False


def test_a_row_that_is_no_picture_is_listed_with_its_reason(platform: Running) -> None:
    lines = b'{"file_name": "0.png", "text": "good"}\n{"file_name": "bad.png", "text": "bad"}'
    file_id = platform.upload(archive(1, captions=False, extra={"bad.png": b"no", "metadata.jsonl": lines}))
    made = platform.client.post("/v1/datasets", json={"name": "set", "file": file_id}).json()
    platform.work()
    ready = platform.client.get(f"/v1/datasets/{made['id']}").json()
    assert (ready["status"], ready["rows"]) == ("ready", 1)
    [rejected] = ready["rejected"]
    assert (rejected["file"], rejected["row"]) == ("bad.png", 2)
    assert rejected["reason"]


@pytest.mark.parametrize(
    "data",
    [b"", b"PK\x03\x04 truncated", b"plain words", archive(0)],
    ids=["empty", "cut", "no zip", "no rows"],
)
def test_a_file_that_holds_no_dataset_fails_and_says_why(platform: Running, data: bytes) -> None:
    made = platform.client.post("/v1/datasets", json={"name": "set", "file": platform.upload(data)}).json()
    objects = platform.counts()["objects"]
    platform.work()
    failed = platform.client.get(f"/v1/datasets/{made['id']}").json()
    assert failed["status"] == "failed"
    assert failed["failure"]["reason"] == "user_error"
    assert failed["failure"]["message"]
    assert platform.counts()["objects"] == objects
    rows = platform.client.get(f"/v1/datasets/{made['id']}/rows")
    assert rows.status_code == 409


def test_a_name_counts_its_versions_and_lists_newest_first(platform: Running) -> None:
    file_id = platform.upload()
    made = [
        platform.client.post("/v1/datasets", json={"name": name, "file": file_id}).json()
        for name in ("a", "a", "b")
    ]
    assert [each["version"] for each in made] == [1, 2, 1]
    listed = platform.client.get("/v1/datasets").json()
    assert [each["id"] for each in listed["data"]] == [each["id"] for each in reversed(made)]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": "set", "file": "file-unknown"}, "file"),
        ({"name": "", "file": "FILE"}, "name"),
        ({"name": "../x", "file": "FILE"}, "name"),
        ({"name": "set"}, "file"),
        ({"name": "set", "file": "FILE", "shuffle": True}, "shuffle"),
        ({"name": 3, "file": "FILE"}, "name"),
    ],
)
def test_a_wrong_request_is_refused_and_changes_nothing(
    platform: Running, body: dict[str, object], param: str
) -> None:
    file_id = platform.upload()
    before = platform.counts()
    told = {key: file_id if value == "FILE" else value for key, value in body.items()}
    answer = platform.client.post("/v1/datasets", json=told)
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == param
    assert platform.counts() == before


def test_another_projects_dataset_and_file_do_not_exist(platform: Running) -> None:
    dataset, file_id = platform.dataset(), platform.upload()
    other = platform.other_project()
    assert platform.client.get(f"/v1/datasets/{dataset}", headers=other).status_code == 404
    assert platform.client.get(f"/v1/datasets/{dataset}/rows", headers=other).status_code == 404
    before = platform.counts()
    body = {"name": "x", "file": file_id}
    assert platform.client.post("/v1/datasets", json=body, headers=other).status_code == 422
    assert platform.counts() == before
