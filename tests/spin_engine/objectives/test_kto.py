"""Diffusion-KTO's loss against numbers worked out by hand."""

import pytest
import torch

from spin_engine.objectives import kto
from spin_engine.objectives.errors import errors_of
from tests.spin_engine.objectives.making import errors, gradients


def test_reference_against_itself() -> None:
    pair = errors(0.3, 0.4, 0.3, 0.4)
    found = kto.loss(pair, beta=1000.0, liked=1.0, disliked=3.0)
    assert found.item() == pytest.approx(1.0)
    assert gradients(found, pair) == pytest.approx((1000 / 8, -3000 / 8))
    assert kto.loss(pair, beta=1000.0).item() == 0.5


def test_worked_examples() -> None:
    assert kto.loss(errors(1.0, 5.0, 4.0, 4.0), beta=1.0).item() == pytest.approx(0.119203, rel=1e-5)
    assert kto.loss(errors(7.0, 3.0, 4.0, 4.0), beta=1.0).item() == pytest.approx(0.841817, rel=1e-5)


def test_the_point_of_reference_is_the_batchs_and_has_no_gradient() -> None:
    """G = (3, -1) and (1, -1): Q = 1/2."""
    winner = torch.tensor([1.0, 3.0], requires_grad=True)
    known = {
        "rival": torch.tensor([5.0, 5.0]),
        "reference_winner": torch.tensor([4.0, 4.0]),
        "reference_rival": torch.tensor([4.0, 4.0]),
    }
    found = kto.loss(errors_of(winner, **known), beta=1.0)
    expected = [(torch.tensor([-good, -1.5]).sigmoid()).mean().item() for good in (2.5, 0.5)]
    assert found.tolist() == pytest.approx(expected)
    (gradient,) = torch.autograd.grad(found[1], winner)
    slope = torch.tensor(0.5).sigmoid() * torch.tensor(-0.5).sigmoid() / 2
    assert gradient.tolist() == pytest.approx([0.0, slope.item()])


def test_it_is_bounded() -> None:
    assert kto.loss(errors(9.0, 0.0, 0.0, 9.0), beta=5000.0).item() == 1.0
    assert kto.loss(errors(0.0, 9.0, 9.0, 0.0), beta=5000.0).item() == 0.0


def test_plan() -> None:
    plan = kto.KtoHyperparameters(liked=2.0).for_iteration(1)
    assert plan.constants == {"beta": 1000.0, "liked": 2.0, "disliked": 1.0}
    assert (plan.rivals, plan.reference, plan.safeguard) == ("given", "errors", None)
