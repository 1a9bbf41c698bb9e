"""Datasets: made in the background, versions that count, rows that can be looked at."""

import csv
import io
import json
from datetime import timedelta

import pytest

from core.clock import utcnow
from core.runs import garbage
from tests.api.platform import Running, archive, png
from tests.api.test_comparisons import COMPARISONS, ballot, compared, finished_job, vote


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


def test_every_rejected_row_is_paged(platform: Running) -> None:
    lines = [b'{"file_name": "0.png", "text": "good"}', *([b'{"file_name": "x\\u0000", "text": "bad"}'] * 3)]
    file_id = platform.upload(archive(1, captions=False, extra={"metadata.jsonl": b"\n".join(lines)}))
    made = platform.client.post("/v1/datasets", json={"name": "set", "file": file_id}).json()
    path = f"/v1/datasets/{made['id']}/rejected"
    assert platform.client.get(path).status_code == 409
    platform.work()
    page = platform.client.get(path, params={"limit": 2}).json()
    reason = "no such file in the archive"
    first = {
        "index": 0,
        "object": "dataset.rejected_row",
        "file": "x\\x00",
        "row": 2,
        "reason": reason,
    }
    assert page["data"][0] == first
    assert (page["last_id"], page["has_more"]) == ("1", True)
    last = platform.client.get(path, params={"after": page["last_id"]}).json()
    assert ([row["row"] for row in last["data"]], last["has_more"]) == ([4], False)
    assert platform.client.get(path, headers=platform.other_project()).status_code == 404


def test_more_bad_rows_than_are_tolerated_fail_the_dataset(platform: Running) -> None:
    file_id = platform.upload(archive(3, extra={"bad.png": b"no picture"}))
    for tolerance, status in ((0.2, "failed"), (0.25, "ready")):
        body = {"name": "set", "file": file_id, "tolerance": tolerance}
        made = platform.client.post("/v1/datasets", json=body).json()
        assert made["options"]["tolerance"] == tolerance
        platform.work()
        told = platform.client.get(f"/v1/datasets/{made['id']}").json()
        assert (told["status"], len(told["rejected"])) == (status, 1)
    told = platform.client.get("/v1/datasets").json()["data"][1]
    assert told["failure"]["message"].startswith(
        "1 of 4 rows are bad (25.0%), more than the tolerance of 20.0%"
    )


def test_a_split_makes_two_datasets_that_share_nothing(platform: Running) -> None:
    body = {"name": "set", "file": platform.upload(archive(6)), "split": {"validation": 0.5, "seed": 3}}
    training = platform.client.post("/v1/datasets", json=body).json()
    assert (training["part"], training["options"]["split"]["by"]) == ("training", "row")
    platform.work()
    parts = [
        platform.client.get(f"/v1/datasets/{each}").json() for each in (training["id"], training["sibling"])
    ]
    assert [(part["name"], part["status"], part["rows"]) for part in parts] == [
        ("set", "ready", 3),
        ("set.validation", "ready", 3),
    ]
    captions = [
        {row["caption"] for row in platform.client.get(f"/v1/datasets/{part['id']}/rows").json()["data"]}
        for part in parts
    ]
    assert captions[0] | captions[1] == {f"picture {number}" for number in range(6)}
    assert parts[0]["statistics"]["leakage"]["identical"] == 0
    found = platform.client.get(
        f"/v1/datasets/{parts[1]['id']}/overlap", params={"other": parts[0]["id"]}
    ).json()
    assert (found["object"], found["rows"], found["identical"]) == ("dataset.overlap", 3, 0)
    itself = platform.client.get(
        f"/v1/datasets/{parts[1]['id']}/overlap", params={"other": parts[1]["id"]}
    ).json()
    assert itself["identical"] == 3
    job = platform.job(training_file=parts[0]["id"], validation_file=parts[1]["id"])
    assert job["status"] == "queued"
    stranger = platform.other_project()
    for path in (f"{parts[1]['id']}", f"{parts[1]['id']}/overlap?other={parts[0]['id']}"):
        assert platform.client.get(f"/v1/datasets/{path}", headers=stranger).status_code == 404


def test_versions_of_a_name_are_listed_alone(platform: Running) -> None:
    file_id = platform.upload()
    for name in ("a", "b", "a"):
        platform.client.post("/v1/datasets", json={"name": name, "file": file_id})
    found = platform.client.get("/v1/datasets", params={"name": "a", "limit": 1}).json()
    assert ([each["version"] for each in found["data"]], found["has_more"]) == ([2], True)
    rest = platform.client.get("/v1/datasets", params={"name": "a", "after": found["last_id"]}).json()
    assert [each["version"] for each in rest["data"]] == [1]


def test_a_rows_picture_is_the_file_that_was_uploaded(platform: Running) -> None:
    dataset = platform.dataset()
    path = f"/v1/datasets/{dataset}/rows"
    found = platform.client.get(f"{path}/2/content")
    assert (found.content, found.headers["content-type"]) == (png(80), "image/png")
    again = platform.client.get(f"{path}/2/content", headers={"If-None-Match": found.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert platform.client.get(f"{path}/3/content").json()["error"]["code"] == "row_not_found"
    assert platform.client.get(f"{path}/2/content?loser=true").status_code == 404
    assert platform.client.get(f"{path}/0/content", headers=platform.other_project()).status_code == 404


def test_of_pairs_both_pictures_can_be_had(embedded: Running) -> None:
    lines = [{"file_name": "0.png", "loser_file_name": "1.png", "text": "better"}]
    table = {"metadata.jsonl": "\n".join(map(json.dumps, lines)).encode()}
    file_id = embedded.upload(archive(2, captions=False, extra=table))
    made = embedded.client.post("/v1/datasets", json={"name": "pairs", "file": file_id}).json()
    embedded.work()
    path = f"/v1/datasets/{made['id']}/rows/0/content"
    assert embedded.client.get(path).content == png(0)
    assert embedded.client.get(f"{path}?loser=true").content == png(40)


def test_refused_rows_come_as_a_table_that_no_spreadsheet_runs(platform: Running) -> None:
    lines = [{"file_name": name, "text": "x"} for name in ("0.png", "=1+1.png", "b.png")]
    table = "\n".join(map(json.dumps, lines)).encode()
    extra = {"=1+1.png": b"no", "b.png": b"no", "metadata.jsonl": table}
    file_id = platform.upload(archive(1, captions=False, extra=extra))
    made = platform.client.post("/v1/datasets", json={"name": "set", "file": file_id}).json()
    path = f"/v1/datasets/{made['id']}/rejected/content"
    assert platform.client.get(path).status_code == 409
    platform.work()
    answer = platform.client.get(path)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert [row[:2] for row in rows] == [["file", "row"], ["'=1+1.png", "2"], ["b.png", "3"]]


def test_a_dataset_is_deleted_unless_a_job_was_made_with_it(platform: Running) -> None:
    file_id = platform.upload(archive(8))
    body = {"name": "set", "file": file_id, "split": {"validation": 0.25}}
    made = platform.client.post("/v1/datasets", json=body).json()
    path = f"/v1/datasets/{made['id']}"
    assert platform.client.delete(path).status_code == 409  # it is being validated
    platform.work()
    job = platform.job(training_file=made["id"], validation_file=made["sibling"])
    for each in (made["id"], made["sibling"]):
        refused = platform.client.delete(f"/v1/datasets/{each}").json()["error"]
        assert refused["code"] == "dataset_in_use"
        assert job["id"] in refused["message"]
    again = platform.client.post("/v1/datasets", json=body | {"name": "free"}).json()
    platform.work()
    before = platform.counts()
    gone = platform.client.delete(f"/v1/datasets/{again['sibling']}").json()
    assert gone == {"id": again["sibling"], "object": "dataset", "deleted": True}
    after = platform.counts()
    assert {name: before[name] - after[name] for name in ("dataset", "unit", "file")} == {
        "dataset": 2,
        "unit": 1,
        "file": 0,
    }
    assert platform.client.get(f"/v1/datasets/{again['id']}").status_code == 404
    garbage.sweep(platform.database, platform.store, now=utcnow() + timedelta(days=2))
    assert list(platform.store.list(f"datasets/{again['id']}")) == []
    assert len(platform.client.get(f"{path}/rows").json()["data"]) == 6


def test_a_dataset_of_votes_is_deleted_with_what_it_was_made_of(embedded: Running) -> None:
    job = finished_job(embedded)
    found = compared(embedded, {"job": job["id"], "prompts": ["a fox"]})
    vote(embedded, found, ballot(embedded, found), "left")
    path = f"{COMPARISONS}/{found['id']}"
    made = embedded.client.post(f"{path}/datasets", json={"name": "preferred"}).json()
    embedded.work()
    before = embedded.counts()["dataset_pairs"]
    assert embedded.client.delete(f"/v1/datasets/{made['id']}").status_code == 200
    assert embedded.counts()["dataset_pairs"] == before - 1
    assert embedded.client.get(path).status_code == 200
