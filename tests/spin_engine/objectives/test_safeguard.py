"""Diffusion-SDPO's lambda against numbers worked out by hand."""

import pytest
import torch

from spin_engine.diffusion import mean_squared_error
from spin_engine.objectives import safeguard


def pictures(*values: float) -> torch.Tensor:
    """Return one 1x1 picture of two channels for each pair of values."""
    return torch.tensor(values).view(-1, 2, 1, 1)


def test_share_worked_by_hand() -> None:
    winner = pictures(1, 1, 1, 1, 1, 0, 4, 0)
    rival = pictures(2, 2, -2, -2, 0, 1, 0.5, 9)
    assert safeguard.rival_share(winner, rival, mu=0.9).tolist() == pytest.approx([0.05, 1.0, 1.0, 0.8])


def test_mu_0_and_1() -> None:
    winner, rival = pictures(1, 1), pictures(1, 1)
    assert safeguard.rival_share(winner, rival, mu=0.0).tolist() == [1.0]
    assert safeguard.rival_share(winner, rival, mu=1.0).tolist() == [0.0]


def test_temper_keeps_the_value_and_scales_the_gradient() -> None:
    rival = torch.tensor([0.3, 0.7], requires_grad=True)
    found = safeguard.temper(rival, torch.tensor([0.25, 1.0]))
    found.sum().backward()
    assert torch.equal(found, rival)
    assert rival.grad is not None
    assert rival.grad.tolist() == [0.25, 1.0]


def test_a_step_keeps_mu_of_the_winners_descent() -> None:
    torch.manual_seed(0)
    share_space = torch.randn(1, 4, 8, 8)
    prediction, goal = share_space.clone().requires_grad_(), torch.zeros(1, 4, 8, 8)
    rival_goal = -0.5 * torch.randn(1, 4, 8, 8)
    winner, rival = mean_squared_error(prediction, goal), mean_squared_error(prediction, rival_goal)
    share = safeguard.rival_share(prediction - goal, prediction - rival_goal, mu=0.9)
    (own,) = torch.autograd.grad(winner.sum(), prediction, retain_graph=True)
    (pair,) = torch.autograd.grad((winner - safeguard.temper(rival, share)).sum(), prediction)
    assert 0 < share.item() < 1
    assert (own * pair).sum() == pytest.approx(0.9 * own.square().sum().item(), rel=1e-4)
