"""What attempts left without a row is deleted; what any row tells of stays. On both databases and stores."""

import io
from datetime import timedelta
from typing import Any

from core import datasets
from core.clock import utcnow
from core.db import Database, transaction
from core.models import Dataset, Unit, UnitKind
from core.runs import leftovers, records, units
from core.runs.claims import Claim
from core.storage.store import ObjectStore
from tests.core.runs.making import (
    PROJECT,
    after,
    claim_next,
    ground,
    ingested,
    make_job,
    ready_dataset,
    run_until,
)

HOUR = timedelta(seconds=leftovers.QUIET_SECONDS)


def put(store: ObjectStore, claim: Claim, *paths: str) -> list[dict[str, Any]]:
    """Store files under an attempt's prefix and return their manifest."""
    manifest = []
    for path in paths:
        stored = store.put(f"{claim.prefix}/{path}", io.BytesIO(path.encode()), None)
        told = {"path": path, "key": f"{claim.prefix}/{path}", "sha256": stored.sha256, "size": stored.size}
        manifest.append(told)
    return manifest


def clear(database: Database, store: ObjectStore) -> int:
    """Clear as an hour and a minute from now."""
    return leftovers.clear(database, store, now=utcnow() + HOUR + timedelta(minutes=1))


def test_only_what_no_row_tells_of_is_deleted(database: Database, store: ObjectStore) -> None:
    make_job(database, ready_dataset(database))
    first = run_until(database, UnitKind.train, 1)
    saved = put(store, first, "checkpoints/step-1/weights")
    shown = put(store, first, "samples/1-0.png")
    put(store, first, "checkpoints/step-2/weights", "samples/1-1.png")  # and the worker is lost
    with transaction(database) as session:
        records.record_checkpoint(session, first, iteration=1, step=1, files=saved)
        records.record_sample(session, first, iteration=1, index=0, prompt="a", seed=1, key=shown[0]["key"])
        units.fail_unit(session, first, reason="worker_lost", message="lost", now=after(0))
    assert clear(database, store) == 0  # the unit will be tried again
    second = claim_next(database, now=after(60), kinds=(UnitKind.train,))
    assert second.unit_id == first.unit_id
    made = put(store, second, "out/weights/weights.json")
    with transaction(database) as session:
        units.succeed_unit(session, second, output={"files": made})

    prefix = first.prefix.rpartition("/")[0] + "/"
    assert leftovers.clear(database, store) == 0  # it ended just now
    assert len(list(store.list(prefix))) == 5
    assert clear(database, store) == 2
    assert list(store.list(prefix)) == sorted(file["key"] for file in (*saved, *shown, *made))
    with transaction(database) as session:
        assert session.get_one(Unit, first.unit_id).cleared_at is not None
    put(store, first, "late")
    assert clear(database, store) == 0  # a unit is looked at once
    store.delete(f"{first.prefix}/late")


def test_a_datasets_shards_and_pages_stay(database: Database, store: ObjectStore) -> None:
    with transaction(database) as session:
        ground(session)
        made = datasets.create_dataset(session, project_id=PROJECT, name="pictures", file_id="file-1")
    lost = claim_next(database)
    put(store, lost, "shard-00000.tar")
    with transaction(database) as session:
        units.fail_unit(session, lost, reason="worker_lost", message="lost", now=after(0))
    again = claim_next(database, now=after(60))
    files = put(store, again, "shard-00000.tar", "page-00000.json")
    with transaction(database) as session:
        units.succeed_unit(session, again, output=ingested() | {"shards": files[:1], "pages": files[1:]})
    assert clear(database, store) == 1
    assert list(store.list(f"datasets/{made.id}/")) == sorted(file["key"] for file in files)
    with transaction(database) as session:
        assert session.get_one(Dataset, made.id).shards == files[:1]
