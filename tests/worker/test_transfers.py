"""Exports and imports by real workers: checked, loaded within limits, used, written again."""

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, load_file, save_file
from sqlalchemy import select

from core import files, registry
from core.db import transaction
from core.keys import DEFAULT_PROJECT
from core.models import (
    ExportFormat,
    JobState,
    Model,
    ModelExport,
    ModelImport,
    ModelKind,
    TransferState,
    Unit,
    UnitKind,
)
from core.runs import jobs
from core.sources import resolve
from core.transfers import exports, imports
from spin_engine import weights
from spin_engine.families.loader import load as load_family
from spin_engine.transfers import lora
from spin_engine.weights import ADAPTER_FILE
from tests.worker.platform import Platform, archive, platform

pytestmark = pytest.mark.timeout(1800)
RANK = 2
KINDS = f"{UnitKind.ingest},{UnitKind.export},{UnitKind.import_}"
ONE_STEP: dict[str, Any] = {
    "type": "sft",
    "sft": {
        "hyperparameters": {
            "steps": 1,
            "batch_size": 2,
            "rank": RANK,
            "eval_samples": 1,
            "eval_steps": 1,
        }
    },
}


def kohya(base: Path, folder: Path) -> Path:
    """Write a LoRA for a base model as kohya's scripts do, and return the file."""
    family = load_family(base)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        weights.add_adapter(family.layout, family.denoiser, rank=RANK, seed=3)
        for name, value in family.denoiser.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(value, std=0.1)
    weights.save(family.layout, family.denoiser, folder / "weights", kind="lora", about={})
    layers, _ = lora.read(folder / "weights" / ADAPTER_FILE)
    save_file(lora.to_kohya(layers, one_text_encoder=True), folder / "fox.safetensors")
    return folder / "fox.safetensors"


def zipped(folder: Path, target: Path, **changes: Any) -> Path:
    """Zip a pipeline whose U-Net's config is changed."""
    copy = target.with_suffix("")
    shutil.copytree(folder, copy)
    config = copy / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    return Path(shutil.make_archive(str(copy), "zip", copy))


def upload(made: Platform, path: Path) -> str:
    file_id = files.new_id()
    key = files.object_key(project_id=DEFAULT_PROJECT, file_id=file_id)
    stored = made.store.put_file(key, path)
    with transaction(made.database) as session:
        return files.create_file(
            session,
            project_id=DEFAULT_PROJECT,
            file_id=file_id,
            filename=path.name,
            purpose="fine-tune",
            stored=stored,
            key=key,
        ).id


def begin(made: Platform, path: Path, **told: Any) -> str:
    file_id = upload(made, path)
    with transaction(made.database) as session:
        return imports.request_import(session, project_id=DEFAULT_PROJECT, file_id=file_id, **told).id


def ended(made: Platform, import_id: str) -> ModelImport:
    def look() -> ModelImport | None:
        with transaction(made.database) as session:
            row = session.get_one(ModelImport, import_id)
            return row if row.state is not TransferState.pending else None

    return made.until(look)


def exported(made: Platform, model: str, form: ExportFormat) -> bytes:
    with transaction(made.database) as session:
        export_id = exports.request_export(session, project_id=DEFAULT_PROJECT, model=model, form=form).id

    def look() -> ModelExport | None:
        with transaction(made.database) as session:
            row = session.get_one(ModelExport, export_id)
            return row if row.state is not TransferState.pending else None

    row = made.until(look)
    assert row.state is TransferState.ready, row.failure
    assert row.key is not None
    with made.store.open(row.key) as stream:
        return stream.read()


def tuned(made: Platform, dataset: str, model: str) -> str:
    """Fine-tune a model, and return the job."""
    with transaction(made.database) as session:
        return jobs.create_job(
            session, project_id=DEFAULT_PROJECT, model=model, training_file=dataset, method=ONE_STEP, seed=7
        ).id


def test_a_lora_comes_in_is_trained_on_and_goes_out_again(tmp_path: Path) -> None:
    with platform(tmp_path) as made:
        made.start("units", "--except", KINDS)
        made.start("units", "--kinds", KINDS)
        tiny = tmp_path / "models" / "tiny"
        file = kohya(tiny, tmp_path)
        good = begin(made, file, base_model="tiny", name="fox")
        whole = begin(made, zipped(tiny, tmp_path / "whole.zip"), base_model="tiny")
        bad = {
            begin(made, zipped(tiny, tmp_path / "wide.zip", block_out_channels=[64, 128])): "unet ",
            begin(made, zipped(tiny, tmp_path / "long.zip", layers_per_block=10**7)): "but there are only",
        }
        dataset = made.upload(archive(tmp_path, 4))

        row = ended(made, good)
        assert (row.state, row.failure) == (TransferState.ready, None)
        assert row.found is not None
        assert {name: row.found[name] for name in ("kind", "layout", "ranks")} == {
            "kind": "lora",
            "layout": "kohya",
            "ranks": [RANK],
        }
        with transaction(made.database) as session:
            model = session.get_one(Model, row.model_id)
            assert (model.kind, model.base_model_id) == (ModelKind.imported, "tiny")
            found = registry.resolve_for_use(session, project_id=DEFAULT_PROJECT, name=model.id)
            assert (found.pipeline, found.weights) == (f"folder:{tiny}", model.weights)
            names = {each.path for each in resolve(session, model.weights or "").files}
            assert names == {ADAPTER_FILE, "weights.json"}

        job_id = tuned(made, dataset, row.model_id)
        given = load_file(file)
        again = load(exported(made, row.model_id, ExportFormat.a1111))
        assert set(again) == set(given)
        assert all(torch.allclose(again[name].float(), given[name].float()) for name in given)
        with zipfile.ZipFile(io.BytesIO(exported(made, row.model_id, ExportFormat.diffusers))) as folder:
            assert {"README.md", "model_index.json", ADAPTER_FILE} <= set(folder.namelist())
            assert b"base_model: tiny" in folder.read("README.md")

        pipeline = ended(made, whole)
        assert (pipeline.state, pipeline.failure) == (TransferState.ready, None)
        for import_id, said in bad.items():
            refused = ended(made, import_id)
            assert refused.state is TransferState.failed
            assert (refused.failure or {})["reason"] == "user_error", refused.failure
            assert said in (refused.failure or {})["message"]
            assert not list(made.store.list(f"imports/{import_id}/"))
            with transaction(made.database) as session:
                assert session.get(Model, refused.model_id) is None
                unit = session.scalars(select(Unit).where(Unit.transfer_id == import_id)).one()
                assert unit.attempt == 1
        made.until(lambda: made.job(job_id).state is JobState.succeeded)
