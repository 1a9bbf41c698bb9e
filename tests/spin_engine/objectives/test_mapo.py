"""MaPO's loss against numbers worked out by hand."""

import math

import pytest
import torch

from spin_engine.objectives import mapo
from tests.spin_engine.objectives.making import errors, gradients


def test_phi_worked_by_hand() -> None:
    found = mapo.phi(torch.tensor([0.0, 1e-6, 2.0, 400.0]), k=0.5).tolist()
    assert found == pytest.approx([1.0, 1.0, 1 / (math.e - 1), 0.0], rel=1e-6)


def test_phi_is_smooth_at_0() -> None:
    x = torch.tensor([0.0, 1e-5, 1e-3, 0.5], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(mapo.phi(x, k=0.5).sum(), x)
    assert slope.tolist()[:3] == pytest.approx([-0.25, -0.25, -0.25], rel=1e-3)
    assert slope.isfinite().all()


def test_equal_errors() -> None:
    pair = errors(0.25, 0.25)
    found = mapo.loss(pair, beta=0.1, k=0.5, timesteps=1000)
    assert found.item() == pytest.approx(0.25 + 0.1 * math.log(2), rel=1e-6)


def test_worked_example() -> None:
    found = mapo.loss(errors(0.0, 2.0), beta=2.0, k=0.5, timesteps=1)
    assert found.item() == pytest.approx(2 * 0.505821, rel=1e-5)


def test_gradient_lowers_the_winner_and_raises_the_loser() -> None:
    pair = errors(0.0, 0.0)
    found = gradients(mapo.loss(pair, beta=0.1, k=0.5, timesteps=1000), pair)
    assert found == pytest.approx((1 + 0.1 * 1000 * 0.5 / 4, -0.1 * 1000 * 0.5 / 4))


def test_no_weight_on_the_comparison_is_supervision() -> None:
    pair = errors(0.5, 0.1)
    assert mapo.loss(pair, beta=1e-9, k=0.5, timesteps=1000).item() == pytest.approx(0.5)


def test_a_reference_changes_nothing() -> None:
    with_one = mapo.loss(errors(0.5, 0.25, 1.0, 2.0), beta=0.1, k=0.5, timesteps=1000)
    assert with_one.item() == mapo.loss(errors(0.5, 0.25), beta=0.1, k=0.5, timesteps=1000).item()


def test_plan() -> None:
    plan = mapo.MapoHyperparameters().for_iteration(1)
    assert plan.constants == {"beta": 0.1, "k": 0.5, "timesteps": 1000}
    assert (plan.rivals, plan.reference, plan.generates, plan.learning_rate) == ("given", "none", False, 1e-5)
