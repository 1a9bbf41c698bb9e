"""Exports and imports as rows and units on both databases: made once, retried, protected, cleared."""

import io
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from core import files, registry
from core.clock import utcnow
from core.db import Database, transaction
from core.errors import Conflict, Invalid, NotFound
from core.models import (
    Checkpoint,
    Dataset,
    ExportFormat,
    File,
    Job,
    Model,
    ModelExport,
    ModelImport,
    ModelKind,
    TransferState,
    Unit,
    UnitKind,
    UnitState,
)
from core.registered import versions
from core.runs import claims, garbage, leftovers, reaping, units
from core.runs.claims import Claim
from core.runs.lifecycle import lock
from core.runs.retention import thin
from core.settings import Settings
from core.storage.store import ObjectStore, store_for
from core.transfers import exports, imports
from core.transfers.work import export_work, import_work
from tests.core.registered.test_protection import saved
from tests.core.runs.making import PROJECT, after, claim_next, ground
from tests.core.test_registry import run_job

LORA = [{"path": "weights/pytorch_lora_weights.safetensors", "key": "", "sha256": "7" * 64, "size": 4}]
MODEL = [{"path": "model/model_index.json", "key": "", "sha256": "8" * 64, "size": 2}]


@pytest.fixture
def bytes_in(settings: Settings) -> ObjectStore:
    """The store of the platform."""
    return store_for(settings)


def result(database: Database) -> str:
    job_id = run_job(database, suffix="birds")
    with transaction(database) as session:
        found = session.get_one(Job, job_id).result_model_id
        assert found is not None
        return found


def ask(database: Database, model: str, form: ExportFormat = ExportFormat.diffusers) -> ModelExport:
    with transaction(database) as session:
        return exports.request_export(session, project_id=PROJECT, model=model, form=form, key_id="key-1")


def take_in(database: Database, *, base: str | None = "starter", filename: str = "fox.safetensors") -> str:
    with transaction(database) as session:
        session.get_one(File, "file-1").filename = filename
        return imports.request_import(
            session, project_id=PROJECT, file_id="file-1", base_model=base, licence="mit"
        ).id


def finish(
    database: Database,
    claim: Claim,
    manifest: list[dict[str, Any]],
    store: ObjectStore | None = None,
    **more: Any,
) -> None:
    told = [file | {"key": f"{claim.prefix}/{file['path']}"} for file in manifest]
    if store is not None:
        for file in told:
            store.put(file["key"], io.BytesIO(b"x"), 1)
    with transaction(database) as session:
        units.succeed_unit(session, claim, output={"files": told} | more)


def imported(database: Database, **told: Any) -> tuple[str, Claim]:
    """Import a LoRA, and return the model's name and the claim that made it."""
    import_id = take_in(database, **told)
    claim = claim_next(database)
    assert (claim.kind, claim.transfer_id) == (UnitKind.import_, import_id)
    finish(database, claim, LORA, found={"kind": "lora", "layout": "kohya"})
    with transaction(database) as session:
        return session.get_one(ModelImport, import_id).model_id, claim


def test_the_same_export_is_made_once(database: Database) -> None:
    model = result(database)
    first, second = ask(database, model), ask(database, model)
    assert first.id == second.id
    claim = claim_next(database)
    assert (claim.kind, claim.transfer_id, claim.job_id) == (UnitKind.export, first.id, None)
    assert claim.prefix == f"exports/{first.id}/1"
    with transaction(database) as session:
        work = export_work(session, claim)
        assert (work.format, work.filename) == ("diffusers", first.filename)
        assert "# ft:starter:birds:" in work.card.replace("\\", "")
        assert [file.path for file in work.base.files] == ["model_index.json"]
    finish(database, claim, [{"path": first.filename, "key": "", "sha256": "9" * 64, "size": 7}])
    done = ask(database, model)
    assert (done.id, done.state, done.sha256, done.bytes) == (first.id, TransferState.ready, "9" * 64, 7)
    with transaction(database) as session:
        versions.add_version(session, project_id=PROJECT, name="bird", model=model, create=True)
    assert ask(database, model).id != first.id  # its card tells of the name


def test_a_lora_is_asked_of_what_has_one(database: Database) -> None:
    model = result(database)
    with transaction(database) as session:
        before = len(session.scalars(select(Unit)).all())
    with pytest.raises(Conflict, match="has no LoRA: all its weights were trained"):
        ask(database, model, ExportFormat.lora)
    with pytest.raises(NotFound):
        ask(database, "nobody")
    with transaction(database) as session:
        assert len(session.scalars(select(Unit)).all()) == before
        assert session.scalars(select(ModelExport)).all() == []


def test_an_import_becomes_weights_on_top_of_its_base(database: Database) -> None:
    with transaction(database) as session:
        ground(session)
    name, claim = imported(database)
    assert claim.prefix.startswith("imports/imp-")
    with transaction(database) as session:
        model = registry.get_model(session, project_id=PROJECT, model_id=name)
        assert (model.kind, model.base_model_id) == (ModelKind.imported, "starter")
        found = registry.resolve_for_use(session, project_id=PROJECT, name=name)
        assert found.weights == f"unit:{claim.unit_id}/weights"
        assert (found.pipeline, found.digest) == ("folder:/models/starter", "d1")
        [file] = registry.files_of(session, project_id=PROJECT, model_id=name).files
        assert file.path == "pytorch_lora_weights.safetensors"
        with pytest.raises(NotFound):
            registry.get_model(session, project_id="proj-default", model_id=name)
    assert ask(database, name, ExportFormat.a1111).filename == f"{name}-a1111.safetensors"


def test_a_pipeline_stands_for_itself(database: Database) -> None:
    with transaction(database) as session:
        ground(session)
    import_id = take_in(database, base=None, filename="mine.zip")
    claim = claim_next(database)
    with transaction(database) as session:
        assert import_work(session, claim).base is None
    finish(database, claim, MODEL, found={"kind": "pipeline", "size": {"parameters": 7}})
    with transaction(database) as session:
        row = session.get_one(ModelImport, import_id)
        found = registry.resolve_for_use(session, project_id=PROJECT, name=row.model_id)
        assert (found.base_model_id, found.pipeline) == (row.model_id, f"unit:{claim.unit_id}/model")
        assert found.weights is None
        model = session.get_one(Model, row.model_id)
        assert (found.digest, model.size) == (model.digest, {"parameters": 7})


def test_what_an_import_needs_is_asked_at_once(database: Database) -> None:
    with transaction(database) as session:
        ground(session)
    with pytest.raises(Invalid) as caught:
        take_in(database, base=None)
    assert caught.value.param == "base_model"
    with pytest.raises(NotFound):
        take_in(database, base="nobody")
    name, _ = imported(database)
    with pytest.raises(Invalid, match="is itself weights on top of starter"):
        take_in(database, base=name)
    with transaction(database) as session, pytest.raises(NotFound, match="there is no file file-none"):
        imports.request_import(session, project_id=PROJECT, file_id="file-none")


def test_a_file_that_is_being_imported_stays(database: Database) -> None:
    with transaction(database) as session:
        ground(session)
    take_in(database)
    with transaction(database) as session:
        session.execute(update(Dataset).values(state="ready"))
        with pytest.raises(Conflict, match="a dataset or a model is being made from file-1"):
            files.delete_file(session, project_id=PROJECT, file_id="file-1")
    finish(database, claim_next(database), LORA, found={"kind": "lora"})
    with transaction(database) as session:
        files.delete_file(session, project_id=PROJECT, file_id="file-1")


def test_a_lost_worker_is_tried_again_and_a_refusal_is_not(database: Database) -> None:
    with transaction(database) as session:
        ground(session)
    lost = take_in(database)
    claim = claim_next(database)
    with transaction(database) as session:
        assert reaping.reap(session, now=after(60)) == 1
    again = claim_next(database, now=after(600))
    assert (again.unit_id, again.fence) == (claim.unit_id, 2)
    with transaction(database) as session, pytest.raises(claims.StaleFence):
        units.succeed_unit(session, claim, output={"files": LORA, "found": {"kind": "lora"}})
    with transaction(database) as session:
        units.fail_unit(session, again, reason="user_error", message="x.py is code")
    with transaction(database) as session:
        row = session.get_one(ModelImport, lost)
        assert (row.state, row.failure) == (
            TransferState.failed,
            {"reason": "user_error", "message": "x.py is code"},
        )
        assert session.get_one(Unit, claim.unit_id).state is UnitState.failed
        assert session.get(Model, row.model_id) is None


def test_an_export_nobody_asks_for_goes_with_its_bytes(
    database: Database, bytes_in: ObjectStore, settings: Settings
) -> None:
    model = result(database)
    export = ask(database, model)
    file = {"path": "birds.zip", "key": "", "sha256": "9" * 64, "size": 1}
    finish(database, claim_next(database), [file], bytes_in)
    late = utcnow() + timedelta(days=settings.export_days + 1)
    with transaction(database) as session:
        assert exports.forget_unused(session) == 0
        assert exports.forget_unused(session, now=late) == 1
        assert session.get(ModelExport, export.id) is None
    assert list(bytes_in.list("exports/")) == [f"exports/{export.id}/1/birds.zip"]
    leftovers.clear(database, bytes_in, now=late)
    assert list(bytes_in.list("exports/")) == []
    assert ask(database, model).id != export.id


def test_leftovers_of_transfers_are_cleared_and_what_a_model_is_stays(
    database: Database, bytes_in: ObjectStore
) -> None:
    with transaction(database) as session:
        ground(session)
    import_id = take_in(database)
    claim = claim_next(database)
    for key in (f"imports/{import_id}/7/weights/lost", "imports/imp-none/1/x"):
        bytes_in.put(key, io.BytesIO(b"x"), 1)
    finish(database, claim, LORA, bytes_in, found={"kind": "lora"})
    kept = f"{claim.prefix}/{LORA[0]['path']}"
    leftovers.clear(database, bytes_in, now=utcnow() + timedelta(hours=2))
    assert set(bytes_in.list("imports/")) == {kept, "imports/imp-none/1/x"}
    garbage.sweep(database, bytes_in, now=utcnow() + timedelta(days=2))
    assert list(bytes_in.list("imports/")) == [kept]


def test_the_files_of_a_registered_import_stay(database: Database, bytes_in: ObjectStore) -> None:
    """The whole way: registered, older code marks it deleted, forgotten or not, cleared or not."""
    with transaction(database) as session:
        ground(session)
    take_in(database)
    claim = claim_next(database)
    finish(database, claim, LORA, bytes_in, found={"kind": "lora"})
    with transaction(database) as session:
        name = session.scalars(select(Model.id).where(Model.kind == ModelKind.imported)).one()
        versions.add_version(session, project_id=PROJECT, name="fox", model=name, create=True)
        with pytest.raises(Conflict, match=f"{name} is registered as fox@1"):
            registry.delete_model(session, project_id=PROJECT, model_id=name)
        session.get_one(Model, name).deleted_at = after(0)
    late = utcnow() + timedelta(days=2)

    def collect() -> list[str]:
        with transaction(database) as session:
            garbage.forget_models(session, now=late)
        leftovers.clear(database, bytes_in, now=late)
        garbage.sweep(database, bytes_in, now=late)
        return list(bytes_in.list("imports/"))

    assert collect() == [f"{claim.prefix}/{LORA[0]['path']}"]
    with transaction(database) as session:
        versions.delete_version(session, project_id=PROJECT, name="fox", version=1)
    assert collect() == []


def test_a_result_under_an_imported_lora_keeps_its_files(database: Database) -> None:
    model = result(database)
    name, _ = imported(database, base=model)
    with transaction(database) as session:
        registry.delete_model(session, project_id=PROJECT, model_id=model)
    late = utcnow() + timedelta(days=2)
    with transaction(database) as session:
        assert garbage.forget_models(session, now=late) == 0
        registry.delete_model(session, project_id=PROJECT, model_id=name)
    with transaction(database) as session:
        assert garbage.forget_models(session, now=late) >= 1


def test_a_checkpoint_that_is_being_exported_is_not_thinned_out(database: Database) -> None:
    job_id, found = saved(database, 4)
    with transaction(database) as session:
        for checkpoint in session.scalars(select(Checkpoint)):
            checkpoint.files = LORA
    ask(database, found[0], ExportFormat.lora)
    with transaction(database) as session:
        thin(session, lock(session, job_id))
        assert set(session.scalars(select(Checkpoint.id))) == {found[0], found[-1]}
    claim = claim_next(database)
    finish(database, claim, [{"path": "a.safetensors", "key": "", "sha256": "9" * 64, "size": 1}])
    with transaction(database) as session:
        thin(session, lock(session, job_id))
        assert set(session.scalars(select(Checkpoint.id))) == {found[-1]}
