"""Blind comparisons over HTTP: made, drawn, voted on without knowing who drew what, and told."""

import io
from typing import Any

import pytest
from PIL import Image

from tests.api.platform import Running, archive
from tests.comparing import draw_whole

COMPARISONS = "/v1/comparisons"


def compared(platform: Running, body: dict[str, Any]) -> dict[str, Any]:
    """Return a comparison whose pictures are drawn."""
    made = platform.client.post(COMPARISONS, json=body)
    assert made.status_code == 200, made.text
    draw_whole(platform.database, platform.store, made.json()["id"])
    return dict(platform.client.get(f"{COMPARISONS}/{made.json()['id']}").json())


def finished_job(platform: Running) -> dict[str, Any]:
    job = platform.job()
    platform.work()
    return dict(platform.client.get(f"/v1/fine_tuning/jobs/{job['id']}").json())


def ballot(platform: Running, comparison: dict[str, Any], **body: Any) -> dict[str, Any]:
    answer = platform.client.post(f"{COMPARISONS}/{comparison['id']}/ballots", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def vote(
    platform: Running, comparison: dict[str, Any], asked: dict[str, Any], choice: str, **more: Any
) -> Any:
    body = {"ballot": asked["id"], "choice": choice} | more
    return platform.client.post(f"{COMPARISONS}/{comparison['id']}/votes", json=body)


def test_an_iteration_against_the_one_before_it_is_one_click(platform: Running) -> None:
    job = finished_job(platform)
    found = compared(platform, {"job": job["id"], "iteration": 2})
    checkpoints = platform.client.get(f"/v1/fine_tuning/jobs/{job['id']}/checkpoints").json()["data"]
    [first] = [each["id"] for each in checkpoints if each["iteration"] == 1]
    assert found["models"] == [
        {"id": first, "name": first, "label": "iteration 1"},
        {"id": job["fine_tuned_model"], "name": job["fine_tuned_model"], "label": "iteration 2"},
    ]
    assert found["prompts"] == [{"prompt": "a red fox", "seeds": [7]}]
    assert (found["status"], found["drawn"], found["total"], found["failed"]) == ("ready", 2, 2, 0)
    assert (found["name"], found["job"], found["iteration"]) == (
        "iteration 2 against iteration 1",
        job["id"],
        2,
    )
    assert (found["steps"], found["guidance_scale"], found["size"]) == (20, 7.5, None)
    against_base = platform.client.post(COMPARISONS, json={"job": job["id"], "iteration": 1}).json()
    assert [each["label"] for each in against_base["models"]] == ["base", "iteration 1"]
    assert [each["id"] for each in against_base["models"]] == ["tiny", first]
    listed = platform.client.get(COMPARISONS, params={"job": job["id"]}).json()["data"]
    assert [each["id"] for each in listed] == [against_base["id"], found["id"]]
    assert all(each["results"] is None for each in listed)


def test_nothing_a_voter_gets_tells_which_model_drew_what(platform: Running) -> None:
    job = finished_job(platform)
    found = compared(platform, {"job": job["id"], "prompts": ["a fox", "a bird"], "seeds": [1, 2]})
    models = [each["id"] for each in found["models"]]
    voter = voting_key(platform)
    seen = set()
    for _ in range(4):
        asked = platform.client.post(
            f"{COMPARISONS}/{found['id']}/ballots", json={"voter": "ada"}, headers=voter
        )
        pictures = {}
        for side in ("left", "right"):
            answer = platform.client.get(asked.json()[side]["url"], headers=voter)
            assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
            told = asked.text + str(dict(answer.headers)) + answer.content.decode("latin-1")
            assert not any(model in told or model[-10:] in told for model in models)
            with Image.open(io.BytesIO(answer.content)) as picture:
                assert picture.info == {}
                pictures[side] = picture.tobytes()
        cast = vote_as(platform, voter, found, asked.json()["id"])
        assert set(cast.json()) == {"id", "object", "comparison", "ballot", "choice", "voter", "created"}
        assert pictures["left"] != pictures["right"]
        seen.add((asked.json()["prompt"], frozenset(pictures.values())))
    assert len(seen) == 4
    over = ask_as(platform, voter, found)
    assert (over.json()["id"], over.json()["left"], over.json()["remaining"]) == (None, None, 0)
    for path in (found["id"], f"{found['id']}/votes", f"{found['id']}/pictures"):
        assert platform.client.get(f"{COMPARISONS}/{path}", headers=voter).status_code == 403


def voting_key(platform: Running) -> dict[str, str]:
    made = platform.client.post("/v1/keys", json={"name": "voters", "scopes": ["serve"]}).json()
    return {"Authorization": f"Bearer {made['key']}"}


def ask_as(platform: Running, headers: dict[str, str], comparison: dict[str, Any]) -> Any:
    path = f"{COMPARISONS}/{comparison['id']}/ballots"
    return platform.client.post(path, json={"voter": "ada"}, headers=headers)


def vote_as(platform: Running, headers: dict[str, str], comparison: dict[str, Any], ballot_id: str) -> Any:
    body = {"ballot": ballot_id, "choice": "left"}
    return platform.client.post(f"{COMPARISONS}/{comparison['id']}/votes", json=body, headers=headers)


def test_votes_are_told_with_their_models_and_can_be_taken_back(platform: Running) -> None:
    job = finished_job(platform)
    found = compared(platform, {"job": job["id"], "prompts": ["a fox", "a bird"]})
    names = [each["id"] for each in found["models"]]
    first = ballot(platform, found, voter="ada")
    assert first["remaining"] == 2
    assert vote(platform, found, first, "right").status_code == 200
    again = vote(platform, found, first, "left")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "ballot_cast")
    second = ballot(platform, found, voter="ada")
    assert second["prompt"] != first["prompt"]
    assert vote(platform, found, second, "tie").json()["voter"] == "ada"
    path = f"{COMPARISONS}/{found['id']}"
    tie, won = platform.client.get(f"{path}/votes").json()["data"]
    assert (tie["choice"], tie["winner"], won["choice"], won["winner"]) == (
        "tie",
        None,
        "right",
        won["right"],
    )
    assert {won["left"], won["right"]} == set(names)
    told = platform.client.get(path).json()
    [contest] = told["results"]
    assert (contest["model"], contest["other"]) == (names[1], names[0])
    assert (contest["wins"] + contest["losses"], contest["ties"], told["votes"]) == (1, 1, 2)
    assert contest["rate"] == (0.75 if won["winner"] == names[1] else 0.25)
    assert [each["index"] for each in told["per_prompt"]] == [0, 1]
    hidden = platform.client.get(path, params={"reveal": "false"}).json()
    assert [hidden[name] for name in ("results", "ranking", "agreement", "per_prompt")] == [None] * 4
    undone = platform.client.post(f"{path}/votes/undo", json={"voter": "ada"}).json()
    assert (undone["id"], undone["ballot"]["id"], undone["ballot"]["remaining"]) == (
        tie["id"],
        second["id"],
        1,
    )
    assert undone["ballot"]["left"]["url"] == second["left"]["url"]
    assert platform.client.get(path).json()["votes"] == 1
    assert vote(platform, found, second, "left").status_code == 200
    nobody = platform.client.post(f"{path}/votes/undo", json={"voter": "eve"})
    assert (nobody.status_code, nobody.json()["error"]["code"]) == (404, "vote_not_found")


def test_who_votes_is_the_key_unless_it_is_said(embedded: Running) -> None:
    job = finished_job(embedded)
    found = compared(embedded, {"job": job["id"], "prompts": ["a fox"]})
    asked = ballot(embedded, found)
    key = embedded.client.get("/v1/keys").json()["data"][-1]["id"]
    assert asked["voter"] == key
    assert vote(embedded, found, asked, "left", voter="bob").json()["voter"] == "bob"
    twice = ballot(embedded, found)
    refused = vote(embedded, found, twice, "left", voter="bob")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "already_voted")
    assert vote(embedded, found, twice, "tie").json()["voter"] == key


def test_votes_become_a_dataset_that_keeps_its_pictures(platform: Running) -> None:
    job = finished_job(platform)
    found = compared(platform, {"job": job["id"], "prompts": ["a fox", "a bird", "a cat"]})
    path = f"{COMPARISONS}/{found['id']}"
    nothing = platform.client.post(f"{path}/datasets", json={"name": "preferred"})
    assert (nothing.status_code, nothing.json()["error"]["code"]) == (409, "nothing_decided")
    for choice in ("left", "right", "tie"):
        vote(platform, found, ballot(platform, found), choice)
    made = platform.client.post(f"{path}/datasets", json={"name": "preferred"}).json()
    assert (made["status"], made["comparison"], made["file"]) == ("validating", found["id"], None)
    busy = platform.client.delete(path)
    assert (busy.status_code, busy.json()["error"]["code"]) == (409, "comparison_in_use")
    platform.work()
    ready = platform.client.get(f"/v1/datasets/{made['id']}").json()
    assert (ready["status"], ready["rows"], ready["statistics"]["pairs"]) == ("ready", 2, 2), ready["failure"]
    rows = platform.client.get(f"/v1/datasets/{made['id']}/rows").json()["data"]
    votes = platform.client.get(f"{path}/votes").json()["data"]
    won = {each["prompt"]: each for each in votes if each["winner"] is not None}
    assert {row["caption"] for row in rows} == set(won)
    assert platform.client.delete(path).json() == {
        "id": found["id"],
        "object": "comparison.deleted",
        "deleted": True,
    }
    assert platform.client.get(path).status_code == 404
    again = platform.client.get(f"/v1/datasets/{made['id']}/rows").json()["data"]
    assert again == rows


def test_the_lineage_of_what_is_trained_on_votes_leads_to_them(embedded: Running) -> None:
    job = finished_job(embedded)
    found = compared(embedded, {"job": job["id"], "prompts": ["a fox"]})
    vote(embedded, found, ballot(embedded, found), "left")
    path = f"{COMPARISONS}/{found['id']}"
    dataset = embedded.client.post(f"{path}/datasets", json={"name": "preferred"}).json()
    embedded.work()
    embedded.client.delete(path)
    learned = embedded.job(training_file=dataset["id"], method={"type": "dpo"})
    embedded.work()
    model = embedded.client.get(f"/v1/fine_tuning/jobs/{learned['id']}").json()["fine_tuned_model"]
    lineage = embedded.client.get(f"/v1/models/{model}/lineage").json()
    steps = lineage["data"]
    assert [each["type"] for each in steps][-3:] == ["dataset", "comparison", "model"]
    [told] = [each for each in steps if each["type"] == "comparison"]
    assert told == {
        "type": "comparison",
        "id": found["id"],
        "name": found["name"],
        "models": [each["id"] for each in found["models"]],
    }
    assert [found["id"], dataset["id"]] in lineage["edges"]
    [node] = [each for each in lineage["nodes"] if each["type"] == "comparison"]
    assert (node["votes"], node["deleted"], node["models"]) == (1, True, told["models"])
    assert "COMPARISON" in embedded.client.get(f"/v1/models/{model}/lineage.svg").text


def test_prompts_may_come_from_a_dataset(embedded: Running) -> None:
    job = finished_job(embedded)
    file_id = embedded.upload(archive(6))
    dataset = embedded.client.post("/v1/datasets", json={"name": "six", "file": file_id}).json()["id"]
    body = {"job": job["id"], "dataset": dataset, "prompts_from": 3}
    early = embedded.client.post(COMPARISONS, json=body)
    assert early.status_code == 409
    embedded.work()
    made = embedded.client.post(COMPARISONS, json=body | {"seeds": [4, 5]}).json()
    assert made["prompts"] == [{"prompt": f"picture {n}", "seeds": [4, 5]} for n in (0, 2, 4)]
    assert (made["dataset"], made["total"]) == (dataset, 12)
    many = embedded.client.post(COMPARISONS, json=body | {"prompts_from": 7})
    assert (many.status_code, many.json()["error"]["code"]) == (422, "too_few_captions")


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"prompts": ["x"]}, "models"),
        ({"models": ["tiny", "tiny"], "prompts": ["x"]}, "each once"),
        ({"models": ["tiny"], "prompts": ["x"]}, "models"),
        ({"models": ["tiny", "none"], "prompts": ["x"]}, "no model none"),
        ({"models": ["tiny", "other"]}, "prompts"),
        ({"models": ["tiny", "other"], "prompts": ["x", "x"]}, "each once"),
        ({"models": ["tiny", "other"], "prompts": ["x"], "dataset": "ds-1"}, "not both"),
        ({"models": ["tiny", "other"], "prompts": ["x"], "prompts_from": 3}, "dataset"),
        ({"models": ["tiny", "other"], "prompts": ["x"], "iteration": 1}, "job"),
        ({"models": ["tiny", "other"], "prompts": ["x"], "seeds": [1, 2, 3, 4, 5]}, "seeds"),
        ({"models": ["tiny", "other"], "prompts": ["x"], "size": "9x9"}, "multiple of 8"),
        ({"job": "ftjob-none", "iteration": 1}, "no job"),
    ],
    ids=str,
)
def test_what_cannot_be_compared_is_refused_and_nothing_is_made(
    embedded: Running, body: dict[str, Any], word: str
) -> None:
    before = embedded.counts()
    answer = embedded.client.post(COMPARISONS, json=body)
    assert answer.status_code in (404, 422), answer.text
    assert word in answer.text
    assert embedded.counts() == before
