"""Each preset is a job that the engine would run."""

import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from spin_engine import config
from spin_engine.config import SpinHyperparameters
from spin_engine.data import rows
from spin_engine.evaluation import EvaluationConfig, read_evaluation

ROOT = Path(__file__).parents[1]
PRESETS = sorted((ROOT / "configs").glob("*.yaml"))


def test_there_are_presets() -> None:
    assert {path.name for path in PRESETS} >= {"starter_spin.yaml", "starter_sft.yaml", "sd15_spin.yaml"}


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_preset_is_valid(path: Path) -> None:
    job = config.load(path)
    assert path.stem.endswith(f"_{job.method.type}")


@pytest.mark.parametrize("name", ["starter_spin.yaml", "starter_sft.yaml"])
def test_starter_data_is_there(name: str) -> None:
    job = config.load(ROOT / "configs" / name)
    assert job.validation_data is not None
    training = {row.caption for row in rows(ROOT / job.training_data)}
    held_out = {row.caption for row in rows(ROOT / job.validation_data)}
    assert len(training) > 100
    assert len(held_out) > 20
    assert not training & held_out


def test_sd15_has_the_papers_settings() -> None:
    found = config.load(ROOT / "configs" / "sd15_spin.yaml").method.hyperparameters
    assert isinstance(found, SpinHyperparameters)
    plans = [found.for_iteration(k) for k in found.iterations]
    assert [(plan.steps, plan.learning_rate, plan.constants["beta"]) for plan in plans] == [
        (50, 2e-5, 2000.0),
        (500, 2e-5, 5000.0),
        (200, 5e-8, 5000.0),
    ]
    assert (found.batch_size, found.adapter, found.resolution) == (2048, "full", 512)


@pytest.mark.parametrize("kind", ["spin", "sft"])
def test_auto_does_not_hide_a_typo(kind: str) -> None:
    asked = {"type": kind, kind: {"hyperparameters": {"batch_size": "auto", "btach_size": "auto"}}}
    filled = config.with_recommended(asked, {kind: {"batch_size": 8}})
    assert filled[kind]["hyperparameters"] == {"batch_size": 8, "btach_size": "auto"}
    with pytest.raises(ValidationError, match="btach_size"):
        TypeAdapter(config.Method).validate_python(filled)


# The paper: learning rate, beta, steps; its 200 steps of warm-up, or all steps where there are fewer.
PAPER = {1: (2e-5, 2000.0, 50, 50), 2: (2e-5, 5000.0, 500, 200), 3: (5e-8, 5000.0, 200, 200)}


@pytest.mark.parametrize("iteration", PAPER)
def test_the_papers_iterations(iteration: int) -> None:
    job = config.load(ROOT / "configs" / "paper" / f"sd15_iter{iteration}.yaml")
    found = job.method.hyperparameters
    assert isinstance(found, SpinHyperparameters)
    assert found.iterations == (1,)
    plan = found.for_iteration(1)
    rate, beta, steps, warmup = PAPER[iteration]
    assert (plan.learning_rate, plan.constants["beta"], plan.steps) == (rate, beta, steps)
    assert round(found.warmup * plan.steps) == warmup
    assert (found.batch_size, found.micro_batch_size, found.adapter) == (8 * 32 * 8, 8, "full")
    assert (found.weight_decay, found.schedule, found.resolution) == (1e-2, "linear", 512)
    assert (found.eval_guidance, job.seed) == (7.5, 5775709)


def test_each_iteration_goes_on_from_the_one_before() -> None:
    """The run folder that a config's comment names is the one whose model the next config reads."""
    paths = [ROOT / "configs" / "paper" / f"sd15_iter{iteration}.yaml" for iteration in PAPER]
    outs = [re.findall(r"--out (\S+)", path.read_text())[0] for path in paths]
    models = [config.load(path).model for path in paths]
    assert models[1:] == [f"{out}/model" for out in outs[:-1]]
    assert evaluation().model == f"{outs[-1]}/model"
    assert evaluation().opponent == models[0]


def evaluation() -> EvaluationConfig:
    return read_evaluation(ROOT / "configs" / "paper" / "eval_pickapic.yaml")


def test_the_papers_evaluation() -> None:
    found = evaluation()
    assert (found.images_per_prompt, found.guidance, found.seed, found.limit) == (5, 7.5, 5775709, 500)
    assert found.best_of == ("pickscore", "hpsv2.0", "imagereward", "aesthetic")
    networks = {choice.name: choice.network for choice in found.metrics}
    assert networks["pickscore"] == "yuvalkirstain/PickScore_v1"
    assert set(networks) == {*found.best_of, "clip_score"}


def test_nothing_else_lies_among_the_papers_configs() -> None:
    found = {path.name for path in (ROOT / "configs" / "paper").iterdir()}
    assert found == {*(f"sd15_iter{iteration}.yaml" for iteration in PAPER), "eval_pickapic.yaml"}
