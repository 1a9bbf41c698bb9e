"""Bases by name: a folder, a hub, an object store; and nothing that is pickled."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fsspec
import pytest
from huggingface_hub import constants

from core.storage.s3 import S3Store
from spin_engine.families.loader import load
from spin_engine.pipelines import folder_of

COMMIT, OLDER = "c" * 40, "d" * 40
WANTED = {"model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors"}
WANTED |= {"tokenizer/merges.txt", "spindle/defaults.json"}
UNWANTED = {
    "unet/diffusion_pytorch_model.bin",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "v1.safetensors",
}
UNWANTED |= {"text_encoders/t5.safetensors", "unet/run.py", "README.md"}
INDEX = json.dumps({"_class_name": "StableDiffusionPipeline", "unet": ["a", "b"], "tokenizer": ["a", "b"]})
RESOLVE = "from spin_engine.pipelines import folder_of; import sys; print(folder_of(sys.argv[1]))"


def contents(name: str) -> bytes:
    return INDEX.encode() if name == "model_index.json" else name.encode()


class Hub(BaseHTTPRequestHandler):
    """The four answers of a hub that huggingface_hub needs, for one repository with two commits."""

    asked: list[str]

    def do_GET(self) -> None:
        """Answer."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        path = urlsplit(self.path)
        self.asked.append(f"{self.command} {path.path}")
        match path.path.strip("/").split("/"):
            case ["api", "models", "org", "tiny", "revision", revision] if self._commit(revision):
                self._tell({"id": "org/tiny", "sha": self._commit(revision), "siblings": []}, body=body)
            case ["api", "models", "org", "tiny"]:
                self._tell({"id": "org/tiny", "sha": COMMIT, "siblings": []}, body=body)
            case ["api", "models", "org", "tiny", "tree", revision, *_] if self._commit(revision):
                names = sorted(WANTED | UNWANTED)
                listed = [
                    {"type": "file", "path": name, "size": len(contents(name)), "oid": etag(name)}
                    for name in names
                ]
                self._tell(listed, body=body)
            case ["org", "tiny", "resolve", revision, *name] if self._commit(revision):
                self._send("/".join(name), revision, body=body)
            case _:
                code = "RevisionNotFound" if "tiny" in path.path else "RepoNotFound"
                self.send_response(404)
                self.send_header("X-Error-Code", code)
                self.send_header("Content-Length", "0")
                self.end_headers()

    @staticmethod
    def _commit(revision: str) -> str | None:
        return {"main": COMMIT, COMMIT: COMMIT, "v1": OLDER, OLDER: OLDER}.get(revision)

    def _tell(self, answer: Any, *, body: bool) -> None:
        self._finish(json.dumps(answer).encode(), {"Content-Type": "application/json"}, body=body)

    def _send(self, name: str, revision: str, *, body: bool) -> None:
        headers = {"ETag": f'"{etag(name)}"', "X-Repo-Commit": self._commit(revision) or ""}
        self._finish(contents(name), headers, body=body)

    def _finish(self, data: bytes, headers: dict[str, str], *, body: bool) -> None:
        self.send_response(200)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name in the standard library)
        """Say nothing."""


def etag(name: str) -> str:
    return hashlib.sha1(contents(name), usedforsecurity=False).hexdigest()


@pytest.fixture
def mirror() -> Iterator[tuple[str, list[str]]]:
    """Return the address of a hub on this machine, and what it has been asked."""
    asked: list[str] = []
    handler = type("Handler", (Hub,), {"asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def resolve(name: str, home: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Resolve a name in a fresh process, since huggingface_hub reads its settings once."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment = plain | {"HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"} | settings
    return subprocess.run(
        [sys.executable, "-c", RESOLVE, name], env=environment, capture_output=True, text=True, check=False
    )


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_mirror_is_asked_for_safetensors_and_text_alone(
    mirror: tuple[str, list[str]], tmp_path: Path
) -> None:
    address, asked = mirror
    fetched = resolve("org/tiny", tmp_path, HF_ENDPOINT=address)
    assert fetched.returncode == 0, fetched.stderr
    folder = Path(fetched.stdout.strip())
    assert (folder.name, files(folder)) == (COMMIT, WANTED)
    assert not [line for line in asked if any(name in line for name in UNWANTED)]
    again = resolve("org/tiny", tmp_path, HF_HUB_OFFLINE="1")
    assert again.stdout.strip() == str(folder), again.stderr
    absent = resolve("org/tiny@v1", tmp_path, HF_HUB_OFFLINE="1")
    assert "ValueError: org/tiny is not whole in the cache of this machine, and HF_HUB_OFFLINE is set" in (
        absent.stderr
    )


def test_a_revision_is_a_branch_a_tag_or_a_commit(mirror: tuple[str, list[str]], tmp_path: Path) -> None:
    address, _ = mirror
    for revision in ("v1", OLDER):
        fetched = resolve(f"org/tiny@{revision}", tmp_path / revision, HF_ENDPOINT=address)
        assert Path(fetched.stdout.strip()).name == OLDER, fetched.stderr
    absent = resolve("org/tiny@v9", tmp_path, HF_ENDPOINT=address)
    assert f"ValueError: the hub {address} has no org/tiny at v9" in absent.stderr


def test_what_the_hub_has_not_is_refused(mirror: tuple[str, list[str]], tmp_path: Path) -> None:
    address, _ = mirror
    absent = resolve("org/other", tmp_path, HF_ENDPOINT=address)
    assert f"ValueError: the hub {address} has no org/other" in absent.stderr


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Return an object store in memory, and let what is fetched from it lie in the test's own folder."""
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    store = fsspec.filesystem("memory")
    yield store
    if store.exists("/bucket"):
        store.rm("/bucket", recursive=True)


def test_an_object_store_is_fetched_once_until_it_changes(bucket: Any, tmp_path: Path) -> None:
    for name in WANTED | UNWANTED | {"unet/../../escaped.json"}:
        bucket.pipe_file(f"/bucket/base/{name}", contents(name))
    folder = folder_of("memory://bucket/base")
    assert files(folder) == WANTED
    assert {name: (folder / name).read_bytes() for name in WANTED} == {
        name: contents(name) for name in WANTED
    }
    mark = (folder / "unet" / "config.json").stat().st_ino
    assert folder_of("memory://bucket/base") == folder
    assert (folder / "unet" / "config.json").stat().st_ino == mark
    bucket.pipe_file("/bucket/base/unet/config.json", b"{}")
    changed = folder_of("memory://bucket/base")
    assert changed != folder
    assert (changed / "unet" / "config.json").read_bytes() == b"{}"
    kept = {path.name for path in (tmp_path / "assets").glob("spindle/pipelines/*")}
    assert kept == {folder.name, changed.name}


def test_a_family_loads_from_each_alike(pipeline: Path, bucket: Any) -> None:
    bucket.put(str(pipeline), "/bucket/whole", recursive=True)
    before = load(pipeline).denoiser.state_dict()
    for name in (str(pipeline), "memory://bucket/whole", pipeline.as_uri()):
        found = load(name).denoiser.state_dict()
        assert {key for key in before if not before[key].equal(found[key])} == set()


def test_a_folder_that_is_no_pipeline_is_refused(bucket: Any) -> None:
    bucket.pipe_file("/bucket/empty/a.json", b"{}")
    with pytest.raises(ValueError, match=r"memory://bucket/empty is not a diffusers pipeline"):
        folder_of("memory://bucket/empty")


def test_a_store_whose_package_is_missing_is_told() -> None:
    with pytest.raises(ValueError, match="install gcsfs"):
        folder_of("gs://bucket/base")


def test_a_bucket_of_s3_is_a_base_too(seaweedfs_url: str, tmp_path: Path) -> None:
    """Through s3fs, which reads its settings from the environment."""
    access = urlsplit(seaweedfs_url)
    bucket = access.path.strip("/")
    store = S3Store.from_url(seaweedfs_url)
    for name in WANTED | UNWANTED:
        (tmp_path / "file").write_bytes(contents(name))
        store.put_file(f"bases/tiny/{name}", tmp_path / "file")
    settings = {
        "AWS_ACCESS_KEY_ID": access.username or "",
        "AWS_SECRET_ACCESS_KEY": access.password or "",
        "AWS_ENDPOINT_URL": f"http://{access.hostname}:{access.port}",
    }
    fetched = resolve(f"s3://{bucket}/bases/tiny", tmp_path / "home", **settings)
    assert fetched.returncode == 0, fetched.stderr
    assert files(Path(fetched.stdout.strip())) == WANTED
    again = resolve(f"s3://{bucket}/bases/tiny", tmp_path / "home", **settings)
    assert again.stdout == fetched.stdout
    refused = resolve(f"s3://{bucket}/bases/tiny", tmp_path, **settings | {"AWS_SECRET_ACCESS_KEY": "wrong"})
    assert "ValueError: s3://" in refused.stderr
    assert "cannot be read" in refused.stderr


@pytest.mark.parametrize("name", ["absent", "./a/b", "/no/where", "a/b/c", "~/absent"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a folder, nor ORG/NAME of a hub, nor a URI"):
        folder_of(name)
