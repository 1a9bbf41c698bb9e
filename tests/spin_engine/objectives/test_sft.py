"""The supervised loss, with and without min-SNR, against numbers worked out by hand."""

import pytest
import torch

from spin_engine.diffusion import mean_squared_error
from spin_engine.losses import x_0_factor
from spin_engine.objectives import sft
from spin_engine.objectives.errors import errors_of
from spin_engine.processes.discrete import Discrete, Prediction
from spin_engine.processes.flow import Flow
from spin_engine.processes.process import Process


def test_off_by_two_everywhere_is_four() -> None:
    prediction = torch.full((3, 4, 8, 8), 2.0, requires_grad=True)
    losses = sft.loss(errors_of(mean_squared_error(prediction, torch.zeros(3, 4, 8, 8))))
    losses.sum().backward()
    assert losses.tolist() == [4.0] * 3
    assert prediction.grad is not None
    assert prediction.grad.unique().tolist() == [2 * 2.0 / 256]


def discrete(prediction: Prediction) -> Discrete:
    """Return a process whose two timesteps have the SNRs 10 and 4."""
    return Discrete(torch.tensor([10 / 11, 4 / 5]), prediction)


def weights(process: Process, t: torch.Tensor, gamma: float) -> list[float]:
    """Return what a squared error of 1 weighs at each time."""
    known = {"snr": process.snr(t), "x_0": x_0_factor(process, t)}
    found: list[float] = sft.loss(errors_of(torch.ones(len(t)), **known), min_snr=gamma).tolist()
    return found


def test_min_snr_of_epsilon_v_and_flow_worked_by_hand() -> None:
    t = torch.tensor([0, 1])
    assert weights(discrete("epsilon"), t, 5.0) == pytest.approx([5 / 10, 1.0])
    assert weights(discrete("v_prediction"), t, 5.0) == pytest.approx([5 / 11, 4 / 5])
    flow = Flow(lambda _: 1.0)
    assert weights(flow, torch.tensor([1000 / 3]), 5.0) == pytest.approx([4 / 9], rel=1e-5)
    assert weights(flow, torch.tensor([1000 / 3]), 2.0) == pytest.approx([2 / 9], rel=1e-5)


def test_the_factor_makes_an_error_of_the_answer_one_of_the_picture() -> None:
    torch.manual_seed(0)
    x_0, noise, off = (torch.randn(1, 4, 8, 8) for _ in range(3))
    t = torch.tensor([1])
    for process, time in [
        (discrete("epsilon"), t),
        (discrete("v_prediction"), t),
        (Flow(lambda _: 1.0), torch.tensor([400.0])),
    ]:
        one, zero = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
        x_t, answer = process.add_noise(x_0, noise, time), process.target(x_0, noise, time) + off
        # Solve x_t = a x + b n, answer = c x + d n for the picture x that the answer stands for.
        a, b = process.add_noise(one, zero, time), process.add_noise(zero, one, time)
        c, d = process.target(one, zero, time), process.target(zero, one, time)
        picture = (d * x_t - b * answer) / (a * d - b * c)
        expected = mean_squared_error(picture, x_0) / off.square().mean()
        torch.testing.assert_close(x_0_factor(process, time), expected, rtol=1e-4, atol=0)


def test_a_large_gamma_leaves_epsilon_as_it_is() -> None:
    assert weights(discrete("epsilon"), torch.tensor([0, 1]), 100.0) == pytest.approx([1.0, 1.0])


def test_plan() -> None:
    plan = sft.SftHyperparameters(min_snr=5.0).for_iteration(1)
    assert (plan.objective, plan.constants, plan.generates) == ("sft", {"min_snr": 5.0}, False)
