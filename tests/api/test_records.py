"""What a job leaves behind: pages of events, numbers, previews and checkpoints."""

from tests.api.platform import Running

JOBS = "/v1/fine_tuning/jobs"


def finished(platform: Running) -> str:
    job = platform.job()
    platform.work()
    return f"{JOBS}/{job['id']}"


def test_events_are_listed_newest_first_without_a_gap(platform: Running) -> None:
    address = finished(platform)
    newest = platform.client.get(f"{address}/events", params={"limit": 3}).json()
    assert newest["data"][0]["type"] == "state"
    assert newest["data"][0]["data"]["state"] == "succeeded"
    seqs = [event["seq"] for event in newest["data"]]
    while newest["has_more"]:
        newest = platform.client.get(
            f"{address}/events", params={"limit": 20, "after": newest["last_id"]}
        ).json()
        seqs += [event["seq"] for event in newest["data"]]
    assert seqs == list(range(len(seqs), 0, -1))
    assert {"state", "metrics", "checkpoint", "evaluation", "iteration", "model"} <= {
        event["type"]
        for event in platform.client.get(f"{address}/events", params={"limit": 100}).json()["data"]
    }


def test_metrics_are_series_in_order(platform: Running) -> None:
    address = finished(platform)
    page = platform.client.get(f"{address}/metrics", params={"names": "loss"}).json()
    points = [(each["iteration"], each["step"], each["value"]) for each in page["data"]]
    assert points == [(1, 1, 0.5), (1, 2, 0.25), (2, 1, 0.5), (2, 2, 0.25)]
    assert page["has_more"] is False
    first = platform.client.get(f"{address}/metrics", params={"names": "loss", "limit": 3}).json()
    rest = platform.client.get(
        f"{address}/metrics", params={"names": "loss", "after": first["last_id"]}
    ).json()
    assert first["has_more"] is True
    assert first["data"] + rest["data"] == page["data"]
    names = {each["name"] for each in platform.client.get(f"{address}/metrics").json()["data"]}
    assert names == {"loss", "eval/style"}


def test_samples_have_links_that_anyone_can_open(platform: Running) -> None:
    address = finished(platform)
    samples = platform.client.get(f"{address}/samples").json()["data"]
    assert [(each["iteration"], each["prompt"], each["seed"]) for each in samples] == [
        (iteration, "a red fox", 7) for iteration in (-1, 1, 2)
    ]
    picture = platform.follow(samples[0]["url"])
    assert picture.status_code == 200
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")
    one = platform.client.get(f"{address}/samples", params={"iteration": 2}).json()["data"]
    assert [each["iteration"] for each in one] == [2]


def test_checkpoints_are_listed_newest_first_and_are_models(platform: Running) -> None:
    address = finished(platform)
    found = platform.client.get(f"{address}/checkpoints").json()["data"]
    assert [(each["iteration"], each["step_number"]) for each in found] == [(2, 2), (1, 2)]
    newest = found[0]
    assert newest["object"] == "fine_tuning.job.checkpoint"
    assert newest["fine_tuning_job_id"] == address.rpartition("/")[2]
    assert newest["metrics"]["train_loss"] == newest["metrics"]["loss"] == 0.25
    model = platform.client.get(f"/v1/models/{newest['fine_tuned_model_checkpoint']}").json()
    assert (model["object"], model["kind"], model["base_model"]) == ("model", "checkpoint", "tiny")
    job = platform.job(model=newest["id"])
    assert job["model"] == newest["id"]


def test_a_wrong_cursor_or_name_is_refused(platform: Running) -> None:
    address = finished(platform)
    assert platform.client.get(f"{address}/events?after=evt-nothing").status_code in (404, 422)
    assert platform.client.get(f"{address}/checkpoints?after=ftckpt-nothing").status_code == 422
    assert platform.client.get(f"{address}/metrics?after=x").status_code == 422
    assert platform.client.get(f"{address}/samples?iteration=-2").status_code == 422
    assert platform.client.get(f"{address}/samples?after=1").status_code == 422
    assert platform.client.get(f"{address}/events?stream=true&limit=5").status_code == 422
