"""Jobs: the smallest body works, everything is resolved and told, mistakes are named and change nothing."""

from typing import Any

import pytest

from core.db import transaction
from core.runs import claims, units
from spin_engine.config import HYPERPARAMETERS, METHODS
from tests.api.platform import Running

JOBS = "/v1/fine_tuning/jobs"


def test_a_minimal_job_is_told_with_everything_resolved(platform: Running) -> None:
    job = platform.job()
    hyperparameters = job["method"]["spin"]["hyperparameters"]
    assert (job["object"], job["status"], job["model"]) == ("fine_tuning.job", "queued", "tiny")
    assert (hyperparameters["n_iterations"], hyperparameters["steps"]) == (2, [3, 2])  # the model's own
    assert hyperparameters["rival_steps"] == 20  # the paper's
    assert "auto" not in str(job["method"])
    assert job["hyperparameters"] == hyperparameters
    assert 0 <= job["seed"] < 2**31
    assert job["queue_position"] == 1
    assert (job["pause_requested"], job["cancel_requested"], job["failure"], job["error"]) == (
        False,
        False,
        None,
        None,
    )
    assert [(each["iteration"], each.get("objective")) for each in job["iterations"]] == [
        (-1, None),
        (1, "spin"),
        (2, "spin"),
    ]
    assert {each["kind"] for each in job["attempts"]} == {
        "encode",
        "generate",
        "train",
        "evaluate",
        "publish",
    }
    assert platform.client.get(f"{JOBS}/{job['id']}").json() == job


def test_what_is_asked_for_wins_over_the_recommended(platform: Running) -> None:
    given = {"n_iterations": 1, "steps": 7, "learning_rate": "auto"}
    method = {"type": "spin", "spin": {"hyperparameters": given}}
    more = {"seed": 5, "suffix": "fox", "metadata": {"team": "a"}, "priority": 3}
    job = platform.job(method=method, **more)
    told = job["method"]["spin"]["hyperparameters"]
    assert (told["n_iterations"], told["steps"], told["learning_rate"]) == (1, 7, 0.001)
    assert {name: job[name] for name in more} == more


def test_a_job_says_which_checkpoints_it_keeps(platform: Running) -> None:
    assert platform.job()["retention"] is None
    job = platform.job(retention={"keep_last": 2, "best_by": "eval/style"})
    assert job["retention"] == {"keep_last": 2, "best_by": "eval/style", "best": "lowest"}
    before = platform.counts()
    body = {"model": "tiny", "training_file": job["training_file"], "method": {"type": "spin"}}
    answer = platform.client.post(JOBS, json=body | {"retention": {"keep_last": 0}})
    assert answer.status_code == 422
    assert "retention.keep_last" in answer.text
    assert platform.counts() == before


def test_a_file_in_place_of_a_dataset_is_validated_first(platform: Running) -> None:
    file_id = platform.upload()
    body = {"model": "tiny", "training_file": file_id, "method": {"type": "sft"}}
    job = platform.client.post(JOBS, json=body).json()
    assert (job["status"], job["attempts"]) == ("validating_files", [])
    assert job["training_file"].startswith("ds-")
    platform.work(at_most=1)
    assert platform.client.get(f"{JOBS}/{job['id']}").json()["status"] == "queued"
    again = platform.client.post(JOBS, json=body).json()
    assert again["training_file"] == job["training_file"]


def test_a_job_whose_file_holds_no_pictures_fails_and_says_so(platform: Running) -> None:
    body = {"model": "tiny", "training_file": platform.upload(b"no zip"), "method": {"type": "sft"}}
    job = platform.client.post(JOBS, json=body).json()
    platform.work()
    failed = platform.client.get(f"{JOBS}/{job['id']}").json()
    assert failed["status"] == "failed"
    assert failed["failure"]["reason"] == failed["error"]["code"] == "user_error"
    assert job["training_file"] in failed["error"]["message"]


def test_a_job_that_is_worked_on_ends_with_a_model(platform: Running) -> None:
    job = platform.job(suffix="fox")
    platform.work()
    done = platform.client.get(f"{JOBS}/{job['id']}").json()
    assert done["status"] == "succeeded"
    assert done["fine_tuned_model"].startswith("ft:tiny:fox:")
    assert done["finished_at"] >= done["started_at"] >= done["created_at"]
    assert done["queue_position"] is None
    assert done["iterations"][-1]["evaluation"] == {"style": 0.5}
    assert {each["state"] for each in done["attempts"]} == {"succeeded"}
    actual = done["estimate"]["actual"]
    assert actual["seconds"] == pytest.approx(done["finished_at"] - done["started_at"], abs=1.1)
    stored = sum(
        platform.store.stat(key).size for key in platform.store.list("jobs/") if "/samples/" not in key
    )
    shards = sum(platform.store.stat(key).size for key in platform.store.list("datasets/") if "shard-" in key)
    assert actual["disk_bytes"] == stored + shards
    assert actual["memory_bytes"] is None  # no process was measured


def test_jobs_wait_in_the_order_of_priority(platform: Running) -> None:
    dataset = platform.dataset()
    first = platform.job(training_file=dataset)
    second = platform.job(training_file=dataset, priority=5)
    assert second["queue_position"] == 1
    assert platform.client.get(f"{JOBS}/{first['id']}").json()["queue_position"] == 2
    listed = platform.client.get(JOBS).json()["data"]
    assert [each["id"] for each in listed] == [second["id"], first["id"]]


def test_jobs_are_found_by_their_metadata(platform: Running) -> None:
    mine = platform.job(metadata={"team": "a"})
    platform.job(metadata={"team": "b"})
    found = platform.client.get(JOBS, params={"metadata[team]": "a"}).json()["data"]
    assert [each["id"] for each in found] == [mine["id"]]


def test_cancel_pause_and_resume_are_told(platform: Running) -> None:
    job = platform.job()
    address = f"{JOBS}/{job['id']}"
    assert platform.client.post(f"{address}/pause").json()["status"] == "paused"
    assert platform.work() == 0
    assert platform.client.post(f"{address}/resume").json()["status"] == "queued"
    assert platform.client.post(f"{address}/cancel").json()["status"] == "cancelled"
    late = platform.client.post(f"{address}/resume")
    assert late.status_code == 409
    assert "cancelled" in late.json()["error"]["message"]
    assert late.headers["x-should-retry"] == "false"


def test_a_job_that_runs_is_asked_to_stop(platform: Running) -> None:
    address = f"{JOBS}/{platform.job()['id']}"
    with transaction(platform.database) as session:
        claim = claims.claim_unit(session, worker="w", lease_seconds=30)
    assert claim is not None
    paused = platform.client.post(f"{address}/pause").json()
    assert (paused["status"], paused["pause_requested"]) == ("running", True)
    cancelled = platform.client.post(f"{address}/cancel").json()
    assert (cancelled["status"], cancelled["cancel_requested"]) == ("running", True)
    assert [each["state"] for each in cancelled["attempts"] if each["kind"] == "encode"] == ["running"]
    with transaction(platform.database) as session:
        units.release_unit(session, claim, cancelled=True)
    assert platform.client.get(address).json()["status"] == "cancelled"


@pytest.mark.parametrize("kind", METHODS)
def test_every_method_is_taken_and_told_whole(platform: Running, kind: str) -> None:
    job = platform.job(method={"type": kind})
    assert job["method"]["type"] == kind
    assert set(job["method"][kind]["hyperparameters"]) == set(HYPERPARAMETERS[kind].model_fields)


@pytest.mark.parametrize(
    ("change", "status", "param", "words"),
    [
        ({"model": "nothing"}, 404, "model", "tiny"),
        ({"training_file": "ds-nothing"}, 404, "training_file", "ds-nothing"),
        ({"validation_file": "file-nothing"}, 404, "validation_file", "file-nothing"),
        ({"method": {"type": "ppo"}}, 422, "method.type", "spin, sft, dpo"),
        ({"method": {}}, 422, "method.type", "spin, sft"),
        ({"method": "spin"}, 422, "method", "dictionary"),
        (
            {"method": {"type": "spin", "spin": {"hyperparameters": {"learning_rate": -1}}}},
            422,
            "method.spin.hyperparameters.learning_rate",
            "greater than 0",
        ),
        (
            {"method": {"type": "spin", "spin": {"hyperparameters": {"beta_": 1}}}},
            422,
            "method.spin.hyperparameters.beta_",
            "unknown field",
        ),
        (
            {"method": {"type": "sft", "sft": {"hyperparameters": {"steps": "many"}}}},
            422,
            "method.sft.hyperparameters.steps",
            "integer",
        ),
        ({"method": {"type": "sft", "spin": {}}}, 422, "method.spin", "unknown field"),
        ({"n_epochs": 3}, 422, "n_epochs", "unknown field"),
        ({"seed": -1}, 422, "seed", "greater than or equal to 0"),
        ({"suffix": "a b"}, 422, "suffix", "pattern"),
        ({"metadata": {"a": 1}}, 422, "metadata.a", "string"),
        ({"priority": 1000}, 422, "priority", "100"),
        ({"model": None}, 422, "model", "string"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_changes_nothing(
    platform: Running, change: dict[str, Any], status: int, param: str, words: str
) -> None:
    body = {"model": "tiny", "training_file": platform.dataset(), "method": {"type": "spin"}} | change
    before = platform.counts()
    answer = platform.client.post(JOBS, json=body)
    told = answer.json()
    assert (answer.status_code, told["error"]["param"]) == (status, param), answer.text
    assert words in told["error"]["message"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert platform.counts() == before


@pytest.mark.parametrize("query", ["foo=1", "limit=0", "limit=101", "after=ftjob-nothing", "metadata=x"])
def test_a_wrong_query_is_refused(platform: Running, query: str) -> None:
    answer = platform.client.get(f"{JOBS}?{query}")
    assert answer.status_code == 422
    assert answer.json()["error"]["message"]


def test_another_projects_job_does_not_exist(platform: Running) -> None:
    job = platform.job()
    other = platform.other_project()
    before = platform.client.get(f"{JOBS}/{job['id']}").json()
    for method, path in [
        ("GET", ""),
        ("POST", "/cancel"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("GET", "/events"),
        ("GET", "/events?stream=true"),
        ("GET", "/metrics"),
        ("GET", "/samples"),
        ("GET", "/checkpoints"),
    ]:
        answer = platform.client.request(method, f"{JOBS}/{job['id']}{path}", headers=other)
        assert answer.status_code == 404, path
    assert platform.client.get(JOBS, headers=other).json()["data"] == []
    assert platform.client.get(f"{JOBS}/{job['id']}").json() == before
