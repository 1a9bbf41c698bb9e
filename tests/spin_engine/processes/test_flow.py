"""The straight path against numbers worked out by hand."""

import math

import pytest
import torch

from spin_engine.processes.flow import Flow


def flow(shift: float = 1.0) -> Flow:
    return Flow(lambda _: shift)


def full(value: float) -> torch.Tensor:
    return torch.full((2, 1, 2, 2), value)


def test_noise_is_mixed_in_by_the_time() -> None:
    found = flow().add_noise(full(1.0), full(3.0), torch.tensor([250.0, 900.0]))
    assert found[:, 0, 0, 0].tolist() == pytest.approx([0.75 * 1 + 0.25 * 3, 0.1 * 1 + 0.9 * 3])


def test_the_target_is_noise_less_picture() -> None:
    found = flow().target(full(1.0), full(3.0), torch.tensor([250.0, 900.0]))
    assert found[:, 0, 0, 0].tolist() == [2.0, 2.0]


def test_the_target_is_the_slope_of_the_path() -> None:
    x_0, noise = torch.randn(2, 1, 2, 2), torch.randn(2, 1, 2, 2)
    here, there = torch.tensor([500.0, 100.0]), torch.tensor([600.0, 200.0])
    step = flow().add_noise(x_0, noise, there) - flow().add_noise(x_0, noise, here)
    torch.testing.assert_close(step / 0.1, flow().target(x_0, noise, here), atol=1e-5, rtol=1e-5)


def test_signal_to_noise_is_the_ratio_of_their_squares() -> None:
    assert flow().snr(torch.tensor([250.0, 500.0])).tolist() == pytest.approx([9.0, 1.0])


def test_times_are_logit_normal() -> None:
    source = torch.Generator().manual_seed(0)
    drawn = [flow().draw_time(source, (4, 8, 8)) / 1000 for _ in range(2000)]
    logits = torch.tensor([math.log(s / (1 - s)) for s in drawn])
    assert abs(float(logits.mean())) < 4 / 2000**0.5
    assert abs(float(logits.std()) - 1) < 4 / (2 * 2000) ** 0.5


def test_times_are_shifted_as_the_scheduler_shifts_them() -> None:
    plain = flow().draw_time(torch.Generator().manual_seed(1), (4, 8, 8)) / 1000
    shifted = flow(3.0).draw_time(torch.Generator().manual_seed(1), (4, 8, 8)) / 1000
    assert shifted == pytest.approx(3 * plain / (1 + 2 * plain))
    assert shifted > plain
