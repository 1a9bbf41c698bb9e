"""A platform in the midst of its life, with objects for all that its rows tell, by the real functions."""

import hashlib
import io
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from core import datasets, files, keys, sessions, workers
from core.clock import utcnow
from core.db import Database, transaction
from core.models import (
    Device,
    Drawing,
    DrawingState,
    Idempotency,
    ModelKind,
    UnitKind,
    WebhookEndpoint,
)
from core.models import Model as ModelRow
from core.runs import claims, control, jobs, records, units
from core.runs.capabilities import Capabilities
from core.runs.claims import Claim
from core.storage.store import ObjectStore
from core.uploads import uploads
from core.webhooks.events import EventType, emit

PROJECT = keys.DEFAULT_PROJECT
WORKER = "units-1@laptop"
LEASE = 3600.0
SMALL = {"n_iterations": 1, "steps": 4, "learning_rate": 1e-4, "beta": 10.0}
METHOD = {"type": "spin", "spin": {"hyperparameters": SMALL}}
HAS = Capabilities(("default",), Device.gpu, 1, None)
SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass(frozen=True)
class Filled:
    """What a platform has that a restored one must have, or must not."""

    secret: str
    token: str
    finished: str
    halfway: str
    cancelled: str
    claim: Claim
    checkpoint: str
    upload_bytes: int
    gone: str
    spare: str


def fill(database: Database, store: ObjectStore, *, base: bool = True) -> Filled:
    """Make a finished job, one that trains from its first checkpoint on, and what else there may be.

    ``base``: with a base model of its own, in a folder that only the laptop has.
    """
    with transaction(database) as session:
        secret = keys.create_key(session, project_id=PROJECT, name="mine")[1]
        token = sessions.open_session(session, secret=secret)
        if base:
            source = "folder:/models/of/the/laptop/starter"
            session.add(ModelRow(id="starter", kind=ModelKind.base, source=source, digest="d1", defaults={}))
        session.add(
            WebhookEndpoint(
                id="wh-1",
                project_id=PROJECT,
                name="hook",
                url="https://example.org/hook",
                event_types=[EventType.job_succeeded.value],
                secret=SECRET,
                fence=3,
            )
        )
        workers.heartbeat(session, name=WORKER, kind="units", kinds=tuple(UnitKind), has=HAS)
    pictures = _file(database, store, "pictures.zip", b"a zip of pictures")
    spare = _file(database, store, "spare.zip", b"nobody needs this")
    gone = _file(database, store, "gone.zip", b"will be deleted")
    _file(database, store, "twin.zip", b"a zip of pictures")
    dataset = _dataset(database, store, pictures)
    finished = _job(database, dataset)
    while _claim_and_succeed(database, store) is not None:
        pass
    cancelled = _job(database, dataset, seed=8)
    with transaction(database) as session:
        control.cancel_job(session, project_id=PROJECT, job_id=cancelled)
    halfway = _job(database, dataset, seed=9)
    claim = _until_training(database, store)
    checkpoint = _train_a_while(database, store, claim)
    _odds_and_ends(database, store)
    return Filled(
        secret, token, finished, halfway, cancelled, claim, checkpoint, 1000, gone=gone, spare=spare
    )


def put(store: ObjectStore, key: str, data: bytes) -> dict[str, Any]:
    """Store some bytes; return the entry of a manifest."""
    store.put(key, io.BytesIO(data), len(data))
    digest = hashlib.sha256(data).hexdigest()
    return {"path": key.rpartition("/")[2], "key": key, "sha256": digest, "size": len(data)}


def delete(database: Database, store: ObjectStore, file_id: str) -> None:
    """Delete a file, bytes and all, as a user and the beat do."""
    with transaction(database) as session:
        files.delete_file(session, project_id=PROJECT, file_id=file_id)
    files.purge(database, store)


def claim_next(database: Database, *, worker: str = WORKER) -> Claim | None:
    """Claim the next unit."""
    with transaction(database) as session:
        return claims.claim_unit(session, worker=worker, lease_seconds=LEASE, has=HAS)


def _file(database: Database, store: ObjectStore, name: str, data: bytes) -> str:
    file_id = files.new_id()
    key = files.object_key(project_id=PROJECT, file_id=file_id)
    stored = store.put(key, io.BytesIO(data), len(data))
    with transaction(database) as session:
        file = files.create_file(
            session,
            project_id=PROJECT,
            file_id=file_id,
            filename=name,
            purpose="fine-tune",
            stored=stored,
            key=key,
        )
    files.settle(database, store, file=file, key=key)
    return file_id


def _dataset(database: Database, store: ObjectStore, file_id: str) -> str:
    with transaction(database) as session:
        dataset = datasets.create_dataset(session, project_id=PROJECT, name="pictures", file_id=file_id)
    claim = claim_next(database)
    assert claim is not None
    shard = put(store, f"{claim.prefix}/shard-00000.tar", b"rows and pictures" * 5000)
    page = put(store, f"{claim.prefix}/page-0.json", b"{}")
    found = {"rows": 100, "rejected": [], "statistics": {"rows": 100}, "sha256": "f" * 64}
    with transaction(database) as session:
        units.succeed_unit(session, claim, output=found | {"shards": [shard], "pages": [page]})
    return dataset.id


def _job(database: Database, dataset_id: str, *, seed: int = 7) -> str:
    with transaction(database) as session:
        return jobs.create_job(
            session,
            project_id=PROJECT,
            model="starter",
            training_file=dataset_id,
            method=METHOD,
            seed=seed,
        ).id


def _succeed(database: Database, store: ObjectStore, claim: Claim) -> None:
    made = []
    for path in ("weights/unet.safetensors", "model/model_index.json"):
        told = f"{claim.kind} {claim.iteration} {path} of {claim.job_id}".encode()
        made.append(put(store, f"{claim.prefix}/out/{path}", told) | {"path": path})
    with transaction(database) as session:
        units.succeed_unit(session, claim, output={"files": made})


def _claim_and_succeed(database: Database, store: ObjectStore) -> Claim | None:
    claim = claim_next(database)
    if claim is not None:
        _succeed(database, store, claim)
    return claim


def _until_training(database: Database, store: ObjectStore) -> Claim:
    while True:
        claim = claim_next(database)
        assert claim is not None
        if claim.kind is UnitKind.train:
            return claim
        _succeed(database, store, claim)


def _train_a_while(database: Database, store: ObjectStore, claim: Claim) -> str:
    saved = put(store, f"{claim.prefix}/checkpoints/2/state.pt", b"half of the way")
    sample = put(store, f"{claim.prefix}/samples/1-0.png", b"a picture")
    measured = {"type": "metrics", "iteration": 1, "step": 2, "values": {"loss": 0.1 + 0.2}}
    with transaction(database) as session:
        records.record_events(session, claim, [measured])
        shown = {"iteration": 1, "index": 0, "prompt": "ä circle", "seed": 3}
        records.record_sample(session, claim, **shown, key=sample["key"])
        return records.record_checkpoint(session, claim, iteration=1, step=2, files=[saved])


def _odds_and_ends(database: Database, store: ObjectStore) -> None:
    """Make an upload on its way, pictures, requests, and an event that is owed."""
    about = {"filename": "big.zip", "purpose": "fine-tune", "mime_type": "application/zip"}
    drawn = {"project_id": PROJECT, "model_id": "starter", "pipeline": "folder:/models/of/the/laptop/starter"}
    drawn |= {"request": {"seeds": [1]}}
    file, kept = (put(store, f"drawings/{one}/1/0.png", one.encode()) for one in ("img-2", "img-3"))
    with transaction(database) as session:
        upload = uploads.create_upload(session, project_id=PROJECT, size=1000, **about)
        session.add(Drawing(id="img-1", **drawn, state=DrawingState.running, fence=1, attempt=1, worker="w"))
        ended = {"state": DrawingState.succeeded, "finished_at": utcnow() - timedelta(hours=1)}
        session.add(Drawing(id="img-2", **drawn, **ended, result={"files": [file]}))
        session.add(Drawing(id="img-3", **drawn, **ended, result={"files": [kept]}, kept=True))
        for key, status in (("answered", 200), ("running", None)):
            row = {"project_id": PROJECT, "key": key, "fingerprint": "f", "status": status}
            session.add(Idempotency(**row, body={"id": key}))
        emit(session, project_id=PROJECT, event=EventType.job_succeeded, data={"id": "ftjob-x"})
    put(store, uploads.part_key(upload, part_id="part-1"), b"half of it")
