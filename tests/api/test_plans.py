"""Before there is a job: estimates make nothing and refuse as jobs do; methods tell their presets."""

from typing import Any

import pytest
from sqlalchemy import update

from core.db import transaction
from core.models import Project
from tests.api.platform import Running

ESTIMATES = "/v1/fine_tuning/estimates"
METHODS = "/v1/fine_tuning/methods"


def body(training_file: str, **more: Any) -> dict[str, Any]:
    return {"model": "tiny", "training_file": training_file, "method": {"type": "spin"}} | more


def test_an_estimate_makes_nothing(platform: Running) -> None:
    dataset = platform.dataset()
    before = platform.counts()
    told = platform.client.post(ESTIMATES, json=body(dataset)).json()
    assert told["object"] == "fine_tuning.estimate"
    assert (told["steps"], told["rows"], told["seconds"], told["queue_position"]) == (5, 3, None, 1)
    assert told["method"]["spin"]["hyperparameters"]["n_iterations"] == 2
    assert told["refused"] is None
    assert told["waits_for"] == "a worker on queue default"  # none lives in this test
    assert platform.counts() == before


def test_an_estimate_learns_from_jobs_that_have_ended(platform: Running) -> None:
    dataset = platform.dataset()
    platform.job(training_file=dataset)
    platform.work()
    twice = {"type": "spin", "spin": {"hyperparameters": {"steps": [6, 4]}}}
    once, more = (
        platform.client.post(ESTIMATES, json=body(dataset, method=method)).json()
        for method in ({"type": "spin"}, twice)
    )
    assert more["steps"] == 2 * once["steps"] == 10
    assert more["seconds"] == pytest.approx(2 * once["seconds"], abs=0.11)


def test_a_place_in_the_queue_follows_priority(platform: Running) -> None:
    dataset = platform.dataset()
    for _ in range(2):
        platform.job(training_file=dataset)
    last, first = (
        platform.client.post(ESTIMATES, json=body(dataset, priority=priority)).json()["queue_position"]
        for priority in (0, 5)
    )
    assert (last, first) == (3, 1)


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"model": "nobody"}, 404, "model"),
        ({"training_file": "ds-nobody"}, 404, "training_file"),
        ({"validation_file": "ds-nobody"}, 404, "validation_file"),
        ({"method": {"type": "spinning"}}, 422, "method.type"),
        (
            {"method": {"type": "spin", "spin": {"hyperparameters": {"steps": [1, 2, 3]}}}},
            422,
            "method.spin.hyperparameters.steps",
        ),
        ({"priority": 1000}, 422, "priority"),
    ],
)
def test_mistakes_are_told_as_for_a_job(
    embedded: Running, change: dict[str, Any], status: int, param: str
) -> None:
    asked = body(embedded.dataset()) | change
    before = embedded.counts()
    for path in (ESTIMATES, "/v1/fine_tuning/jobs"):
        answer = embedded.client.post(path, json=asked)
        assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), path
    assert embedded.counts() == before


def test_a_file_without_a_dataset_gets_none(embedded: Running) -> None:
    file = embedded.upload()
    before = embedded.counts()
    told = embedded.client.post(ESTIMATES, json=body(file)).json()
    assert (told["rows"], told["disk_bytes"]) == (None, None)
    assert embedded.counts() == before


def test_what_limits_would_refuse_is_said_beforehand(embedded: Running) -> None:
    dataset = embedded.dataset()
    with transaction(embedded.database) as session:
        session.execute(update(Project).values(max_jobs=0))
    told = embedded.client.post(ESTIMATES, json=body(dataset)).json()
    assert told["refused"].startswith("the project has 0 open jobs and may have 0")
    refused = embedded.client.post("/v1/fine_tuning/jobs", json=body(dataset))
    assert refused.json()["detail"] == told["refused"]


def test_an_estimate_is_no_entry_of_the_audit_log(embedded: Running) -> None:
    dataset = embedded.dataset()
    for _ in range(2):
        answer = embedded.client.post(ESTIMATES, json=body(dataset), headers={"Idempotency-Key": "k"})
    assert answer.headers["idempotent-replayed"] == "true"
    told = embedded.client.get("/v1/audit").json()["data"]
    assert {each["route"] for each in told} == {"/v1/files", "/v1/datasets"}


def test_methods_are_told_as_a_model_recommends_them(embedded: Running) -> None:
    listed = embedded.client.get(METHODS, params={"model": "tiny"}).json()
    assert [each["type"] for each in listed["data"]][:3] == ["spin", "sft", "dpo"]
    spin, sft, dpo = listed["data"][:3]
    steps = next(each for each in spin["settings"] if each["name"] == "steps")
    assert (steps["kind"], steps["recommended"], steps["first"]) == ("values", [3, 2], True)
    assert steps["help"] == "Optimiser steps: one value, or a list with one value an iteration."
    assert [each["name"] for each in sft["presets"]] == ["recommended", "quick", "thorough"]
    assert (spin["plays_rounds"], dpo["needs_pairs"], sft["needs_pairs"]) == (True, True, False)
    own = embedded.client.get(METHODS).json()["data"][0]
    assert next(each for each in own["settings"] if each["name"] == "steps")["recommended"] == [50, 500, 200]
    assert embedded.client.get(METHODS, params={"model": "nobody"}).status_code == 404


def test_jobs_are_listed_by_state(platform: Running) -> None:
    dataset = platform.dataset()
    done = platform.job(training_file=dataset)["id"]
    platform.work()
    queued = platform.job(training_file=dataset)["id"]
    path = "/v1/fine_tuning/jobs"
    for status, found in (("succeeded", [done]), ("queued", [queued]), ("failed,succeeded", [done])):
        listed = platform.client.get(path, params={"status": status}).json()["data"]
        assert [each["id"] for each in listed] == found
    assert platform.client.get(path, params={"status": "sleeping"}).status_code == 422
    assert [each["progress"] for each in platform.client.get(path).json()["data"]] == [0.0, 1.0]
