"""A job from file to model, and many requests at the same moment."""

from concurrent.futures import ThreadPoolExecutor

from tests.api.platform import Running, archive

JOBS = "/v1/fine_tuning/jobs"


def test_a_job_goes_from_file_to_model(platform: Running) -> None:
    body = {
        "model": "tiny",
        "training_file": platform.upload(archive(3)),
        "method": {"type": "spin"},
        "metadata": {"team": "a"},
    }
    job = platform.client.post(JOBS, json=body).json()
    assert job["status"] == "validating_files"
    platform.work()
    done = platform.client.get(f"{JOBS}/{job['id']}").json()
    assert done["status"] == "succeeded"
    assert [each["id"] for each in platform.client.get(f"{JOBS}?metadata[team]=a").json()["data"]] == [
        job["id"]
    ]
    assert platform.client.get(f"{JOBS}?metadata[team]=b").json()["data"] == []
    events = platform.client.get(f"{JOBS}/{job['id']}/events?limit=100").json()["data"]
    assert [event["seq"] for event in events] == list(range(len(events), 0, -1))
    assert platform.client.get(f"{JOBS}/{job['id']}/metrics?names=loss").json()["data"][0]["value"] == 0.5
    assert len(platform.client.get(f"{JOBS}/{job['id']}/samples").json()["data"]) == 3
    assert platform.client.get(f"/v1/models/{done['fine_tuned_model']}").json()["kind"] == "result"
    assert platform.client.get("/metrics").status_code == 200


def test_the_same_key_at_the_same_moment_makes_one_job(platform: Running) -> None:
    body = {"model": "tiny", "training_file": platform.dataset(), "method": {"type": "sft"}}

    def post(_: int) -> tuple[int, str]:
        answer = platform.client.post(JOBS, json=body, headers={"Idempotency-Key": "k"})
        return answer.status_code, answer.json().get("id")

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(post, range(8)))
    [(status, job_id)] = answers
    assert status == 200
    assert [job["id"] for job in platform.client.get(JOBS).json()["data"]] == [job_id]


def test_versions_of_a_name_are_counted_one_by_one(platform: Running) -> None:
    file_id = platform.upload()

    def post(_: int) -> int:
        answer = platform.client.post("/v1/datasets", json={"name": "same", "file": file_id})
        return int(answer.json()["version"])

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(post, range(6))) == [1, 2, 3, 4, 5, 6]


def test_a_nul_character_is_refused(platform: Running) -> None:
    before = platform.counts()
    method = {"type": "spin", "spin": {"a\0": 1}}
    for path, body in [
        ("/v1/keys", {"name": "a\0b"}),
        (JOBS, {"model": "tiny", "training_file": "x", "method": method}),
        ("/v1/images/generations", {"model": "tiny", "prompt": "\0"}),
    ]:
        assert platform.client.post(path, json=body).status_code == 422
    assert platform.client.get("/v1/files/file-%00").status_code in (404, 422)
    assert platform.client.get("/v1/files?after=%00").status_code == 422
    assert platform.counts() == before
