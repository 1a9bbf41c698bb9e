"""The warm drawing process, on a tiny real pipeline."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from spin_engine.families.loader import load
from spin_engine.sampler import draw
from spin_engine.serve import Warm, answer, serve
from tests.tiny import SIDE, build_pipeline


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve") / "base"
    build_pipeline(folder)
    return folder


def request(base: Path, out: Path, /, **changes: Any) -> str:
    asked = {
        "id": "img-1",
        "base": str(base),
        "weights": None,
        "prompt": "red circle",
        "negative_prompt": None,
    }
    asked |= {
        "seeds": [7, 8],
        "width": None,
        "height": None,
        "steps": 2,
        "guidance_scale": 2.0,
        "out": str(out),
    }
    return json.dumps(asked | changes) + "\n"


def ask(*lines: str) -> list[dict[str, Any]]:
    stdout = io.StringIO()
    serve(io.StringIO("".join(lines)), stdout)
    return [json.loads(line) for line in stdout.getvalue().splitlines()]


def test_draws_what_the_sampler_draws(base: Path, tmp_path: Path) -> None:
    (found,) = ask(request(base, tmp_path / "out"))
    assert found["id"] == "img-1"
    assert found["files"] == ["0.png", "1.png"]
    assert found["seconds"] > 0
    expected = draw(load(base), ["red circle"] * 2, ["", ""], [7, 8], steps=2, guidance=2.0)
    for name, picture in zip(found["files"], expected, strict=True):
        with Image.open(tmp_path / "out" / name) as drawn:
            assert drawn.tobytes() == picture.tobytes()


def test_draws_the_asked_size_and_more_seeds_than_a_batch(base: Path, tmp_path: Path) -> None:
    (found,) = ask(request(base, tmp_path, seeds=list(range(5)), width=2 * SIDE, height=SIDE, steps=1))
    assert found["files"] == [f"{index}.png" for index in range(5)]
    with Image.open(tmp_path / "4.png") as drawn:
        assert drawn.size == (2 * SIDE, SIDE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": []}, "seeds"),
        ({"steps": 0}, "steps"),
        ({"guidance_scale": 0.5}, "guidance_scale"),
        ({"colour": "red"}, "colour"),
        ({"base": "/nowhere"}, "no model_index.json"),
        ({"width": 33}, "33x32 is not a multiple"),
        ({"weights": "/nowhere"}, "/nowhere holds neither"),
    ],
)
def test_answers_a_wrong_request_and_lives(base: Path, tmp_path: Path, changes: Any, message: str) -> None:
    wrong, right = ask(request(base, tmp_path / "wrong", **changes), request(base, tmp_path / "right"))
    assert wrong["id"] == "img-1"
    assert wrong["reason"] == "user_error"
    assert message in wrong["error"]
    assert not list((tmp_path / "wrong").glob("*"))
    assert right["files"] == ["0.png", "1.png"]


def test_answers_what_is_no_json(base: Path, tmp_path: Path) -> None:
    found = ask("{\n", "\n", "[]\n", request(base, tmp_path))
    assert [row["id"] for row in found] == [None, None, "img-1"]
    assert [row.get("reason") for row in found] == ["user_error", "user_error", None]


def test_answers_damaged_weights_as_internal(base: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "pytorch_lora_weights.safetensors").write_bytes(b"not tensors")
    found = json.loads(json.dumps(answer(request(base, tmp_path / "out", weights=str(weights)), warm())))
    assert found["reason"] == "internal"
    assert not (tmp_path / "out" / "0.png").exists()


def test_keeps_the_last_used_warm(base: Path, tmp_path: Path) -> None:
    others = [tmp_path / "a", tmp_path / "b"]
    for other in others:
        build_pipeline(other)
    kept = warm()
    first = kept.family(base, None)
    second = kept.family(others[0], None)
    assert kept.family(base, None) is first
    kept.family(others[1], None)
    assert kept.family(base, None) is first
    assert kept.family(others[0], None) is not second


def warm() -> Warm:
    return Warm(size=2, device=torch.device("cpu"))
