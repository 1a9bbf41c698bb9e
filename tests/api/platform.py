"""What the tests of the API hold in hand: an app, a client with a key, and a worker without an engine."""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from fastapi.testclient import TestClient
from PIL import Image
from sqlalchemy import func, select

from api.main import create_app
from core import intake, keys
from core.comparisons.pairs import pack
from core.db import Database, transaction
from core.incoming.unpack import unpack
from core.ingest.dataset import Rejected, ingest
from core.ingest.limits import BadArchive
from core.models import Base, Project, UnitKind
from core.runs import claims, records, units
from core.settings import Settings
from core.storage.store import ObjectStore, store_for
from core.transfers.work import export_work, import_work
from tests.services import free_ports

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 180.0


def png(shade: int = 0, side: int = 16) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (side, side), (shade % 256, 90, 200)).save(sink, "PNG")
    return sink.getvalue()


def archive(rows: int = 3, *, extra: dict[str, bytes] | None = None, captions: bool = True) -> bytes:
    """Return a zip of pictures with metadata.jsonl."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as zipped:
        for index in range(rows):
            zipped.writestr(f"{index}.png", png(index * 40))
        if captions:
            lines = [json.dumps({"file_name": f"{n}.png", "text": f"picture {n}"}) for n in range(rows)]
            zipped.writestr("metadata.jsonl", "\n".join(lines))
        for name, data in (extra or {}).items():
            zipped.writestr(name, data)
    return sink.getvalue()


@dataclass
class Running:
    """An app and what is behind it."""

    settings: Settings
    database: Database
    store: ObjectStore
    client: httpx2.Client
    secret: str
    worker: str = "test-worker"

    def counts(self) -> dict[str, int]:
        """Return how many rows each table has and how many objects lie in the store."""
        with transaction(self.database) as session:
            found = {
                name: session.scalar(select(func.count()).select_from(table)) or 0
                for name, table in Base.metadata.tables.items()
            }
        return found | {"objects": len(list(self.store.list("")))}

    def other_project(self) -> dict[str, str]:
        """Make another project and return the header of its key."""
        with transaction(self.database) as session:
            session.add(Project(id="proj-other", name="other"))
            session.flush()
            _, secret = keys.create_key(session, project_id="proj-other", name="other")
        return {"Authorization": f"Bearer {secret}"}

    def follow(self, link: str) -> httpx2.Response:
        """Open a link that an answer held, as anyone could: of this app, or of the store itself."""
        if link.startswith(self.settings.public_url):
            return self.client.get(link.removeprefix(self.settings.public_url), headers={"Authorization": ""})
        return httpx2.get(link, timeout=60)

    def upload(self, data: bytes | None = None, name: str = "pictures.zip") -> str:
        """Return the id of an uploaded file."""
        answer = self.client.post(
            "/v1/files",
            files={"file": (name, archive() if data is None else data)},
            data={"purpose": "fine-tune"},
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def dataset(self) -> str:
        """Return the id of a dataset that is ready."""
        made = self.client.post("/v1/datasets", json={"name": "pictures", "file": self.upload()})
        assert made.status_code == 200, made.text
        self.work()
        return str(made.json()["id"])

    def job(self, **more: Any) -> dict[str, Any]:
        """Return a job, made on a dataset that is ready."""
        training_file = more.pop("training_file", None) or self.dataset()
        body = {"model": "tiny", "training_file": training_file, "method": {"type": "spin"}} | more
        answer = self.client.post("/v1/fine_tuning/jobs", json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def work(self, at_most: int = 100) -> int:
        """Do pending units as a worker would, without an engine; return how many were done."""
        for done in range(at_most):
            with transaction(self.database) as session:
                claim = claims.claim_unit(session, worker=self.worker, lease_seconds=30)
            if claim is None:
                return done
            WORK[claim.kind](self, claim)
        return at_most

    def put(self, claim: claims.Claim, files: dict[str, bytes]) -> list[dict[str, Any]]:
        """Store files under the claim's prefix and return their manifest."""
        manifest = []
        for path, data in files.items():
            key = f"{claim.prefix}/{path}"
            stored = self.store.put(key, io.BytesIO(data), len(data))
            manifest.append({"path": path, "key": key, "sha256": stored.sha256, "size": stored.size})
        return manifest

    def succeed(self, claim: claims.Claim, files: dict[str, bytes]) -> None:
        """Finish a unit with these files."""
        manifest = self.put(claim, files)
        with transaction(self.database) as session:
            units.succeed_unit(session, claim, output={"files": manifest})


def _ingest(running: Running, claim: claims.Claim) -> None:
    with transaction(running.database) as session:
        asked = intake.intake(session, claim)
    with tempfile.TemporaryDirectory() as scratch:
        source, out = Path(scratch) / "archive", Path(scratch) / "out"
        if asked.file is None:
            pack(asked.pairs, source, read=lambda file: read_object(running.store, file.key))
        else:
            running.store.get_file(asked.file.key, source, sha256=asked.file.sha256)
        try:
            found = ingest(source, out, limits=asked.limits, options=asked.options)
        except BadArchive as error:
            rejected = error.rejected if isinstance(error, Rejected) else []
            files = running.put(claim, _files_in(out))
            with transaction(running.database) as session:
                intake.refuse(session, claim, message=str(error), rejected=rejected, files=files)
            return
        files = running.put(claim, _files_in(out))
    with transaction(running.database) as session:
        intake.accept(session, claim, found=asdict(found), files=files)


def read_object(store: ObjectStore, key: str) -> bytes:
    """Return an object's bytes."""
    with store.open(key) as stream:
        return stream.read()


def _files_in(folder: Path) -> dict[str, bytes]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def _encode(running: Running, claim: claims.Claim) -> None:
    running.succeed(claim, {"index.json": b"{}"})


def _train(running: Running, claim: claims.Claim) -> None:
    weights = {"weights/weights.json": b"{}", "weights/pytorch_lora_weights.safetensors": b"w" * 100}
    manifest = running.put(claim, {f"checkpoint/{path}": data for path, data in weights.items()})
    saved = [file | {"path": file["path"].removeprefix("checkpoint/")} for file in manifest]
    lines: Sequence[dict[str, Any]] = [
        {"type": "progress", "step": 1, "of": 2, "what": "train", "seconds_left": 1.0},
        *(
            {"type": "metrics", "step": step, "iteration": claim.iteration, "values": {"loss": 0.5**step}}
            for step in (1, 2)
        ),
    ]
    with transaction(running.database) as session:
        records.record_events(session, claim, lines)
        records.record_checkpoint(session, claim, iteration=claim.iteration, step=2, files=saved)
    running.succeed(claim, weights)


def _evaluate(running: Running, claim: claims.Claim) -> None:
    picture = running.put(claim, {"samples/0.png": png(claim.iteration)})[0]
    values = {"style": {"value": 0.5, "low": 0.4, "high": 0.6}}
    with transaction(running.database) as session:
        records.record_sample(
            session,
            claim,
            iteration=claim.iteration,
            index=0,
            prompt="a red fox",
            seed=7,
            key=picture["key"],
        )
        records.record_events(
            session, claim, [{"type": "evaluation", "iteration": claim.iteration, "values": values}]
        )
    running.succeed(claim, {"metrics.json": b"{}"})


def _publish(running: Running, claim: claims.Claim) -> None:
    running.succeed(claim, {"model/model_index.json": b"{}", "model/unet/weights.safetensors": b"x" * 300})


def _export(running: Running, claim: claims.Claim) -> None:
    with transaction(running.database) as session:
        work = export_work(session, claim)
    running.succeed(claim, {work.filename: work.card.encode()})


def _import(running: Running, claim: claims.Claim) -> None:
    """Check the file as a worker does; the engine, which would load it, is left out."""
    with transaction(running.database) as session:
        work = import_work(session, claim)
    with tempfile.TemporaryDirectory() as scratch:
        source, out = Path(scratch) / "file", Path(scratch) / "given"
        running.store.get_file(work.file.key, source, sha256=work.file.sha256)
        try:
            taken = unpack(source, out, limits=work.limits, progress=lambda *_: None)
        except BadArchive as error:
            with transaction(running.database) as session:
                units.fail_unit(session, claim, reason="user_error", message=str(error))
            return
        folder = "weights" if taken.kind == "lora" else "model"
        manifest = running.put(claim, {f"{folder}/{name}": data for name, data in _files_in(out).items()})
    with transaction(running.database) as session:
        units.succeed_unit(session, claim, output={"files": manifest, "found": taken.as_json()})


WORK: dict[UnitKind, Callable[[Running, claims.Claim], None]] = {
    UnitKind.ingest: _ingest,
    UnitKind.encode: _encode,
    UnitKind.generate: _encode,
    UnitKind.train: _train,
    UnitKind.evaluate: _evaluate,
    UnitKind.publish: _publish,
    UnitKind.export: _export,
    UnitKind.import_: _import,
}


@dataclass
class Served(Running):
    """The same behind a real server process."""

    url: str = ""
    process: subprocess.Popen[bytes] = field(kw_only=True)
    log: Path = field(kw_only=True)


@contextmanager
def server_in(settings: Settings) -> Iterator[Served]:
    """Yield a server process on a migrated state folder, which is stopped at the end."""
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    told = {
        "SPINDLE_STATE": str(settings.state),
        "SPINDLE_DATABASE_URL": settings.database_url,
        "SPINDLE_STORE_URL": settings.store_url,
        "SPINDLE_BROKER_URL": settings.broker_url,
        "SPINDLE_BASE_MODELS": str(settings.base_models),
        "SPINDLE_MAX_FILE_BYTES": str(settings.max_file_bytes),
        "SPINDLE_REQUESTS_PER_MINUTE": str(settings.requests_per_minute),
        "SPINDLE_PUBLIC_URL": url,
    }
    secret = (settings.state / "key").read_text().strip()
    log = settings.state / "api.log"
    command = [sys.executable, "-m", "api", "--port", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | told, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    database = Database(settings)
    try:
        with httpx2.Client(
            base_url=url, headers={"Authorization": f"Bearer {secret}"}, timeout=120
        ) as client:
            _wait_for(client, process)
            yield Served(
                settings, database, store_for(settings), client, secret, url=url, process=process, log=log
            )
    finally:
        database.dispose()
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()


def _wait_for(client: httpx2.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server died at its start"
        try:
            client.get("/livez")
        except httpx2.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"the server did not answer within {START_SECONDS:.0f} seconds")


@contextmanager
def platform_in(settings: Settings) -> Iterator[Running]:
    """Yield an app on a migrated state folder."""
    secret = (settings.state / "key").read_text().strip()
    app = create_app(settings)
    parts = app.state.platform
    with TestClient(app, headers={"Authorization": f"Bearer {secret}"}) as client:
        yield Running(settings, parts.database, store_for(settings), client, secret)
