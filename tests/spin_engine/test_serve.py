"""The warm drawing process, on a tiny real pipeline."""

import io
import json
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from spin_engine.families.loader import load
from spin_engine.sampler import draw
from spin_engine.serve import Show, serve
from spin_engine.serving import drawing as serving
from spin_engine.serving.drawing import moments
from tests.tiny import SIDE, build_pipeline

ONE_GREY_LEVEL = 1


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve") / "base"
    build_pipeline(folder)
    return folder


def wish(out: Path, /, **changes: Any) -> dict[str, Any]:
    asked = {"id": "img-1", "model": "tiny", "prompt": "red circle", "seeds": [7, 8], "out": str(out)}
    return asked | changes


def batch(base: Path, /, *wishes: dict[str, Any], **changes: Any) -> str:
    asked = {"id": "batch", "base": str(base), "steps": 2, "guidance_scale": 2.0, "drawings": list(wishes)}
    return json.dumps(asked | changes) + "\n"


def ask(*lines: str, memory_bytes: int = 0) -> list[dict[str, Any]]:
    """Return all that is said; answers have no type."""
    stdout = io.StringIO()
    serve(io.StringIO("".join(lines)), stdout, memory_bytes=memory_bytes)
    return [json.loads(line) for line in stdout.getvalue().splitlines()]


def answers(*lines: str) -> dict[str, dict[str, Any]]:
    return {line["id"]: line for line in ask(*lines) if "type" not in line}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_draws_what_the_sampler_draws(base: Path, tmp_path: Path) -> None:
    nearly, found = ask(batch(base, wish(tmp_path / "out")))
    assert nearly == {"type": "nearly", "id": "batch"}
    assert found["id"] == "img-1"
    assert found["files"] == ["0.png", "1.png"]
    assert found["together"] == 2
    assert found["seconds"] > 0
    expected = draw(load(base), ["red circle"] * 2, ["", ""], [7, 8], steps=2, guidance=2.0)
    for name, picture in zip(found["files"], expected, strict=True):
        with Image.open(tmp_path / "out" / name) as drawn:
            assert drawn.tobytes() == picture.tobytes()


def test_a_picture_depends_on_its_seed_alone_whatever_it_is_drawn_with(base: Path, tmp_path: Path) -> None:
    """Kernels may split their work by the size of a batch: one grey level of 255 is what that may do."""
    prompts = ["red circle", "green square", "blue triangle"]
    together = [
        wish(
            tmp_path / f"together-{n}",
            id=f"img-{n}",
            prompt=prompt,
            seeds=[n, n + 40],
            negative_prompt="x" * n,
        )
        for n, prompt in enumerate(prompts)
    ]
    alone = [each | {"out": each["out"].replace("together", "alone")} for each in together]
    assert {line["together"] for line in answers(batch(base, *together, steps=4)).values()} == {6}
    for each in alone:
        lines = batch(base, each | {"seeds": each["seeds"][:1]}, steps=4)
        assert answers(lines)[each["id"]]["together"] == 1
    for n in range(3):
        one, other = pixels(tmp_path / f"together-{n}" / "0.png"), pixels(tmp_path / f"alone-{n}" / "0.png")
        assert np.abs(one - other).max() <= ONE_GREY_LEVEL
        assert np.abs(one - pixels(tmp_path / f"together-{n}" / "1.png")).max() > ONE_GREY_LEVEL


def test_a_file_says_what_it_was_drawn_from(base: Path, tmp_path: Path) -> None:
    prompt, negative = "красный круг 赤い丸 🔴", "niente — «blu»"
    ask(batch(base, wish(tmp_path, prompt=prompt, negative_prompt=negative), guidance_scale=7.5))
    with Image.open(tmp_path / "1.png") as drawn:
        told = dict(drawn.text)  # type: ignore[attr-defined]  # of PNG files
    assert told.pop("Software").startswith("Spindle ")
    assert told == {
        "prompt": prompt,
        "negative_prompt": negative,
        "model": "tiny",
        "seed": "8",
        "steps": "2",
        "guidance_scale": "7.5",
        "size": f"{SIDE}x{SIDE}",
    }


def test_draws_the_asked_size_and_more_seeds_than_go_at_once(base: Path, tmp_path: Path) -> None:
    line = batch(base, wish(tmp_path, seeds=list(range(5))), width=2 * SIDE, height=SIDE, steps=1, pictures=2)
    assert answers(line)["img-1"]["files"] == [f"{index}.png" for index in range(5)]
    with Image.open(tmp_path / "4.png") as drawn:
        assert drawn.size == (2 * SIDE, SIDE)


@pytest.mark.parametrize(
    ("of_the_wish", "of_the_batch", "message"),
    [
        ({"seeds": []}, {}, "seeds"),
        ({"colour": "red"}, {}, "colour"),
        ({}, {"steps": 0}, "steps"),
        ({}, {"guidance_scale": 0.5}, "guidance_scale"),
        ({}, {"base": "/nowhere"}, "no model_index.json"),
        ({}, {"width": 33}, "33x32 is not a multiple"),
        ({}, {"weights": "/nowhere"}, "/nowhere holds neither"),
    ],
)
def test_answers_what_is_wrong_and_lives(
    base: Path, tmp_path: Path, of_the_wish: Any, of_the_batch: Any, message: str
) -> None:
    found = answers(
        batch(base, wish(tmp_path / "wrong", id="wrong", **of_the_wish), **of_the_batch),
        batch(base, wish(tmp_path / "right", id="right")),
    )
    assert found["wrong"]["reason"] == "user_error"
    assert message in found["wrong"]["error"]
    assert not list((tmp_path / "wrong").glob("*"))
    assert found["right"]["files"] == ["0.png", "1.png"]


def test_answers_what_is_no_json(base: Path, tmp_path: Path) -> None:
    found = [line for line in ask("{\n", "\n", "[]\n", batch(base, wish(tmp_path))) if "type" not in line]
    assert [row["id"] for row in found] == [None, None, "img-1"]
    assert [row.get("reason") for row in found] == ["user_error", "user_error", None]


def test_answers_damaged_weights_as_internal(base: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "pytorch_lora_weights.safetensors").write_bytes(b"not tensors")
    found = answers(
        batch(base, wish(tmp_path / "out"), weights=str(weights)), batch(base, wish(tmp_path / "b", id="b"))
    )
    assert found["img-1"]["reason"] == "internal"
    assert not (tmp_path / "out" / "0.png").exists()
    assert found["b"]["files"] == ["0.png", "1.png"]


def test_one_that_is_wrong_does_not_fail_its_neighbours(base: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way of a folder")
    found = answers(
        batch(
            base,
            wish(tmp_path / "a", id="a"),
            wish(tmp_path / "b", id="b", seeds=[-1]),
            wish(tmp_path / "file", id="c"),
            wish(tmp_path / "d", id="d"),
        )
    )
    assert [found[name]["files"] for name in "ad"] == [["0.png", "1.png"]] * 2
    assert (found["b"]["reason"], found["c"]["reason"]) == ("user_error", "internal")


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The denoiser breaks on more than two pictures at once, or for any with the caption that poisons."""
    sizes: list[int] = []
    real = serving.Trajectory

    def trajectory(family: Any, condition: Any, negative: Any, noise: Any, **more: Any) -> Any:
        sizes.append(len(noise))
        if len(noise) > 2:
            raise torch.OutOfMemoryError("made up")
        return real(family, condition, negative, noise, **more)

    def encoded(family: Any, captions: Any) -> Any:
        if "poison" in captions:
            raise RuntimeError("this caption breaks the encoder")
        return family.encode_text(list(captions))

    monkeypatch.setattr(serving, "Trajectory", trajectory)
    monkeypatch.setattr(serving, "_encoded", encoded)
    return sizes


def test_what_does_not_fit_into_memory_is_halved(base: Path, tmp_path: Path, poison: list[int]) -> None:
    found = answers(batch(base, wish(tmp_path, seeds=list(range(7)))))
    assert found["img-1"]["files"] == [f"{index}.png" for index in range(7)]
    assert poison == [7, 3, 1, 2, 4, 2, 2]


def test_a_poisonous_caption_is_told_alone(base: Path, tmp_path: Path, poison: list[int]) -> None:
    wishes = [
        wish(tmp_path / name, id=name, seeds=[1], prompt="poison" if name == "b" else "red circle")
        for name in "abc"
    ]
    found = answers(batch(base, *wishes))
    assert found["b"]["reason"] == "internal"
    assert "breaks the encoder" in found["b"]["error"]
    assert [found[name]["files"] for name in "ac"] == [["0.png"]] * 2
    assert poison == [1, 1]


def test_memory_that_runs_out_for_one_picture_is_told(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trajectory(*_: Any, **__: Any) -> Any:
        raise MemoryError("made up")

    monkeypatch.setattr(serving, "Trajectory", trajectory)
    found = answers(batch(base, wish(tmp_path)))
    assert found["img-1"]["reason"] == "out_of_memory"


def test_pictures_can_be_seen_on_their_way(base: Path, tmp_path: Path) -> None:
    watched = wish(tmp_path / "watched", id="watched", partial_images=2)
    said = ask(batch(base, wish(tmp_path / "other", id="other"), watched, steps=6))
    partials = [line for line in said if line.get("type") == "partial"]
    assert [(line["id"], line["picture"], line["index"]) for line in partials] == [
        ("watched", 0, 0),
        ("watched", 1, 0),
        ("watched", 0, 1),
        ("watched", 1, 1),
    ]
    final = pixels(tmp_path / "watched" / "1.png")
    off = [
        np.abs(pixels(tmp_path / "watched" / line["file"]) - final).mean()
        for line in partials
        if line["picture"] == 1
    ]
    assert off[0] > off[1]  # the later, the nearer
    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == ["0.png", "1.png"]


@pytest.mark.parametrize(
    ("number", "steps", "expected"),
    [(0, 20, []), (1, 20, [10]), (3, 20, [5, 10, 15]), (3, 2, [1]), (3, 1, [])],
)
def test_looks_are_spread(number: int, steps: int, expected: list[int]) -> None:
    assert moments(number, steps) == expected


class Pipe(io.StringIO):
    """A stdout that does something as soon as a line appears in it."""

    def __init__(self, react: Any) -> None:
        super().__init__()
        self._react = react

    def write(self, text: str) -> int:
        """Write it, and react."""
        self._react(json.loads(text))
        return super().write(text)


def test_what_is_cancelled_leaves_its_batch_and_the_others_stay_the_same(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look at a picture is the sign to cancel its neighbour; the next step waits for that."""
    seen, read = threading.Event(), threading.Event()

    def lines() -> Iterator[str]:
        yield batch(
            base,
            wish(tmp_path / "a", id="a", partial_images=1),
            wish(tmp_path / "b", id="b", seeds=[3]),
            steps=60,
        )
        seen.wait(20)
        yield '{"cancel": ["b", "unknown"]}\n'
        read.set()

    def unwanted(show: Show) -> Collection[str]:
        if seen.is_set():
            read.wait(20)
        return show.answers.unwanted

    monkeypatch.setattr(Show, "unwanted", unwanted)
    stdout = Pipe(lambda line: seen.set() if line.get("type") == "partial" else None)
    serve(lines(), stdout)  # type: ignore[arg-type]  # what can be iterated is enough
    found = {
        line["id"]: line for line in map(json.loads, stdout.getvalue().splitlines()) if "type" not in line
    }
    assert found["b"] == {"id": "b", "cancelled": True}
    assert not (tmp_path / "b").exists()
    assert found["a"]["together"] == 2
    answers(batch(base, wish(tmp_path / "alone", id="a"), steps=60))
    for name in ("0.png", "1.png"):
        assert (
            np.abs(pixels(tmp_path / "a" / name) - pixels(tmp_path / "alone" / name)).max() <= ONE_GREY_LEVEL
        )
