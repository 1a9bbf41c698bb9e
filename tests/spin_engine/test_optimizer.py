"""The learning rate, and moments that survive a file."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from spin_engine.optimizer import Optimizer, Shape, learning_rate


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]),
        ("cosine", [0.5, 1.0, 1.0, 0.961940, 0.853553, 0.691342, 0.5, 0.308658, 0.146447, 0.038060]),
    ],
)
def test_rate_of_each_step(shape: Shape, expected: list[float]) -> None:
    found = [learning_rate(step, steps=10, peak=1.0, warmup=0.2, shape=shape) for step in range(10)]
    assert found == pytest.approx(expected, abs=1e-6)


def test_one_step_without_warmup_has_the_peak() -> None:
    assert learning_rate(0, steps=1, peak=0.5, warmup=0.1, shape="linear") == 0.5


def step(module: nn.Linear, optimizer: Optimizer, seed: int) -> None:
    torch.manual_seed(seed)
    module(torch.randn(5, 3)).square().sum().backward()
    optimizer.clip(1.0)
    optimizer.step(0.1)


def linear() -> tuple[nn.Linear, Optimizer]:
    torch.manual_seed(0)
    module = nn.Linear(3, 2)
    return module, Optimizer(dict(module.named_parameters()), weight_decay=0.01)


def test_moments_from_a_file_go_on_with_the_same_bits(tmp_path: Path) -> None:
    module, optimizer = linear()
    step(module, optimizer, 1)
    save_file(optimizer.moments(), tmp_path / "optimizer.safetensors")
    copy, again = linear()
    copy.load_state_dict(module.state_dict())
    again.load(tmp_path / "optimizer.safetensors")
    step(module, optimizer, 2)
    step(copy, again, 2)
    assert torch.equal(module.weight, copy.weight)
    assert torch.equal(module.bias, copy.bias)


def test_moments_before_the_first_step_are_none(tmp_path: Path) -> None:
    module, optimizer = linear()
    save_file(optimizer.moments(), tmp_path / "optimizer.safetensors")
    optimizer.load(tmp_path / "optimizer.safetensors")
    step(module, optimizer, 1)


def test_moments_of_another_model_are_refused(tmp_path: Path) -> None:
    module, optimizer = linear()
    step(module, optimizer, 1)
    save_file(optimizer.moments(), tmp_path / "optimizer.safetensors")
    other = Optimizer(dict(nn.Linear(3, 2, bias=False).named_parameters()), weight_decay=0.01)
    with pytest.raises(ValueError, match="other trainable weights"):
        other.load(tmp_path / "optimizer.safetensors")


def test_a_loss_scale_that_is_a_power_of_two_changes_no_bit() -> None:
    plain, optimizer = linear()
    step(plain, optimizer, 1)
    scaled, other = linear()
    torch.manual_seed(1)
    (scaled(torch.randn(5, 3)).square().sum() * 1024).backward()
    other.clip(1.0, scale=1024)
    other.step(0.1)
    assert torch.equal(plain.weight, scaled.weight)


def test_eight_bit_moments_need_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ValueError, match="needs the bitsandbytes package"):
        Optimizer(dict(nn.Linear(3, 2).named_parameters()), weight_decay=0.01, kind="adamw8bit")


def test_eight_bit_moments_from_a_file_go_on_with_the_same_bits(tmp_path: Path) -> None:
    def made() -> tuple[nn.Linear, Optimizer]:
        torch.manual_seed(0)
        module = nn.Linear(80, 80)
        parameters = dict(module.named_parameters())
        return module, Optimizer(parameters, weight_decay=0.01, kind="adamw8bit")

    def go(module: nn.Linear, optimizer: Optimizer, seed: int) -> None:
        torch.manual_seed(seed)
        module(torch.randn(5, 80)).square().sum().backward()
        optimizer.clip(1.0)
        optimizer.step(0.1)

    module, optimizer = made()
    go(module, optimizer, 1)
    save_file(optimizer.moments(), tmp_path / "optimizer.safetensors")
    copy, again = made()
    copy.load_state_dict(module.state_dict())
    again.load(tmp_path / "optimizer.safetensors")
    go(module, optimizer, 2)
    go(copy, again, 2)
    assert torch.equal(module.weight, copy.weight)
    assert torch.equal(module.bias, copy.bias)
