"""Each preset is a job that the engine would run."""

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from spin_engine import config
from spin_engine.config import SpinHyperparameters
from spin_engine.data import rows

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
