"""What can be set beside the method: each does what it says, and goes on to the same bits."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from spin_engine import checkpoint
from spin_engine.families.loader import load
from spin_engine.itinerary import Look
from spin_engine.latents import Encoded
from spin_engine.loss_scale import LossScale
from spin_engine.losses import Losses
from tests.spin_engine.conftest import Recorder, method, run
from tests.spin_engine.test_trainer import same_bits, tensors
from tests.tiny import picture

SFT = {"steps": 4, "batch_size": 4, "micro_batch_size": 4, "rank": 4, "learning_rate": 1e-3, "warmup": 0.0}


@pytest.fixture
def sources(pipeline: Path, encoded: Path) -> dict[str, Path]:
    return {"base": pipeline, "encoded": encoded}


def train(out: Path, inputs: dict[str, Path], **spec: Any) -> Recorder:
    hyper = SFT | {"checkpoint_every": 2} | spec.pop("hyper", {})
    body = {"type": "sft", "sft": {"hyperparameters": hyper}}
    return run("train", out / "out", inputs=inputs, method=body, **spec)


def goes_on(out: Path, inputs: dict[str, Path], hyper: dict[str, Any]) -> Recorder:
    """Train, go on from the checkpoint in the middle in another folder, and ask for the same bits."""
    heard = train(out / "whole", inputs, hyper=hyper)
    middle = out / "whole" / "checkpoints" / "step-00000002"
    train(out / "resumed", inputs, hyper=hyper, resume=middle)
    assert same_bits(out / "whole" / "out", out / "resumed" / "out")
    return heard


def test_the_running_mean_is_what_is_published(sources: dict[str, Path], tmp_path: Path) -> None:
    plain = train(tmp_path / "plain", sources)
    mean = goes_on(tmp_path / "mean", sources, {"ema_decay": 0.9})
    assert mean.values("loss") == plain.values("loss")
    folders = [tmp_path / "plain" / "checkpoints", tmp_path / "mean" / "whole" / "checkpoints"]
    ends = [folder / "step-00000004" for folder in folders]
    published = tmp_path / "mean" / "whole" / "out" / "weights"
    assert not same_bits(ends[0] / "weights", published)
    assert same_bits(ends[1] / "weights", published)
    own, adapter = load_file(ends[1] / "parameters.safetensors"), load(sources["base"], ends[0] / "weights")
    found = dict(adapter.denoiser.named_parameters())
    assert own
    assert all(torch.equal(found[name], value) for name, value in own.items())


def test_checkpointed_gradients_are_the_same(sources: dict[str, Path], tmp_path: Path) -> None:
    plain = train(tmp_path / "plain", sources, hyper={"steps": 2})
    saving = train(tmp_path / "saving", sources, hyper={"steps": 2, "gradient_checkpointing": True})
    assert saving.values("loss") == pytest.approx(plain.values("loss"), rel=1e-6)
    assert saving.values("grad_norm") == pytest.approx(plain.values("grad_norm"), rel=1e-5)


def test_a_loss_scale_goes_into_checkpoints_and_changes_no_bit(
    sources: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernels here stay in float32, so that the scale is all that differs."""
    train(tmp_path / "plain", sources)
    monkeypatch.setattr(Accelerator, "mixed_precision", property(lambda _: "fp16"))
    goes_on(tmp_path, sources, {})
    assert same_bits(tmp_path / "plain" / "out", tmp_path / "whole" / "out")
    raw = json.loads((tmp_path / "whole" / "checkpoints" / "step-00000002" / "trainer.json").read_text())
    assert raw["loss_scale"] == {"value": 2.0**16, "clean": 2}


def test_an_overflow_halves_the_scale_and_is_no_skipped_step(
    sources: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Accelerator, "mixed_precision", property(lambda _: "fp16"))
    monkeypatch.setattr(
        "spin_engine.trainer.LossScale", lambda *given, **named: LossScale(*(given or (2.0**127,)), **named)
    )
    heard = train(tmp_path, sources, hyper={"max_skipped": 0})
    assert [line["level"] for line in heard.lines if line["type"] == "message"]
    assert set(heard.values("skipped")) <= {0.0}
    raw = json.loads((tmp_path / "checkpoints" / "step-00000004" / "trainer.json").read_text())
    assert raw["loss_scale"]["value"] < 2.0**127


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let torch's own allocator fail in the second step on more than two captions; note the sizes tried."""
    tried: list[int] = []
    plain = Losses.of

    def of(self: Losses, looks: Sequence[Look]) -> tuple[Tensor, Tensor]:
        tried.append(len(looks))
        if len(looks) > 2 and len(tried) > 1:
            torch.empty(2**62, dtype=torch.uint8)
        return plain(self, looks)

    monkeypatch.setattr(Losses, "of", of)
    return tried


def test_memory_that_runs_out_halves_the_micro_batch(
    sources: dict[str, Path], tmp_path: Path, small_memory: list[int]
) -> None:
    heard = train(tmp_path / "whole", sources)
    assert small_memory == [4, 4, 2, 2, 2, 2, 2, 2]
    (told,) = [line["text"] for line in heard.lines if line["type"] == "message"]
    assert told == "step 2: memory ran out with 4 captions in a forward pass; going on with 2"
    middle = tmp_path / "whole" / "checkpoints" / "step-00000002"
    assert json.loads((middle / "trainer.json").read_text())["micro_batch_size"] == 2
    again = train(tmp_path / "resumed", sources, resume=middle)
    assert small_memory[8:] == [2, 2, 2, 2]
    assert again.values("loss") == heard.values("loss")[2:]
    assert same_bits(tmp_path / "whole" / "out", tmp_path / "resumed" / "out")


def test_memory_that_runs_out_changes_the_loss_by_rounding_only(
    pipeline: Path, encoded: Path, rivals: Path, tmp_path: Path, small_memory: list[int]
) -> None:
    """Reference errors are of micro-batches of two; self-play at four starts within 1e-3 of ln 2."""
    inputs = {"base": pipeline, "encoded": encoded, "rivals": rivals}
    settings = method(micro_batch_size=None, steps=2)
    heard = run("train", tmp_path / "out", inputs=inputs, method=settings)
    assert small_memory == [4, 4, 2, 2]
    assert heard.values("loss")[0] == pytest.approx(torch.tensor(2.0).log().item(), abs=1e-3)


def test_memory_that_runs_out_at_one_caption_is_told(
    sources: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of(_self: Losses, _looks: Sequence[Look]) -> tuple[Tensor, Tensor]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Losses, "of", of)
    with pytest.raises(MemoryError, match="one caption in a forward pass"):
        train(tmp_path, sources)
    assert not (tmp_path / "out" / "weights").exists()


def test_a_compiled_denoiser_trains_alike(
    sources: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced and differentiated ahead of time, without the minutes that generating kernels takes."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    plain = train(tmp_path / "plain", sources, hyper={"steps": 2})
    compiled = train(tmp_path / "compiled", sources, hyper={"steps": 2, "compile": True})
    assert compiled.values("loss") == pytest.approx(plain.values("loss"), rel=1e-5)
    for name, tensor in tensors(tmp_path / "plain" / "out").items():
        torch.testing.assert_close(tensors(tmp_path / "compiled" / "out")[name], tensor, atol=1e-4, rtol=1e-3)


def mixed(folder: Path) -> None:
    """Save five square pictures, four wide and three tall ones."""
    folder.mkdir()
    for index, size in enumerate([(64, 64)] * 5 + [(128, 32)] * 4 + [(32, 128)] * 3):
        caption, image = picture(index)
        canvas = Image.new("RGB", size, "white")
        canvas.paste(image)
        canvas.save(folder / f"{index:02d}.png")
        (folder / f"{index:02d}.txt").write_text(caption)


def test_buckets_keep_shapes_apart_from_encoding_to_training(pipeline: Path, tmp_path: Path) -> None:
    mixed(tmp_path / "data")
    hyper = {"aspect_buckets": True, "resolution": 64, "steps": 6, "draws": None}
    body = method(**hyper)
    base = {"base": pipeline}
    run("encode", tmp_path / "encoded", inputs=base | {"data": tmp_path / "data"}, method=body)
    found = Encoded(tmp_path / "encoded")
    assert [found.shape_of(pair) for pair in range(12)] == [(4, 8, 32)] * 4 + [(4, 16, 16)] * 5 + [
        (4, 32, 8)
    ] * 3
    inputs = base | {"encoded": tmp_path / "encoded"}
    run("generate", tmp_path / "rivals", inputs=inputs, method=body)
    drawn = [load_file(path) for path in sorted((tmp_path / "rivals").glob("*.safetensors"))]
    for tensors_of in drawn:
        for pair, latents in zip(tensors_of["pairs"].tolist(), tensors_of["latents"], strict=True):
            assert tuple(latents.shape) == found.shape_of(pair)
    heard = run("train", tmp_path / "a" / "out", inputs=inputs | {"rivals": tmp_path / "rivals"}, method=body)
    assert heard.values("loss")[0] == torch.tensor(2.0).log().item()
    middle = tmp_path / "a" / "checkpoints" / "step-00000002"
    both = inputs | {"rivals": tmp_path / "rivals"}
    run("train", tmp_path / "b" / "out", inputs=both, method=body, resume=middle)
    assert same_bits(tmp_path / "a" / "out", tmp_path / "b" / "out")
    assert checkpoint.newest(tmp_path / "b" / "checkpoints") is not None


def test_buckets_need_whole_micro_batches() -> None:
    with pytest.raises(ValueError, match="must be a multiple of micro_batch_size"):
        method(aspect_buckets=True, batch_size=4, micro_batch_size=3)


def test_an_iteration_that_has_nothing_left_to_learn_ends_early(
    pipeline: Path, encoded: Path, tmp_path: Path
) -> None:
    """Half of the pairs are told apart from the start, and ten steps make an average that is believed."""
    body = method(steps=14, draws=1, stop_at_accuracy=0.5, checkpoint_every=4)
    inputs = {"base": pipeline, "encoded": encoded}
    run("generate", tmp_path / "rivals", inputs=inputs, method=body)
    inputs |= {"rivals": tmp_path / "rivals"}
    heard = run("train", tmp_path / "a" / "out", inputs=inputs, method=body)
    last = len(heard.values("loss"))
    assert 10 <= last < 14
    about = json.loads((tmp_path / "a" / "out" / "weights" / "weights.json").read_text())
    assert about["stopped_early"] == {"step": last, "why": "accuracy"}
    for step in (4, last):
        resume = tmp_path / "a" / "checkpoints" / f"step-{step:08d}"
        out = tmp_path / f"{step}" / "out"
        again = run("train", out, inputs=inputs, method=body, resume=resume)
        assert len(again.values("loss")) == last - step
        assert same_bits(tmp_path / "a" / "out", out)
