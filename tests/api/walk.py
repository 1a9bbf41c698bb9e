"""Walks over every operation of the OpenAPI document, with real ids and the document's own examples."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2

from core.db import transaction
from core.keys import DEFAULT_PROJECT
from core.webhooks.events import EventType, emit, sample_of
from tests.api.platform import Running, archive
from tests.comparing import draw_whole

IN_PATH = re.compile(r"\{(\w+)\}")
EXAMPLE_IDS = re.compile(r"\b(file|ds|part|ftckpt|ftjob|bal)-01k9v3m5x7q8r2s4t6w8y0z1ab\b")
MADE_UP = "none-01k9v3m5x7q8r2s4t6w8y0z1ab"
NUMBERS = {"version": "1", "format": "diffusers", "index": "0"}
"""What is no id in an address, but a number or word that says nothing by itself."""


@dataclass(frozen=True)
class Operation:
    """One verb at one path of the document."""

    verb: str
    path: str
    told: dict[str, Any]

    @property
    def name(self) -> str:
        """What to call it."""
        return f"{self.verb} {self.path}"

    @property
    def scope(self) -> str | None:
        """The scope it wants, by the document."""
        [[scope]] = [each.values() for each in self.told.get("security", [{"none": None}])]
        return None if scope is None else str(scope[0])

    @property
    def headers(self) -> set[str]:
        """The headers that it takes, in small letters."""
        return {each["name"].lower() for each in self.told.get("parameters", ()) if each["in"] == "header"}

    def at(self, ids: dict[str, str]) -> str:
        """Return the address with ids in it; what an address needs beside them is added."""
        url = IN_PATH.sub(lambda found: ids.get(found[1], NUMBERS.get(found[1], MADE_UP)), self.path)
        needed = [
            each for each in self.told.get("parameters", ()) if each["in"] == "query" and each["required"]
        ]
        values = {"integer": "1", "string": "x"}
        query = "&".join(f"{each['name']}={values[each['schema']['type']]}" for each in needed)
        return f"{url}?{query}" if query else url


DOCUMENT: dict[str, Any] = {}
PICTURES = archive()


def document(client: httpx2.Client) -> dict[str, Any]:
    """Return the document, asked for once: it takes half a second to make, and every app has the same."""
    if not DOCUMENT:
        DOCUMENT.update(client.get("/openapi.json").json())
    return DOCUMENT


def operations(client: httpx2.Client, prefix: str = "/v1/") -> list[Operation]:
    """Return what the document names."""
    paths = document(client)["paths"]
    return [
        Operation(verb.upper(), path, told)
        for path, verbs in paths.items()
        for verb, told in verbs.items()
        if path.startswith(prefix)
    ]


def body_of(operation: Operation, ids: dict[str, str]) -> dict[str, Any]:
    """Return the document's example as arguments of a request, with these ids in place of its own."""
    content = operation.told.get("requestBody", {}).get("content", {})
    if not content:
        return {}
    [(kind, media)] = content.items()
    real = {
        "file": ids.get("file_id", MADE_UP),
        "ds": ids.get("dataset_id", MADE_UP),
        "part": ids.get("part_id", MADE_UP),
        "ftckpt": ids.get("checkpoint_id", MADE_UP),
        "ftjob": ids.get("trained_job_id", MADE_UP),
        "bal": ids.get("ballot_id", MADE_UP),
    }
    if kind != "multipart/form-data":
        return {"json": _with(media["example"], real)}
    binary = {name for name, each in media["schema"]["properties"].items() if each.get("format") == "binary"}
    example = media["example"]
    files = {name: ("pictures.zip", PICTURES) for name in example if name in binary}
    return {"files": files, "data": {name: value for name, value in example.items() if name not in binary}}


def _with(example: Any, real: dict[str, str]) -> Any:
    if isinstance(example, dict):
        return {name: _with(each, real) for name, each in example.items()}
    if isinstance(example, list):
        return [_with(each, real) for each in example]
    return EXAMPLE_IDS.sub(lambda found: real[found[1]], example) if isinstance(example, str) else example


@dataclass
class Walk:
    """A project with one of each thing; what it has no maker for is made by the API's own example."""

    platform: Running
    found: list[Operation] = field(init=False)
    ids: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        client = self.platform.client
        self.found = operations(client)
        job = self.platform.job()
        self.platform.work()
        done = client.get(f"/v1/fine_tuning/jobs/{job['id']}").json()
        assert done["status"] == "succeeded", done["failure"]
        self.ids = {
            "file_id": client.get("/v1/files").json()["data"][0]["id"],
            "dataset_id": done["training_file"],
            "job_id": done["id"],
            "trained_job_id": done["id"],
            "model_id": done["fine_tuned_model"],
            "key_id": client.post("/v1/keys", json={"name": "of the walk"}).json()["id"],
        }
        self.register()
        self.export()
        self.begin_upload()
        self.ids["drawing_id"] = self._asked_for()
        self.compare()
        self.ids["endpoint_id"] = self._made("/v1/webhook_endpoints")
        event = EventType.job_succeeded
        with transaction(self.platform.database) as session:
            emit(session, project_id=DEFAULT_PROJECT, event=event, data=sample_of(event))
        for name, path in self._unknown():
            self.ids[name] = self._made(path)

    def register(self) -> None:
        """Register a name with two versions and an alias that has moved between them."""
        client, path = self.platform.client, "/v1/registry/walk-name"
        saved = client.get(f"/v1/fine_tuning/jobs/{self.ids['job_id']}/checkpoints").json()["data"]
        self.ids |= {"name": "walk-name", "alias": "walk-alias", "checkpoint_id": saved[0]["id"]}
        for model in (self.ids["model_id"], saved[1]["id"]):
            told = {"model": model, "create": True, "alias": self.ids["alias"]}
            made = client.post(f"{path}/versions", json=told)
            assert made.status_code == 200, made.text

    def export(self) -> None:
        """Export the model, and begin an import whose file is none."""
        client = self.platform.client
        path = f"/v1/models/{self.ids['model_id']}/exports"
        assert client.post(path, json={"format": "diffusers"}).status_code == 200
        made = client.post("/v1/models/imports", json={"file": self.ids["file_id"]})
        self.ids["import_id"] = made.json()["id"]
        self.platform.work()

    def begin_upload(self) -> None:
        """Begin an upload whose one part is there, so that it can be completed."""
        client, path = self.platform.client, "/v1/uploads"
        [post] = [each for each in self.found if (each.verb, each.path) == ("POST", path)]
        told = body_of(post, {})["json"] | {"bytes": len(PICTURES)}
        upload_id = self.ids["upload_id"] = client.post(path, json=told).json()["id"]
        part = client.post(f"{path}/{upload_id}/parts", files={"data": ("part", PICTURES)})
        self.ids["part_id"] = part.json()["id"]

    def _asked_for(self) -> str:
        """Ask for a picture and do not wait for it: nobody draws here."""
        asked = {"model": "tiny", "prompt": "a red fox"}
        path, headers = "/v1/images/generations", {"Prefer": "respond-async"}
        return str(self.platform.client.post(path, json=asked, headers=headers).json()["id"])

    def compare(self) -> None:
        """Make a comparison that is drawn, and in which somebody has voted."""
        client = self.platform.client
        comparison_id = self.ids["comparison_id"] = self._made("/v1/comparisons")
        draw_whole(self.platform.database, self.platform.store, comparison_id)
        path = f"/v1/comparisons/{comparison_id}"
        asked = client.post(f"{path}/ballots", json={"voter": "of the walk"}).json()
        client.post(f"{path}/votes", json={"ballot": asked["id"], "choice": "left"})

    def _unknown(self) -> Iterator[tuple[str, str]]:
        """Yield the ids that some path still needs, each with the collection it is from."""
        for operation in self.found:
            for found in IN_PATH.finditer(operation.path):
                if operation.scope is not None and found[1] not in {*self.ids, *NUMBERS}:
                    yield found[1], operation.path[: found.start()].rstrip("/")

    def _made(self, path: str) -> str:
        by_verb = {each.verb: each for each in self.found if each.path == path}
        if "POST" in by_verb:
            arguments = body_of(by_verb["POST"], self.ids)
            made = self.platform.client.post(by_verb["POST"].at(self.ids), **arguments)
            assert made.status_code < 300, f"the example of POST {path} does not work: {made.text}"
            return str(made.json()["id"])
        [first, *_] = self.platform.client.get(by_verb["GET"].at(self.ids)).json()["data"]
        return str(first["id"])
