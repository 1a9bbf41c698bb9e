"""A unit that cannot be what was meant is refused before any work."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from spin_engine.unit_spec import UnitSpec

GOOD: dict[str, Any] = {
    "kind": "train",
    "method": {"type": "sft"},
    "seed": 0,
    "iteration": 1,
    "inputs": {"base": "/base", "encoded": "/encoded"},
    "out": "/out",
    "resume": None,
}


def test_json_round_trip() -> None:
    spec = UnitSpec.model_validate(GOOD)
    assert spec.inputs["base"] == Path("/base")
    assert UnitSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": {"base": "/base"}}, r"train needs the inputs \['encoded'\]"),
        ({"inputs": {**GOOD["inputs"], "rival": "/x"}}, r"does not read the inputs \['rival'\]"),
        ({"kind": "generate", "shard": 2, "shards": 2}, "shards count from 0"),
        ({"shards": 2}, "shards is for encode and generate"),
        ({"kind": "generate", "resume": "/x"}, "resume is for train"),
        ({"iteration": -1}, "train has no iteration -1"),
        ({"colour": "red"}, "Extra inputs are not permitted"),
        ({"seed": -1}, "greater than or equal to 0"),
    ],
)
def test_refusals(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        UnitSpec.model_validate(GOOD | change)
