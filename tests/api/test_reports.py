"""A job as a whole: curves of few points, preview pictures at lasting addresses, the report."""

import io
import re
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import update

from core.db import transaction
from core.models import Sample, UnitKind
from core.runs import claims, units
from tests.api.platform import WORK, Running, png

JOBS = "/v1/fine_tuning/jobs"


def finished(platform: Running, **more: Any) -> str:
    job = platform.job(**more)
    platform.work()
    return str(job["id"])


def test_the_report_of_a_job_is_one_file_with_its_pictures(platform: Running) -> None:
    job_id = finished(platform, suffix="portraits")
    answer = platform.client.get(f"{JOBS}/{job_id}/report")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''portraits-report.html"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe-inline" not in policy
    pictures = re.findall(r'src="(data:image/[^"]+)"', answer.text)
    assert len(pictures) == 3  # base, and two iterations
    assert "a red fox" in answer.text
    assert "<script" not in answer.text
    assert "pictures version 1" in answer.text


def test_the_datas_own_picture_stands_beside_its_caption(embedded: Running) -> None:
    job_id = finished(embedded)
    with transaction(embedded.database) as session:
        session.execute(update(Sample).values(prompt="picture 0"))
    page = embedded.client.get(f"{JOBS}/{job_id}/report").text
    assert 'alt="picture 0, the real picture" src="data:image/webp;base64,' in page


def test_the_same_facts_are_told_as_json(platform: Running) -> None:
    job_id = finished(platform)
    told = platform.client.get(f"{JOBS}/{job_id}/report", headers={"Accept": "application/json"}).json()
    assert (told["object"], told["status"], told["compared_with"]) == (
        "fine_tuning.job.report",
        "succeeded",
        None,
    )
    assert [each["label"] for each in told["columns"]] == ["Base", "SPIN 1", "SPIN 2"]
    assert told["columns"][1]["measured"]["style"] == {"value": 0.5, "low": 0.4, "high": 0.6}
    assert told["columns"][2]["model"].startswith("ft:tiny:")
    assert told["measures"][0]["better"] is None  # the fake worker's own measure is judged by nobody
    assert told["headline"] == "Nothing was measured"


def test_another_job_stands_beside_it(platform: Running) -> None:
    dataset = platform.dataset()
    sft = finished(platform, training_file=dataset, method={"type": "sft"})
    spin = finished(platform, training_file=dataset)
    asked = {"params": {"with": sft}, "headers": {"Accept": "application/json"}}
    told = platform.client.get(f"{JOBS}/{spin}/report", **asked).json()  # type: ignore[arg-type]
    assert [(each["label"], each["role"], each["job"]) for each in told["columns"]] == [
        ("Base", "base", spin),
        ("SFT", "other", sft),
        ("SPIN 1", "own", spin),
        ("SPIN 2", "own", spin),
    ]
    assert told["settings"]["steps"] == "SFT 4 · SPIN 3, 2"
    page = platform.client.get(f"{JOBS}/{spin}/report", params={"with": sft}).text
    assert len(re.findall(r'src="(data:image/[^"]+)"', page)) == 4
    missing = platform.client.get(f"{JOBS}/{spin}/report", params={"with": "ftjob-none"})
    assert missing.status_code == 404


@pytest.mark.parametrize("state", ["validating_files", "queued", "running", "paused", "failed", "cancelled"])
def test_there_is_a_report_in_any_state(embedded: Running, state: str) -> None:
    file = embedded.upload()
    job_id = embedded.job(training_file=file)["id"]
    path = f"{JOBS}/{job_id}"
    if state != "validating_files":
        _ingest(embedded)
    if state in ("running", "failed"):
        with transaction(embedded.database) as session:
            claim = claims.claim_unit(session, worker="w", lease_seconds=30)
        assert claim is not None
        if state == "failed":
            with transaction(embedded.database) as session:
                units.fail_unit(session, claim, reason="user_error", message="no pictures in it")
    if state in ("paused", "cancelled"):
        embedded.client.post(f"{path}/{state.removesuffix('d').removesuffix('le')}")
    assert embedded.client.get(path).json()["status"] == state
    answer = embedded.client.get(f"{path}/report")
    assert answer.status_code == 200
    assert answer.text.rstrip().endswith("</html>")
    if state == "failed":
        assert "What was given cannot be used.</b> No pictures in it." in answer.text


def _ingest(platform: Running) -> None:
    with transaction(platform.database) as session:
        claim = claims.claim_unit(session, worker="w", lease_seconds=30, kinds=(UnitKind.ingest,))
    assert claim is not None
    WORK[UnitKind.ingest](platform, claim)


def test_a_preview_keeps_its_address(platform: Running) -> None:
    job_id = finished(platform)
    path = f"{JOBS}/{job_id}/samples/content"
    answer = platform.client.get(path, params={"iteration": 1, "index": 0})
    assert (answer.headers["content-type"], answer.headers["cache-control"]) == (
        "image/png",
        "private, max-age=3600",
    )
    assert answer.content == png(1)
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.size == (16, 16)
    known = {"If-None-Match": answer.headers["etag"]}
    assert platform.client.get(path, params={"iteration": 1}, headers=known).status_code == 304
    for wrong, status in (({"iteration": 9}, 404), ({"iteration": 1, "index": 9}, 404), ({}, 422)):
        assert platform.client.get(path, params=wrong).status_code == status


def test_curves_have_few_points(platform: Running) -> None:
    job_id = finished(platform)
    told = platform.client.get(f"{JOBS}/{job_id}/curves", params={"names": "loss"}).json()
    assert [(each["name"], each["iteration"]) for each in told["data"]] == [("loss", 1), ("loss", 2)]
    assert told["data"][0]["points"] == [
        {"step": 1, "value": 0.5, "low": 0.5, "high": 0.5},
        {"step": 2, "value": 0.25, "low": 0.25, "high": 0.25},
    ]
    assert platform.client.get(f"{JOBS}/{job_id}/curves", params={"points": 1}).status_code == 422
