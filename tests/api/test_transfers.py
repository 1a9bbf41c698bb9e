"""Models that leave and come, over HTTP: asked for, polled, downloaded; and their cards."""

import hashlib
import io
import json
import struct
import zipfile
from typing import Any

import yaml

from spin_engine.config import JobConfig
from tests.api.platform import Running
from tests.api.test_models import result


def safetensors(shapes: dict[str, tuple[int, ...]] | None = None) -> bytes:
    """Return a small safetensors file of zeros."""
    header: dict[str, Any] = {}
    end = 0
    for name, shape in (shapes or {"lora_unet_x.lora_down.weight": (2, 4)}).items():
        begin, size = end, 4
        for side in shape:
            size *= side
        end = begin + size
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(end)


def test_a_model_is_exported_once_and_downloaded_in_ranges(platform: Running) -> None:
    model = result(platform)
    path = f"/v1/models/{model}/exports"
    made = platform.client.post(path, json={"format": "diffusers"}).json()
    assert (made["id"][:4], made["status"], made["model"], made["bytes"]) == ("exp-", "pending", model, None)
    early = platform.client.get(f"{path}/diffusers/content")
    assert (early.status_code, early.json()["error"]["code"]) == (409, "export_not_ready")
    again = platform.client.post(path, json={"format": "diffusers"}).json()
    assert again["id"] == made["id"]
    platform.work()
    done = platform.client.get(f"{path}/diffusers").json()
    assert done["status"] == "ready"
    assert platform.client.get(path).json()["data"] == [done]
    content = platform.client.get(f"{path}/diffusers/content")
    assert content.headers["content-type"] == "application/zip"
    assert hashlib.sha256(content.content).hexdigest() == done["sha256"]
    assert len(content.content) == done["bytes"]
    part = platform.client.get(f"{path}/diffusers/content", headers={"Range": "bytes=4-9"})
    assert (part.status_code, part.content) == (206, content.content[4:10])
    known = {"If-None-Match": content.headers["etag"]}
    assert platform.client.get(f"{path}/diffusers/content", headers=known).status_code == 304


def test_what_has_no_lora_is_not_exported_as_one(embedded: Running) -> None:
    model = result(embedded)
    before = embedded.counts()
    for form in ("lora", "comfyui", "a1111"):
        refused = embedded.client.post(f"/v1/models/{model}/exports", json={"format": form})
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "no_lora")
    refused = embedded.client.post(f"/v1/models/{model}/exports", json={"format": "onnx"})
    assert refused.status_code == 422
    assert embedded.client.get(f"/v1/models/{model}/exports/lora").status_code == 404
    assert embedded.counts() == before


def test_a_lora_is_imported_and_used_like_any_model(platform: Running) -> None:
    file = platform.upload(safetensors(), "fox.safetensors")
    missing = platform.client.post("/v1/models/imports", json={"file": file})
    assert (missing.status_code, missing.json()["error"]["param"]) == (422, "base_model")
    body = {"file": file, "name": "fox", "base_model": "tiny", "licence": "mit", "notes": "by hand"}
    made = platform.client.post("/v1/models/imports", json=body).json()
    assert (made["status"], made["model"], made["base_model"]) == ("pending", None, "tiny")
    busy = platform.client.delete(f"/v1/files/{file}")
    assert (busy.status_code, busy.json()["error"]["code"]) == (409, "file_in_use")
    platform.work()
    done = platform.client.get(f"/v1/models/imports/{made['id']}").json()
    assert (done["status"], done["failure"]) == ("ready", None)
    model = platform.client.get(f"/v1/models/{done['model']}").json()
    assert (model["kind"], model["base_model"]) == ("imported", "tiny")
    assert done["model"] in [each["id"] for each in platform.client.get("/v1/models").json()["data"]]
    job = platform.job(model=done["model"])
    assert job["model"] == done["model"]
    registered = {"model": done["model"], "create": True}
    version = platform.client.post("/v1/registry/fox/versions", json=registered).json()
    assert version["model"] == done["model"]
    assert platform.client.delete(f"/v1/models/{done['model']}").status_code == 409
    nodes = platform.client.get("/v1/models/fox/lineage").json()["nodes"]
    assert {"file", "model", "version"} <= {each["type"] for each in nodes}


def test_what_is_no_model_is_refused_with_the_reason(platform: Running) -> None:
    made = platform.client.post("/v1/models/imports", json={"file": platform.upload()}).json()
    platform.work()
    done = platform.client.get(f"/v1/models/imports/{made['id']}").json()
    assert (done["status"], done["model"]) == ("failed", None)
    assert done["failure"]["reason"] == "user_error"
    assert "the archive has no model_index.json" in done["failure"]["message"]
    assert not list(platform.store.list("imports/"))


def test_a_card_tells_the_facts(platform: Running) -> None:
    model = result(platform)
    answer = platform.client.get(f"/v1/models/{model}/card")
    assert answer.headers["content-type"].startswith("text/markdown")
    _, matter, body = answer.text.split("---\n", 2)
    told = yaml.safe_load(matter)
    assert (told["base_model"], told["pipeline_tag"], told["library_name"]) == (
        "tiny",
        "text-to-image",
        "diffusers",
    )
    assert (told["license"], told["base_model_relation"]) == ("unknown", "finetune")
    for heading in ("## Data", "## Method", "## Metrics", "## Lineage", "## Licences", "## How to reproduce"):
        assert heading in body, heading
    facts = platform.client.get(f"/v1/models/{model}/card", headers={"Accept": "application/json"}).json()
    assert (facts["id"], facts["object"]) == (model, "model.card")
    training = facts["facts"]["training"]
    again = json.loads(body.split("```json\n")[1].split("```")[0])
    assert again == training["request"]
    alone = JobConfig.model_validate(yaml.safe_load(body.split("```yaml\n")[1].split("```")[0]))
    assert alone.method.model_dump(mode="json") == training["request"]["method"]
    remade = platform.client.post("/v1/fine_tuning/jobs", json=again)
    assert remade.status_code == 200, remade.text
    assert remade.json()["method"] == training["request"]["method"]


def test_an_exported_card_is_the_models(embedded: Running) -> None:
    model = result(embedded)
    embedded.client.post(f"/v1/models/{model}/exports", json={"format": "diffusers"})
    embedded.work()
    written = embedded.client.get(f"/v1/models/{model}/exports/diffusers/content").text
    assert written == embedded.client.get(f"/v1/models/{model}/card").text


def test_another_projects_exports_and_imports_do_not_exist(embedded: Running) -> None:
    model = result(embedded)
    embedded.client.post(f"/v1/models/{model}/exports", json={"format": "diffusers"})
    made = embedded.client.post("/v1/models/imports", json={"file": embedded.upload()}).json()
    embedded.work()
    strange = embedded.other_project()
    for path in (f"{model}/exports", f"{model}/exports/diffusers/content", f"imports/{made['id']}"):
        assert embedded.client.get(f"/v1/models/{path}", headers=strange).status_code == 404, path
    assert embedded.client.get("/v1/models/imports", headers=strange).json()["data"] == []


def zipped(files: dict[str, bytes]) -> bytes:
    """Return a zip of files."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return sink.getvalue()
