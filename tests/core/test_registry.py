"""Models by name on both databases: base models from folders, results, checkpoints, lineage."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from core import base_models, digests, registry
from core.db import Database, transaction
from core.errors import Conflict, Invalid, NotFound
from core.lineage import steps as lineage_steps
from core.models import Checkpoint, Event, Job, JobState, Model, ModelKind, UnitKind
from core.runs import jobs, records
from core.settings import Settings
from core.sources import Source, SourceFile
from tests.core.runs.making import FILES, PROJECT, TINY, claim_next, ready_dataset, succeed

OTHER = "proj-default"
SAVED = [
    {"path": "weights/unet.safetensors", "key": "c/1", "sha256": "1" * 64, "size": 3},
    {"path": "trainer.json", "key": "c/2", "sha256": "2" * 64, "size": 4},
]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder of base models with one in it, ``tiny``."""
    folder = tmp_path / "bases"
    (folder / "tiny" / "spindle").mkdir(parents=True)
    (folder / "tiny" / "model_index.json").write_text("{}")
    (folder / "tiny" / "spindle" / "defaults.json").write_text('{"spin": {"n_iterations": 2}}')
    (folder / "no-pipeline").mkdir()
    return folder


def run_job(
    database: Database,
    *,
    model: str = "starter",
    suffix: str | None = None,
    to_first_checkpoint: bool = False,
) -> str:
    """Run a job to its end, with one checkpoint a training, or just to the first of these; return its id."""
    with transaction(database) as session:
        dataset_id = session.scalar(select(Job.dataset_id).limit(1))
    dataset_id = dataset_id or ready_dataset(database, rows=1)
    with transaction(database) as session:
        job_id = jobs.create_job(
            session,
            project_id=PROJECT,
            model=model,
            training_file=dataset_id,
            method={"type": "spin", "spin": {"hyperparameters": TINY}},
            suffix=suffix,
        ).id
    while not _ended(database, job_id):
        claim = claim_next(database)
        if claim.kind is UnitKind.train:
            with transaction(database) as session:
                records.record_checkpoint(
                    session, claim, iteration=claim.iteration, step=3, files=SAVED, metrics={}
                )
            if to_first_checkpoint:
                break
        succeed(database, claim)
    return job_id


def _ended(database: Database, job_id: str) -> bool:
    with transaction(database) as session:
        return session.get_one(Job, job_id).state is JobState.succeeded


def checkpoints(database: Database, job_id: str) -> list[str]:
    with transaction(database) as session:
        found = session.scalars(
            select(Checkpoint.id).where(Checkpoint.job_id == job_id).order_by(Checkpoint.iteration)
        )
        return list(found)


def test_base_models_are_those_in_their_folders(database: Database, settings: Settings, base: Path) -> None:
    here = settings.model_copy(update={"base_models": base})
    with transaction(database) as session:
        names = base_models.register_base_models(session, base_models.base_models(here))
        assert "tiny" in names
        assert "no-pipeline" not in names
        model = session.get_one(Model, "tiny")
        assert (model.kind, model.project_id, model.source) == (
            ModelKind.base,
            None,
            f"folder:{base / 'tiny'}",
        )
        assert model.defaults == {"spin": {"n_iterations": 2}}
        assert model.digest == digests.of_folder(base / "tiny")
        created = model.created_at
    (base / "tiny" / "spindle" / "defaults.json").write_text('{"spin": {"n_iterations": 3}}')
    with transaction(database) as session:
        base_models.register_base_models(session, base_models.base_models(here))
        again = session.get_one(Model, "tiny")
        assert again.defaults == {"spin": {"n_iterations": 3}}
        assert again.created_at == created
        assert again.digest == digests.of_folder(base / "tiny") != model.digest


def test_a_base_model_that_is_gone_is_not_offered(database: Database, settings: Settings, base: Path) -> None:
    here = settings.model_copy(update={"base_models": base})
    with transaction(database) as session:
        base_models.register_base_models(session, base_models.base_models(here))
    index = base / "tiny" / "model_index.json"
    index.unlink()
    with transaction(database) as session:
        base_models.register_base_models(session, base_models.base_models(here))
        with pytest.raises(NotFound):
            registry.get_model(session, project_id=PROJECT, model_id="tiny")
    index.write_text("{}")
    with transaction(database) as session:
        base_models.register_base_models(session, base_models.base_models(here))
        assert registry.get_model(session, project_id=PROJECT, model_id="tiny").id == "tiny"


def bad_name(base: Path) -> None:
    (base / "tiny").rename(base / "ti:ny")


def bad_defaults(base: Path) -> None:
    (base / "tiny" / "spindle" / "defaults.json").write_text("[]")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (bad_name, "name a base model's folder by letters, digits, dot, dash, underscore"),
        (bad_defaults, "defaults.json is not an object of hyperparameters by method"),
    ],
)
def test_a_base_model_that_cannot_be_used_is_told(
    settings: Settings, base: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(base)
    with pytest.raises(ValueError, match=message):
        base_models.base_models(settings.model_copy(update={"base_models": base}))


def test_a_base_model_for_use(database: Database) -> None:
    ready_dataset(database)
    with transaction(database) as session:
        found = registry.resolve_for_use(session, project_id=PROJECT, name="starter")
    assert found == registry.Resolved("starter", "starter", "folder:/models/starter", "d1", None, {})


def test_a_result_is_published_once_with_its_job(database: Database) -> None:
    job_id = run_job(database, suffix="birds")
    with transaction(database) as session:
        job = session.get_one(Job, job_id)
        model = session.scalars(select(Model).where(Model.kind == ModelKind.result)).one()
        assert model.id == job.result_model_id == f"ft:starter:birds:{job_id[-10:]}"
        assert (model.project_id, model.base_model_id, model.job_id) == (PROJECT, "starter", job_id)
        unit_id = model.source.removeprefix("unit:").removesuffix("/model")
        assert registry.publish(session, job=job, unit_id=unit_id, output={"files": FILES}) is model
        assert session.scalar(select(func.count(Event.id)).where(Event.type == "model")) == 1
        found = registry.files_of(session, project_id=PROJECT, model_id=model.id)
        assert found == Source(files=(SourceFile("model_index.json", "k/2", "b" * 64, 2),))
        resolved = registry.resolve_for_use(session, project_id=PROJECT, name=model.id)
        assert (resolved.base_model_id, resolved.pipeline, resolved.weights) == (
            "starter",
            model.source,
            None,
        )
        assert resolved.digest == digests.of_manifest([FILES[1]])


def test_a_result_without_a_suffix_keeps_the_shape_of_its_name(database: Database) -> None:
    job_id = run_job(database)
    with transaction(database) as session:
        assert session.get_one(Job, job_id).result_model_id == f"ft:starter::{job_id[-10:]}"


def test_a_checkpoint_is_a_model(database: Database) -> None:
    job_id = run_job(database, to_first_checkpoint=True)
    [checkpoint_id] = checkpoints(database, job_id)
    with transaction(database) as session:
        model = registry.get_model(session, project_id=PROJECT, model_id=checkpoint_id)
        assert (model.kind, model.base_model_id, model.job_id) == (ModelKind.checkpoint, "starter", job_id)
        found = registry.resolve_for_use(session, project_id=PROJECT, name=checkpoint_id)
        assert (found.pipeline, found.digest) == ("folder:/models/starter", "d1")
        assert found.weights == f"checkpoint:{checkpoint_id}/weights"
        source = registry.files_of(session, project_id=PROJECT, model_id=checkpoint_id)
        assert source == Source(files=(SourceFile("unet.safetensors", "c/1", "1" * 64, 3),))
    with transaction(database) as session:
        assert session.get(Model, checkpoint_id) is None


def test_what_is_anothers_does_not_exist(database: Database) -> None:
    job_id = run_job(database)
    saved = checkpoints(database, job_id)
    with transaction(database) as session:
        result = session.get_one(Job, job_id).result_model_id
        assert result is not None
        for name in (result, *saved):
            with pytest.raises(NotFound):
                registry.resolve_for_use(session, project_id=OTHER, name=name)
            with pytest.raises(NotFound):
                registry.delete_model(session, project_id=OTHER, model_id=name)
        page = registry.list_models(session, project_id=OTHER, after=None, limit=9)
        assert [model.id for model in page.items] == ["starter"]


def test_an_unknown_model_is_answered_with_those_there_are(database: Database) -> None:
    run_job(database)
    with transaction(database) as session:
        result = session.scalar(select(Job.result_model_id))
        with pytest.raises(NotFound) as caught:
            registry.resolve_for_use(session, project_id=PROJECT, name="starrter", param="model")
    assert caught.value.message == f"there is no model starrter; there are: {result}, starter"
    assert (caught.value.param, caught.value.code) == ("model", "model_not_found")


def test_pages_of_models_newest_first(database: Database) -> None:
    ids = [run_job(database)[-10:] for _ in range(2)]
    with transaction(database) as session:
        first = registry.list_models(session, project_id=PROJECT, after=None, limit=2)
        assert [model.id[-10:] for model in first.items] == ids[::-1]
        assert first.has_more
        last = registry.list_models(session, project_id=PROJECT, after=first.items[-1].id, limit=2)
        assert ([model.id for model in last.items], last.has_more) == (["starter"], False)
        with pytest.raises(Invalid):
            registry.list_models(session, project_id=PROJECT, after="ft:none", limit=2)


def test_only_results_can_be_deleted(database: Database) -> None:
    job_id = run_job(database)
    [first, _] = checkpoints(database, job_id)
    with transaction(database) as session:
        result = session.get_one(Job, job_id).result_model_id
        assert result is not None
        for name, kind in (("starter", "base"), (first, "checkpoint")):
            with pytest.raises(Conflict, match=f"is a {kind}: only results and imports can be deleted"):
                registry.delete_model(session, project_id=PROJECT, model_id=name)
        registry.delete_model(session, project_id=PROJECT, model_id=result)
    with transaction(database) as session:
        with pytest.raises(NotFound):
            registry.get_model(session, project_id=PROJECT, model_id=result)
        page = registry.list_models(session, project_id=PROJECT, after=None, limit=9)
        assert [model.id for model in page.items] == ["starter"]
        assert registry.get_model(session, project_id=PROJECT, model_id=first).id == first


def test_lineage_leads_back_to_the_base_and_the_data(database: Database) -> None:
    first = run_job(database)
    with transaction(database) as session:
        first_model = session.get_one(Job, first).result_model_id
    assert first_model is not None
    second = run_job(database, model=first_model)
    with transaction(database) as session:
        second_model = session.get_one(Job, second).result_model_id
        assert second_model is not None
        registry.delete_model(session, project_id=PROJECT, model_id=first_model)
        steps = lineage_steps.lineage(session, project_id=PROJECT, model_id=second_model)
    shown = [(step["type"], step.get("id", step.get("iteration"))) for step in steps]
    dataset = shown[4][1]
    assert shown == [
        ("model", second_model),
        ("checkpoint", checkpoints(database, second)[-1]),
        ("iteration", 2),
        ("job", second),
        ("dataset", dataset),
        ("model", first_model),
        ("checkpoint", checkpoints(database, first)[-1]),
        ("iteration", 2),
        ("job", first),
        ("dataset", dataset),
        ("model", "starter"),
    ]
    assert steps[4] | {"id": ""} == {
        "type": "dataset",
        "id": "",
        "name": "pictures",
        "version": 1,
        "sha256": "f" * 64,
    }
    json.dumps(steps)


def test_lineage_of_a_checkpoint_names_its_own_iteration(database: Database) -> None:
    job_id = run_job(database)
    [first, _] = checkpoints(database, job_id)
    with transaction(database) as session:
        steps = lineage_steps.lineage(session, project_id=PROJECT, model_id=first)
    assert [(step["type"], step.get("id", step.get("iteration"))) for step in steps][:4] == [
        ("model", first),
        ("checkpoint", first),
        ("iteration", 1),
        ("job", job_id),
    ]


def test_digest_of_a_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "unet").mkdir(parents=True)
        (tmp_path / name / "unet" / "config.json").write_text("{}")
    assert digests.of_folder(tmp_path / "a") == digests.of_folder(tmp_path / "b")
    (tmp_path / "b" / "unet" / "config.json").write_text("[]")
    assert digests.of_folder(tmp_path / "a") != digests.of_folder(tmp_path / "b")
    (tmp_path / "b" / "unet" / "config.json").write_text("{}")
    (tmp_path / "b" / "unet" / "config.json").rename(tmp_path / "b" / "unet" / "other.json")
    assert digests.of_folder(tmp_path / "a") != digests.of_folder(tmp_path / "b")
