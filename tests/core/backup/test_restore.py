"""A backup becomes a platform elsewhere: with all that there was, and nothing that runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from core import doctor, keys, schema, sessions
from core.backup import lines
from core.backup.afterwards import AHEAD, SILENCED, UNSIGNED
from core.backup.creating import create
from core.backup.place import Manifest, Table, chosen, object_key, place_of, table_key
from core.backup.restoring import restore
from core.backup.tables import LEFT_OUT, kept_tables
from core.backup.verifying import problems
from core.db import transaction
from core.errors import StaleFence, Unauthorized
from core.models import (
    ApiKey,
    Attempt,
    Base,
    Drawing,
    Event,
    Idempotency,
    Job,
    JobState,
    Model,
    Project,
    Unit,
    UnitState,
    Upload,
    UploadState,
    WebhookDelivery,
    WebhookEndpoint,
)
from core.runs import claims, control, records
from core.settings import Settings
from core.sources import work_for
from core.storage.store import ObjectStore, store_for
from tests.conftest import Servers
from tests.core.backup.filled import PROJECT, Filled, claim_next, fill, put
from tests.core.backup.platforms import Platform, bytes_in, opened, rows_of

CHANGED = {"project", "job", "event", "unit", "attempt", "drawing", "upload", "webhook_endpoint", "model"}
"""Tables some of whose rows a restore changes; the others come back as they were."""


PROFILES = [("embedded", "embedded"), ("cluster", "cluster"), ("embedded", "cluster")]


@pytest.mark.parametrize(("source", "target"), PROFILES)
def test_a_platform_comes_back_on_either_profile(
    source: str, target: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    servers: Servers | None = request.getfixturevalue("servers") if "cluster" in (source, target) else None
    template: Path = request.getfixturevalue("sqlite_template")
    told = str(tmp_path / "backups")
    if source == "cluster" and servers is not None:
        told = servers.seaweedfs.replace("/spindle?", "/backups?")
    place = place_of(told)
    with _settings(source, servers, tmp_path / "one", template) as first, opened(first) as before:
        with transaction(before.database) as session:
            keys.bootstrap_key(session, first)
        filled = fill(before.database, before.store)
        made = create(first, place)
        assert (made.manifest.lost, made.passes) == ((), 1)
        kept = {table.name: rows_of(before.database, table.name) for table in kept_tables()}
        with transaction(before.database) as session:
            shown = session.get_one(Job, filled.halfway)
        held = bytes_in(before.store)
        assert list(problems(place, made.manifest)) == []
    with _settings(target, servers, tmp_path / "two", None) as second, opened(second) as after:
        done = restore(second, place, chosen(place, None))
        [warning] = done.warnings
        assert warning.startswith("base model starter is another one here")
        assert doctor.check_database(after.database).health is doctor.Health.ok
        for table, rows in kept.items():
            if table not in CHANGED | {"api_key", "idempotency", "upload_part"}:
                assert rows_of(after.database, table) == rows, table
        stored = bytes_in(after.store)
        assert stored.items() <= held.items()
        assert {key.split("/")[0] for key in held.keys() - stored.keys()} == {"drawings", "uploads"}
        _check_restored(after, filled, shown)
    if source == "cluster":
        for key in list(place.list("")):
            place.delete(key)


@contextmanager
def _settings(
    profile: str, servers: Servers | None, state: Path, template: Path | None
) -> Iterator[Settings]:
    """Yield a platform's settings: with tables where there is a template, else with none."""
    state.mkdir()
    if profile == "embedded":
        if template is not None:
            (state / "spindle.db").write_bytes(template.read_bytes())
        yield Settings(state=state)
        return
    assert servers is not None
    told = {} if template is not None else {"template": "template1", "bucket": "restored"}
    with servers.cluster(**told) as urls:
        yield Settings.model_validate({"state": state, **urls})


def _check_restored(after: Platform, filled: Filled, before: Job) -> None:
    """Nothing runs, nothing of before may write, and the job goes on from its checkpoint."""
    assert all(rows_of(after.database, table) == [] for table in LEFT_OUT & Base.metadata.tables.keys())
    with transaction(after.database) as session:
        job = session.get_one(Job, filled.halfway)
        assert (job.state, job.event_seq) == (JobState.running, before.event_seq + 1)
        told = session.scalars(select(Event.seq).where(Event.job_id == job.id).order_by(Event.seq)).all()
        assert list(told) == list(range(1, job.event_seq + 1))
        assert job.pipeline.startswith("folder:")
        assert "/of/the/laptop/" not in job.pipeline
        assert session.get_one(Model, "starter").source == job.pipeline
        assert session.get_one(Job, filled.finished).state is JobState.succeeded
        assert session.get_one(Job, filled.cancelled).state is JobState.cancelled
        assert keys.verify(session, secret=filled.secret).project_id == PROJECT
        unit = session.get_one(Unit, filled.claim.unit_id)
        assert (unit.state, unit.worker, unit.attempt) == (UnitState.pending, None, 0)
        assert not claims.renew(session, filled.claim, lease_seconds=30)
        assert session.scalars(select(Attempt.unit_id).where(Attempt.ended_at.is_(None))).all() == []
        project = session.get_one(Project, PROJECT)
        assert (project.open_jobs, project.stored_bytes) == (1, 17 + 17 + 15)
        assert session.scalars(select(Upload.state)).all() == [UploadState.expired]
        assert sorted(session.scalars(select(Drawing.id))) == ["img-1", "img-3"]
        drawing = session.get_one(Drawing, "img-1")
        assert (drawing.state.value, drawing.fence, drawing.worker) == ("pending", 1 + AHEAD, None)
        assert session.scalars(select(Idempotency.key)).all() == ["answered"]
        hook = session.get_one(WebhookEndpoint, "wh-1")
        assert (hook.enabled, hook.fence) == (True, 3 + AHEAD)
        assert len(session.scalars(select(WebhookDelivery.id)).all()) >= 1
    with pytest.raises(Unauthorized), transaction(after.database) as session:
        sessions.verify(session, token=filled.token)
    with pytest.raises(StaleFence), transaction(after.database) as session:
        records.record_events(session, filled.claim, [])
    claim = claim_next(after.database, worker="units-1@cluster")
    assert claim is not None
    assert (claim.unit_id, claim.attempt) == (filled.claim.unit_id, 1)
    assert claim.fence == filled.claim.fence + AHEAD + 1
    with transaction(after.database) as session:
        resume = work_for(session, unit_id=claim.unit_id).resume
    assert resume is not None
    with after.store.open(resume.files[0].key) as stream:
        assert stream.read() == b"half of the way"


def test_a_restore_that_broke_off_may_be_run_again(
    laptop: Platform, place: ObjectStore, elsewhere: Settings
) -> None:
    manifest = create(laptop.settings, place).manifest
    with opened(elsewhere) as after:
        schema.move(after.database, manifest.revision)  # the tables were made, and some objects copied
        told = next(iter(lines.read(place, manifest.key("objects.jsonl.gz"), manifest.objects)))
        with place.open(object_key(told["sha256"])) as stream:
            after.store.put(told["key"], stream, told["size"])
        done = restore(elsewhere, place, manifest)
        assert done.objects == manifest.objects.rows
        assert len(list(after.store.list(""))) == done.objects


def test_a_platform_that_is_there_is_not_written_over(
    laptop: Platform, place: ObjectStore, elsewhere: Settings
) -> None:
    manifest = create(laptop.settings, place).manifest
    before = {table.name: rows_of(laptop.database, table.name) for table in kept_tables()}
    with pytest.raises(ValueError, match="the database is not empty"):
        restore(laptop.settings, place, manifest)
    assert {table.name: rows_of(laptop.database, table.name) for table in kept_tables()} == before
    put(store_for(elsewhere), "jobs/of/another", b"x")
    with pytest.raises(ValueError, match=r"the store is not empty: it has jobs/of/another"):
        restore(elsewhere, place, manifest)
    with opened(elsewhere) as after, after.database.engine.connect() as connection:
        assert schema.current(connection) is None


def test_a_rehearsal_tells_no_webhook(laptop: Platform, place: ObjectStore, elsewhere: Settings) -> None:
    restore(elsewhere, place, create(laptop.settings, place).manifest, webhooks=False)
    with opened(elsewhere) as after, transaction(after.database) as session:
        hook = session.get_one(WebhookEndpoint, "wh-1")
        assert (hook.enabled, hook.disabled_reason) == (False, SILENCED)


def test_wishes_are_settled_that_a_running_unit_was_to_see_to(
    laptop: Platform, filled: Filled, place: ObjectStore, elsewhere: Settings
) -> None:
    with transaction(laptop.database) as session:
        control.pause_job(session, project_id=PROJECT, job_id=filled.halfway)
        assert session.get_one(Job, filled.halfway).state is JobState.running
    restore(elsewhere, place, create(laptop.settings, place).manifest)
    with opened(elsewhere) as after:
        with transaction(after.database) as session:
            assert session.get_one(Job, filled.halfway).state is JobState.paused
            control.resume_job(session, project_id=PROJECT, job_id=filled.halfway)
        claim = claim_next(after.database)
    assert claim is not None
    assert claim.unit_id == filled.claim.unit_id


def test_a_backup_of_an_older_version_is_migrated_forward(
    place: ObjectStore, elsewhere: Settings, tmp_path: Path
) -> None:
    moment, plain = "2026-01-01T00:00:00+00:00", "plain"
    rows = {
        "project": {"id": PROJECT, "name": "default", "created_at": moment},
        "model": {
            "id": "starter",
            "kind": "base",
            "source": "folder:/old/starter",
            "digest": "d",
            "created_at": moment,
            "deleted_at": None,
        },
    }
    tables = []
    for name, row in rows.items():
        with lines.Writer(tmp_path / name) as writer:
            writer.write(row)
        kinds = {column: "moment" if column.endswith("_at") else plain for column in row}
        tables.append(Table(name, kinds, writer.lines))
    with lines.Writer(tmp_path / "none") as none:
        pass
    manifest = Manifest("old", moment, "0011", "sqlite", tuple(tables), none.lines, 0, (), secrets=True)
    for name in rows:
        place.put_file(manifest.key(table_key(name)), tmp_path / name)
    place.put_file(manifest.key("objects.jsonl.gz"), tmp_path / "none")
    manifest.write(place)
    restore(elsewhere, place, chosen(place, "old"))
    with opened(elsewhere) as after, transaction(after.database) as session:
        assert doctor.check_database(after.database).health is doctor.Health.ok
        assert session.get_one(Project, PROJECT).name == "default"
        assert session.get_one(Model, "starter").source.endswith("/examples/emoji/model")


def test_a_backup_of_a_newer_version_is_refused(
    laptop: Platform, place: ObjectStore, elsewhere: Settings
) -> None:
    manifest = create(laptop.settings, place).manifest
    newer = Manifest(**(vars(manifest) | {"revision": "9999"}))
    with pytest.raises(ValueError, match="revision 9999, which this version of Spindle does not know"):
        restore(elsewhere, place, newer)


def test_secrets_stay_out_when_asked(
    laptop: Platform, filled: Filled, place: ObjectStore, elsewhere: Settings
) -> None:
    manifest = create(laptop.settings, place, secrets=False).manifest
    read = b""
    for table in manifest.tables:
        for row in lines.read(place, manifest.key(table_key(table.name)), table.lines):
            read += repr(row).encode()
    for secret in (keys.digest(filled.secret), "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"):
        assert secret.encode() not in read
    restore(elsewhere, place, manifest)
    with opened(elsewhere) as after, transaction(after.database) as session:
        hook = session.get_one(WebhookEndpoint, "wh-1")
        assert (hook.enabled, hook.disabled_reason) == (False, UNSIGNED)
        assert hook.secret.startswith("whsec_")
        first = keys.verify(session, secret=(elsewhere.state / "key").read_text().strip())
        assert first.project_id == PROJECT
        good = session.scalars(select(ApiKey.id).where(ApiKey.revoked_at.is_(None))).all()
        assert good == [first.key_id]
