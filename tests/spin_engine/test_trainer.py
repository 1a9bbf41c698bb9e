"""The training loop: exact where it must be."""

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from spin_engine import checkpoint, weights
from spin_engine.families.loader import load
from spin_engine.itinerary import itinerary_for
from spin_engine.reporter import Line
from spin_engine.stopping import Stop, Stopped
from tests.spin_engine.conftest import LAYOUT, ROWS, Recorder, method, run

LORA = {"adapter": "lora", "rank": 4}
FULL = {"adapter": "full", "rank": None, "learning_rate": 1e-4}
BOTH = pytest.mark.parametrize("adapter", [LORA, FULL], ids=["lora", "full"])


@pytest.fixture(scope="session")
def inputs(pipeline: Path, encoded: Path, rivals: Path) -> dict[str, Path]:
    return {"base": pipeline, "encoded": encoded, "rivals": rivals}


def train(
    out: Path, inputs: dict[str, Path], *, hyper: dict[str, Any] | None = None, **spec: Any
) -> Recorder:
    return run("train", out / "out", inputs=inputs, method=method(**(hyper or {})), **spec)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Return all trained weights below a folder, by file and name."""
    return {
        f"{path.name}:{name}": tensor
        for path in sorted(folder.rglob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def same_bits(one: Path, other: Path) -> bool:
    first, second = tensors(one), tensors(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@BOTH
@pytest.mark.parametrize("reference", ["cached", "online"])
def test_the_first_loss_is_exactly_ln_2(
    reference: str, adapter: dict[str, Any], inputs: dict[str, Path], tmp_path: Path
) -> None:
    heard = train(tmp_path, inputs, hyper={**adapter, "reference": reference})
    assert heard.values("loss")[0] == torch.tensor(2.0).log().item()
    assert heard.values("margin")[0] == 0.0
    assert heard.values("accuracy")[0] == 0.5
    assert heard.values("loss")[1] != heard.values("loss")[0]


@BOTH
@pytest.mark.parametrize(
    "changes", [{}, {"prompt_dropout": 0.5, "draws": 1}, {"anchor": 0.5, "safeguard": 0.9}]
)
def test_cached_and_online_references_train_alike(
    changes: dict[str, Any], adapter: dict[str, Any], inputs: dict[str, Path], tmp_path: Path
) -> None:
    hyper = {**adapter, **changes}
    if changes:
        rivals = tmp_path / "rivals"
        run(
            "generate",
            rivals,
            inputs={name: inputs[name] for name in ("base", "encoded")},
            method=method(**hyper),
        )
        inputs = inputs | {"rivals": rivals}
    cached = train(tmp_path / "cached", inputs, hyper=hyper)
    online = train(tmp_path / "online", inputs, hyper={**hyper, "reference": "online"})
    assert cached.values("loss") == pytest.approx(online.values("loss"), abs=1e-6)
    assert cached.values("winner_drift") == pytest.approx(online.values("winner_drift"), abs=1e-6)


@BOTH
@pytest.mark.parametrize("reference", ["cached", "online"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_stopping_anywhere_and_going_on_gives_the_same_bits(
    at: int, reference: str, adapter: dict[str, Any], inputs: dict[str, Path], tmp_path: Path
) -> None:
    hyper = {**adapter, "reference": reference}
    train(tmp_path / "whole", inputs, hyper=hyper)
    stop = Stop()
    stop.requested = at == 1

    def heard(line: Line) -> None:
        stop.requested |= line["type"] == "progress" and line["step"] >= at - 1

    with pytest.raises(Stopped):
        train(tmp_path / "stopped", inputs, hyper=hyper, stop=stop, reporter=Recorder(heard))
    newest = checkpoint.newest(tmp_path / "stopped" / "checkpoints")
    assert newest is not None
    assert newest.name == f"step-{at:08d}"
    assert not (tmp_path / "stopped" / "out" / "weights").exists()
    train(tmp_path / "stopped", inputs, hyper=hyper, resume=newest)
    assert same_bits(tmp_path / "whole" / "out", tmp_path / "stopped" / "out")


def test_same_seed_same_bits_and_another_seed_not(inputs: dict[str, Path], tmp_path: Path) -> None:
    for name in ("one", "two"):
        torch.rand(3)
        train(tmp_path / name, inputs)
    assert same_bits(tmp_path / "one" / "out", tmp_path / "two" / "out")
    sft = {"base": inputs["base"], "encoded": inputs["encoded"]}
    for seed in (1, 2):
        run(
            "train",
            tmp_path / f"{seed}" / "out",
            inputs=sft,
            method=method(sft_steps=2),
            iteration=0,
            seed=seed,
        )
    assert not same_bits(tmp_path / "1" / "out", tmp_path / "2" / "out")


def test_micro_batches_do_not_matter(inputs: dict[str, Path], tmp_path: Path) -> None:
    halves = train(tmp_path / "halves", inputs)
    whole = train(tmp_path / "whole", inputs, hyper={"micro_batch_size": None})
    assert halves.values("loss") == pytest.approx(whole.values("loss"), abs=1e-3)
    assert halves.values("grad_norm") == pytest.approx(whole.values("grad_norm"), rel=1e-2)


def test_self_play_pulls_towards_the_data(inputs: dict[str, Path], tmp_path: Path) -> None:
    hyper = {"steps": 20, "draws": 2, **FULL}
    rivals = tmp_path / "rivals"
    run(
        "generate",
        rivals,
        inputs={name: inputs[name] for name in ("base", "encoded")},
        method=method(**hyper),
    )
    heard = train(tmp_path, inputs | {"rivals": rivals}, hyper=hyper)
    assert heard.values("loss")[-1] < math.log(2)
    assert heard.values("margin")[-1] > 0
    assert heard.values("accuracy")[-1] == 1.0


def test_checkpoints_are_told_and_whole(inputs: dict[str, Path], tmp_path: Path) -> None:
    sft = {"base": inputs["base"], "encoded": inputs["encoded"]}
    heard = train(tmp_path, sft, hyper={"sft_steps": 5}, iteration=0)
    told = [line for line in heard.lines if line["type"] == "checkpoint"]
    assert [(line["step"], line["iteration"]) for line in told] == [(2, 0), (4, 0), (5, 0)]
    for line in told:
        manifest = checkpoint.verify(Path(line["path"]))
        assert manifest.step == line["step"]
        assert {Path(name).suffix for name in manifest.files} == {".json", ".safetensors"}
    assert same_bits(tmp_path / "out" / "weights", Path(told[-1]["path"]) / "weights")


def test_a_checkpoint_of_another_iteration_is_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    train(tmp_path, inputs, hyper={"steps": 2})
    newest = checkpoint.newest(tmp_path / "checkpoints")
    sft = {"base": inputs["base"], "encoded": inputs["encoded"]}
    with pytest.raises(ValueError, match="is of iteration 1, not 0"):
        run(
            "train",
            tmp_path / "x" / "out",
            inputs=sft,
            method=method(sft_steps=2),
            iteration=0,
            resume=newest,
        )


def spoiled(encoded: Path, folder: Path, rows: list[int]) -> Path:
    """Return a copy of the encoded data in which some rows are not finite."""
    shutil.copytree(encoded, folder)
    shard = folder / "shard-00000.safetensors"
    found = {name: tensor.clone() for name, tensor in load_file(shard).items()}
    found["latents"][rows] = math.nan
    save_file(found, shard)
    return folder


def test_a_step_that_is_not_finite_changes_nothing(inputs: dict[str, Path], tmp_path: Path) -> None:
    sft = {"type": "sft", "sft": {"hyperparameters": {"steps": 3, "batch_size": 4, "checkpoint_every": 1}}}
    second = itinerary_for(method().hyperparameters, seed=5, iteration=1, layout=LAYOUT).step(1)[0].pair
    encoded = spoiled(inputs["encoded"], tmp_path / "encoded", [second])
    heard = run("train", tmp_path / "out", inputs={"base": inputs["base"], "encoded": encoded}, method=sft)
    steps = [line["step"] for line in heard.lines if line["type"] == "metrics"]
    assert steps == [1, 3]
    (warning,) = [line["text"] for line in heard.lines if line["type"] == "message"]
    assert warning == "step 2: loss or gradients were not finite; skipped (1 so far)"
    saved = tmp_path / "checkpoints"
    assert same_bits(saved / "step-00000001", saved / "step-00000002")
    assert not same_bits(saved / "step-00000002", saved / "step-00000003")
    assert heard.values("skipped") == [0.0, 1.0]


def test_too_many_such_steps_end_training(inputs: dict[str, Path], tmp_path: Path) -> None:
    settings = {"steps": 20, "batch_size": 4, "max_skipped": 3}
    sft = {"type": "sft", "sft": {"hyperparameters": settings}}
    encoded = spoiled(inputs["encoded"], tmp_path / "encoded", list(range(ROWS)))
    with pytest.raises(ValueError, match="not finite in 4 steps, step 4 the last: lower"):
        run("train", tmp_path / "out", inputs={"base": inputs["base"], "encoded": encoded}, method=sft)
    assert not (tmp_path / "out" / "weights").exists()


def test_the_opponent_is_base_plus_the_last_adapter(inputs: dict[str, Path], tmp_path: Path) -> None:
    train(tmp_path / "1", inputs)
    last = tmp_path / "1" / "out" / "weights"
    opponent = load(inputs["base"], last).denoiser
    merged = load(inputs["base"]).denoiser
    adapter = load_file(last / weights.ADAPTER_FILE)
    changed = 0
    for name, module in merged.named_modules():
        down = adapter.get(f"unet.{name}.lora.down.weight", adapter.get(f"unet.{name}.lora_A.weight"))
        up = adapter.get(f"unet.{name}.lora.up.weight", adapter.get(f"unet.{name}.lora_B.weight"))
        if down is not None and up is not None:
            module.weight.data += up @ down
            changed += 1
    assert changed == len(adapter) / 2 > 0
    x, t, text = torch.randn(2, 4, 8, 8), torch.tensor([10, 900]), torch.randn(2, 16, 16)
    with torch.no_grad():
        by_hand, asked = (one(x, t, encoder_hidden_states=text).sample for one in (merged, opponent))
        base = load(inputs["base"]).denoiser(x, t, encoder_hidden_states=text).sample
    torch.testing.assert_close(asked, by_hand, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(asked, base, atol=1e-5)
    second = {"base": inputs["base"], "encoded": inputs["encoded"], "weights": last}
    run("generate", tmp_path / "rivals", inputs=second, iteration=2)
    both = second | {"rivals": tmp_path / "rivals"}
    for reference in ("cached", "online"):
        heard = train(tmp_path / reference, both, hyper={"reference": reference}, iteration=2)
        assert heard.values("loss")[0] == torch.tensor(2.0).log().item()


def test_weights_that_cannot_be_trained_on_are_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    train(tmp_path / "lora", inputs, hyper={"steps": 1})
    train(tmp_path / "full", inputs, hyper={"steps": 1, **FULL})
    with pytest.raises(ValueError, match="rank 4, not 8"):
        train(tmp_path / "x", inputs | {"weights": tmp_path / "lora/out/weights"}, hyper={"rank": 8})
    with pytest.raises(ValueError, match='use adapter="full"'):
        train(tmp_path / "x", inputs | {"weights": tmp_path / "full/out/weights"})


def test_full_training_goes_on_from_an_adapter_by_merging_it(inputs: dict[str, Path], tmp_path: Path) -> None:
    train(tmp_path / "lora", inputs)
    last = tmp_path / "lora" / "out" / "weights"
    start = {"base": inputs["base"], "encoded": inputs["encoded"], "weights": last}
    run("generate", tmp_path / "rivals", inputs=start, iteration=2, method=method(**FULL))
    heard = train(tmp_path / "full", start | {"rivals": tmp_path / "rivals"}, hyper=FULL, iteration=2)
    assert heard.values("loss")[0] == pytest.approx(math.log(2), abs=1e-4)
    assert weights.kind_of(tmp_path / "full" / "out" / "weights") == "full"


def test_supervised_training_lowers_the_error(inputs: dict[str, Path], tmp_path: Path) -> None:
    sft = {"base": inputs["base"], "encoded": inputs["encoded"]}
    settings = {
        "steps": 30,
        "batch_size": 12,
        "learning_rate": 3e-3,
        "adapter": "full",
        "schedule": "constant",
    }
    body = {"type": "sft", "sft": {"hyperparameters": settings}}
    heard = run("train", tmp_path / "out", inputs=sft, method=body)
    losses = heard.values("loss")
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
