"""Every method is listed in docs/methods.md as it is, has its own test, and refuses what it would ignore."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from spin_engine import config
from spin_engine.config import HYPERPARAMETERS, METHODS, Method
from spin_engine.hyperparameters import Hyperparameters

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "methods.md"
DATA = {
    "none": "captioned pictures",
    "drawn": "captioned pictures; draws its own rivals",
    "given": "pairs: a better and a worse picture a caption",
}
ALL = pytest.mark.parametrize("kind", METHODS)


def hyperparameters(kind: str, **given: Any) -> Hyperparameters:
    """Return a method's hyperparameters through the door that every job takes."""
    asked = {"type": kind, kind: {"hyperparameters": given}}
    return TypeAdapter[Method](Method).validate_python(asked).hyperparameters


def row(kind: str) -> str:
    """Return a method's line of the table, from its file."""
    text = importlib.import_module(f"spin_engine.objectives.{kind}").__doc__ or ""
    paper = re.search(r"arXiv (\d{4}\.\d{5})|openreview (\w+)", text)
    assert paper is not None
    address = (
        f"[{paper[1]}](https://arxiv.org/abs/{paper[1]})"
        if paper[1]
        else f"[{paper[2]}](https://openreview.net/forum?id={paper[2]})"
    )
    found = hyperparameters(kind)
    plan = found.for_iteration(found.iterations[-1])
    reference = {"opponent": "its opponent", "base": "the start"}[plan.judge]
    if plan.rivals == "given":
        reference = "the start"
    if plan.reference == "none":
        reference = "none"
    path = f"spin_engine/objectives/{kind}.py"
    own = [name for name in type(found).model_fields if name not in Hyperparameters.model_fields]
    shown = found.model_dump(mode="json", include=set(own))
    defaults = ", ".join(f"{name} {shown[name]}" for name in own if shown[name] is not None)
    columns = [f"`{kind}`", address, DATA[plan.rivals], reference, f"[{path}](../{path})", defaults]
    return f"| {' | '.join(columns)} |"


@ALL
def test_the_page_says_what_the_method_is(kind: str) -> None:
    assert row(kind) in PAGE.read_text().splitlines()


def test_the_page_lists_no_other() -> None:
    listed = re.findall(r"^\| `(\w+)`", PAGE.read_text(), re.MULTILINE)
    assert listed == list(METHODS)


@ALL
def test_a_method_is_one_file_and_one_test(kind: str) -> None:
    assert (ROOT / "spin_engine" / "objectives" / f"{kind}.py").is_file()
    assert (ROOT / "tests" / "spin_engine" / "objectives" / f"test_{kind}.py").is_file()
    presets = [path for path in (ROOT / "configs").rglob("*.yaml") if path.stem.endswith(f"_{kind}")]
    assert any(config.load(path).method.type == kind for path in presets)
    others = (ROOT / "spin_engine" / "losses.py", ROOT / "spin_engine" / "trainer.py")
    for path in others:
        assert not re.search(rf"[\"']{kind}[\"']", path.read_text()), f"{path} knows of {kind}"


@ALL
def test_unknown_keys_are_refused(kind: str) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        hyperparameters(kind, btea=1.0)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("sft", "beta", 1.0),
        ("sft", "safeguard", 0.9),
        ("sft", "stop_at_accuracy", 0.9),
        ("dpo", "rival_steps", 20),
        ("dpo", "n_iterations", 2),
        ("mapo", "reference", "online"),
        ("mapo", "draws", 2),
        ("kto", "safeguard", 0.9),
        ("dro", "beta", 1.0),
        ("dro", "states", "sampler"),
        ("seppo", "anchor", 1.0),
        ("spin", "min_snr", 5.0),
        ("spin", "earlier", 3),
    ],
)
def test_settings_that_a_method_would_ignore_are_refused(kind: str, name: str, value: Any) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        hyperparameters(kind, **{name: value})


@ALL
def test_recommendations_and_auto_apply(kind: str) -> None:
    asked = {"type": kind, kind: {"hyperparameters": {"batch_size": "auto", "rank": 4}}}
    filled = config.with_recommended(asked, {kind: {"batch_size": 8, "rank": 2}})
    found = TypeAdapter[Method](Method).validate_python(filled).hyperparameters
    assert (found.batch_size, found.rank) == (8, 4)
    assert type(found) is HYPERPARAMETERS[kind]


@ALL
def test_limits_reach_the_plan(kind: str) -> None:
    if kind == "sft":
        return
    found = hyperparameters(kind, winner_drift_limit=0.1, stop_at_accuracy=0.9, saturation=30)
    limits = found.for_iteration(1).limits
    assert (limits.winner_drift, limits.accuracy, limits.saturation) == (0.1, 0.9, 30)
