"""Models: listed, traced, downloaded, deleted."""

import io
import zipfile

from tests.api.platform import Running


def result(platform: Running) -> str:
    job = platform.job(suffix="fox")
    platform.work()
    return str(platform.client.get(f"/v1/fine_tuning/jobs/{job['id']}").json()["fine_tuned_model"])


def names_in(data: bytes) -> set[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return set(archive.namelist())


def test_base_models_and_results_are_listed(platform: Running) -> None:
    name = result(platform)
    found = {each["id"]: each for each in platform.client.get("/v1/models").json()["data"]}
    assert (found["tiny"]["kind"], found["tiny"]["owned_by"]) == ("base", "spindle")
    assert found["tiny"]["defaults"]["sft"]["steps"] == 4
    assert (found[name]["kind"], found[name]["base_model"]) == ("result", "tiny")
    assert found[name]["object"] == "model"
    assert isinstance(found[name]["created"], int)
    assert platform.client.get(f"/v1/models/{name}").json() == found[name]


def test_models_are_paged(platform: Running) -> None:
    name = result(platform)
    first = platform.client.get("/v1/models", params={"limit": 1}).json()
    assert ([each["id"] for each in first["data"]], first["has_more"]) == ([name], True)
    rest = platform.client.get("/v1/models", params={"after": name}).json()
    assert "tiny" in [each["id"] for each in rest["data"]]


def test_a_result_can_be_traced_to_its_data(platform: Running) -> None:
    name = result(platform)
    lineage = platform.client.get(f"/v1/models/{name}/lineage").json()
    assert (lineage["id"], lineage["object"]) == (name, "model.lineage")
    told = str(lineage["data"])
    for word in (name, "ftjob-", "ftckpt-", "ds-", "tiny"):
        assert word in told, word


def test_a_result_and_a_base_model_download_as_diffusers_folders(platform: Running) -> None:
    answer = platform.client.get(f"/v1/models/{result(platform)}/content")
    assert answer.headers["content-type"] == "application/zip"
    assert names_in(answer.content) == {"model_index.json", "unet/weights.safetensors"}
    base = platform.client.get("/v1/models/tiny/content")
    assert {"model_index.json", "unet/diffusion_pytorch_model.safetensors"} <= names_in(base.content)


def test_a_checkpoint_downloads_as_its_weights(platform: Running) -> None:
    job = platform.job()
    platform.work()
    listed = platform.client.get(f"/v1/fine_tuning/jobs/{job['id']}/checkpoints").json()["data"]
    answer = platform.client.get(f"/v1/models/{listed[0]['id']}/content")
    assert "pytorch_lora_weights.safetensors" in names_in(answer.content)


def test_a_result_can_be_deleted_a_base_model_cannot(platform: Running) -> None:
    name = result(platform)
    assert platform.client.delete(f"/v1/models/{name}").json() == {
        "id": name,
        "object": "model",
        "deleted": True,
    }
    assert platform.client.get(f"/v1/models/{name}").status_code == 404
    refused = platform.client.delete("/v1/models/tiny")
    assert refused.status_code == 409
    assert platform.client.get("/v1/models/tiny").status_code == 200


def test_another_projects_result_does_not_exist(platform: Running) -> None:
    name = result(platform)
    other = platform.other_project()
    for path in ("", "/lineage", "/content"):
        assert platform.client.get(f"/v1/models/{name}{path}", headers=other).status_code == 404
    assert platform.client.delete(f"/v1/models/{name}", headers=other).status_code == 404
    listed = [each["id"] for each in platform.client.get("/v1/models", headers=other).json()["data"]]
    assert "tiny" in listed
    assert name not in listed
    assert platform.client.get(f"/v1/models/{name}").status_code == 200
