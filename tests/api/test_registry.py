"""Registered names over HTTP: promoted, split, taken back; usable wherever a model is."""

import xml.etree.ElementTree as ET

from tests.api.platform import Running
from tests.api.test_images import FOX, PATH, serving
from tests.api.test_models import result

PORTRAIT = "/v1/registry/portrait"
PRODUCTION = f"{PORTRAIT}/aliases/production"
REFUSED: list[tuple[str, str, dict[str, object] | None, int, str]] = [
    ("POST", "/v1/registry", {"name": "tiny"}, 409, "name"),
    ("POST", "/v1/registry", {"name": "a b"}, 422, "name"),
    ("POST", "/v1/registry/none/versions", {"model": "tiny"}, 404, "name"),
    ("POST", "/v1/registry/new/versions", {"model": "tiny", "create": True}, 422, "model"),
    ("POST", "/v1/registry/new/versions", {"model": "none", "create": True}, 404, "model"),
    ("PUT", PRODUCTION, {"version": 9}, 404, "version"),
    ("PUT", PRODUCTION, {"version": 1, "split": {"version": 2, "share": 1.0}}, 422, "split.share"),
    ("PUT", f"{PORTRAIT}/aliases/latest", {"version": 1}, 422, "alias"),
    ("POST", f"{PRODUCTION}/rollback", {}, 404, "alias"),
    ("PATCH", PORTRAIT, {}, 422, "description"),
    ("GET", f"{PORTRAIT}/versions/0", None, 422, "version"),
    ("GET", f"{PORTRAIT}/versions/99999999999", None, 422, "version"),
]


def promoted(platform: Running) -> tuple[str, str]:
    """Register a result as version 1 and a checkpoint of its job as version 2; return both."""
    model = result(platform)
    job = platform.client.get(f"/v1/models/{model}").json()["job"]
    saved = platform.client.get(f"/v1/fine_tuning/jobs/{job}/checkpoints").json()["data"][0]["id"]
    for each in (model, saved):
        made = platform.client.post(f"{PORTRAIT}/versions", json={"model": each, "create": True})
        assert made.status_code == 200, made.text
    return model, saved


def key_id(platform: Running) -> str:
    return str(platform.client.get("/v1/keys").json()["data"][0]["id"])


def test_a_model_is_promoted_in_one_call(embedded: Running) -> None:
    model = result(embedded)
    body = {"model": model, "notes": "first", "alias": "production", "create": True}
    made = embedded.client.post(f"{PORTRAIT}/versions", json=body).json()
    assert made == {
        "id": "portrait@1",
        "object": "registry.version",
        "name": "portrait",
        "version": 1,
        "model": model,
        "notes": "first",
        "created": made["created"],
        "created_by": key_id(embedded),
        "aliases": ["production"],
    }
    name = embedded.client.get(PORTRAIT).json()
    assert (name["versions"], name["latest"]) == (1, 1)
    assert name["aliases"] == [{"alias": "production", "version": 1, "split": None}]
    assert embedded.client.get("/v1/registry").json()["data"] == [name]
    assert embedded.client.get(f"/v1/models/{model}").json()["registered"] == ["portrait@1"]
    for other in ("portrait", "portrait@1", "portrait@production"):
        assert embedded.client.get(f"/v1/models/{other}").json()["id"] == model


def test_an_alias_moves_splits_and_goes_back(platform: Running) -> None:
    promoted(platform)
    split = {"version": 2, "share": 0.1}
    for body in (
        {"version": 1, "expected": 0},
        {"version": 1, "split": split},
        {"version": 2, "expected": 1},
    ):
        moved = platform.client.put(PRODUCTION, json=body)
        assert moved.status_code == 200, moved.text
    stale = platform.client.put(PRODUCTION, json={"version": 1, "expected": 1})
    assert (stale.status_code, stale.json()["error"]["code"]) == (409, "alias_moved")
    back = platform.client.post(f"{PRODUCTION}/rollback").json()
    assert (back["id"], back["version"], back["split"]) == ("portrait@production", 1, split)
    history = platform.client.get(f"{PRODUCTION}/history").json()["data"]
    assert [(m["number"], m["cause"], m["version"], m["restores"]) for m in history] == [
        (4, "rollback", 1, 2),
        (3, "set", 2, None),
        (2, "set", 1, None),
        (1, "set", 1, None),
    ]
    assert {m["created_by"] for m in history} == {key_id(platform)}
    assert platform.client.get(f"{PORTRAIT}/versions/2").json()["aliases"] == ["production"]


def test_what_is_served_is_protected(embedded: Running) -> None:
    model, _ = promoted(embedded)
    embedded.client.put(PRODUCTION, json={"version": 1})
    for path, code in (
        (f"/v1/models/{model}", "model_registered"),
        (f"{PORTRAIT}/versions/1", "version_in_use"),
        (PORTRAIT, "name_in_use"),
    ):
        refused = embedded.client.delete(path)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, code), path
    for path in (PRODUCTION, f"{PORTRAIT}/versions/1", f"/v1/models/{model}", PORTRAIT):
        assert embedded.client.delete(path).status_code == 200, path
    assert embedded.client.get("/v1/registry").json()["data"] == []


def test_pictures_and_jobs_take_registered_names(embedded: Running) -> None:
    model, saved = promoted(embedded)
    embedded.client.put(PRODUCTION, json={"version": 1})
    with serving(embedded):
        drawn = embedded.client.post(PATH, json=FOX | {"model": "portrait@production"})
    assert drawn.status_code == 200, drawn.text
    job = embedded.job(model="portrait@2")
    assert job["model"] == saved
    assert embedded.job(model="portrait@production")["model"] == model


def test_what_cannot_be_is_told_and_changes_nothing(embedded: Running) -> None:
    promoted(embedded)
    before = embedded.counts()
    for verb, path, body, status, param in REFUSED:
        refused = embedded.client.request(verb, path, json=body)
        assert (refused.status_code, refused.json()["error"]["param"]) == (status, param), refused.text
        assert embedded.counts() == before, path
    # What is said of a name and of a version can be changed, and nothing else of them.
    changed = embedded.client.patch(PORTRAIT, json={"description": "Foxes."}).json()
    assert changed["description"] == "Foxes."
    noted = embedded.client.patch(f"{PORTRAIT}/versions/1", json={"notes": "Soft."}).json()
    assert (noted["notes"], noted["version"]) == ("Soft.", 1)
    assert embedded.client.patch(f"{PORTRAIT}/versions/1", json={"notes": None}).json()["notes"] is None


def test_a_lineage_reaches_from_the_data_to_the_picture_and_is_drawn(embedded: Running) -> None:
    model, _ = promoted(embedded)
    embedded.client.put(PRODUCTION, json={"version": 1, "split": {"version": 2, "share": 0.25}})
    with serving(embedded):
        asked = FOX | {"model": "portrait@production", "request_key": "user-7"}
        drawn = embedded.client.post(PATH, json=asked).json()
        embedded.client.post(PATH, json=FOX | {"model": model})
    child = embedded.job(model=model)["id"]
    found = embedded.client.get("/v1/models/portrait@1/lineage").json()
    types = {node["id"]: node["type"] for node in found["nodes"]}
    assert set(types.values()) >= {
        "dataset", "job", "iteration", "checkpoint", "model", "version", "alias", "picture"
    }  # fmt: skip
    assert found["id"] == model
    assert types[child] == "job"
    edges = {tuple(each) for each in found["edges"]}
    split = embedded.client.get("/v1/models/portrait@2/lineage").json()
    shown = [tuple(each) for graph in (found, split) for each in graph["edges"]]
    assert ("portrait@production", drawn["id"]) in shown
    assert {(model, "portrait@1"), ("portrait@1", "portrait@production"), (model, child)} <= edges
    assert {each for pair in edges for each in pair} <= set(types)
    assert found["data"][0]["id"] == model
    answer = embedded.client.get("/v1/models/portrait/lineage.svg")
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.headers["content-security-policy"] == "default-src 'none'; style-src 'unsafe-inline'"
    drawing = ET.fromstring(answer.text)  # noqa: S314  our own answer
    texts = [each.text for each in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert {"DATASET", "JOB", "ITERATION", "CHECKPOINT", "VERSION", "portrait@2"} <= set(texts)
    assert "prefers-color-scheme: dark" in answer.text
    assert "<script" not in answer.text
