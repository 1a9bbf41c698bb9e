"""What a new job can be made of: every setting is described, and every preset is a job that can be run."""

import json
from typing import Any

import pytest

from core import offers
from core.methods import hyperparameters_of
from core.runs.jobs import resolved_method
from core.settings import STARTER
from spin_engine.config import HYPERPARAMETERS, METHODS

STARTERS: dict[str, Any] = json.loads((STARTER / "spindle" / "defaults.json").read_text())


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("defaults", [STARTERS, {}], ids=["starter", "none"])
def test_every_preset_can_be_run(kind: str, defaults: dict[str, Any]) -> None:
    offer = offers.offer(kind, defaults)
    steps = {}
    for preset in offer.presets:
        method = {"type": kind, kind: {"hyperparameters": preset.hyperparameters}}
        asked = hyperparameters_of(resolved_method(method, defaults))
        steps[preset.name] = sum(asked.for_iteration(number).steps for number in asked.iterations)
    assert steps["quick"] * 4 <= steps["recommended"] < steps["thorough"]


@pytest.mark.parametrize("kind", METHODS)
def test_every_setting_is_offered_with_its_help(kind: str) -> None:
    offer = offers.offer(kind, STARTERS)
    assert {each.name for each in offer.settings} == set(HYPERPARAMETERS[kind].model_fields)
    assert [each.name for each in offer.settings if not each.help] == []
    assert offer.summary
    assert offer.title


def test_a_setting_knows_its_kind_and_its_limits() -> None:
    found = {each.name: each for each in offers.offer("spin", STARTERS).settings}
    assert (found["steps"].kind, found["steps"].recommended) == ("values", [80, 80])
    assert (found["adapter"].kind, found["adapter"].choices) == ("choice", ("lora", "full"))
    assert (found["gate"].kind, found["metrics"].kind, found["warmup"].kind) == ("flag", "names", "number")
    assert (found["n_iterations"].minimum, found["n_iterations"].maximum) == (1, 100)
    assert found["sft_steps"].label == "Supervised steps before"
    assert not found["warmup"].first


def test_presets_are_made_from_what_is_recommended() -> None:
    _, quick, thorough = offers.offer("spin", STARTERS).presets
    assert quick.hyperparameters == {"steps": [10, 10], "sft_steps": 30, "eval_samples": 16, "eval_seeds": 1}
    assert thorough.hyperparameters == {
        "n_iterations": 3,
        "steps": [80, 80, 80],
        "learning_rate": [5e-5, 2e-6, 2e-6],
        "eval_samples": 64,
        "eval_seeds": 2,
    }
    assert offers.preset(offers.offer("sft", {}), "nobody's").name == "recommended"
