"""Diffusion-DPO's loss against numbers worked out by hand."""

import math

import pytest
import torch

from spin_engine.objectives import dpo
from tests.spin_engine.objectives.making import errors, gradients


@pytest.mark.parametrize("beta", [8.0, 2000.0])
def test_reference_against_itself(beta: float) -> None:
    pair = errors(0.3, 0.4, 0.3, 0.4)
    assert dpo.loss(pair, beta=beta).tolist() == [torch.tensor(2.0).log().item()]
    assert gradients(dpo.loss(pair, beta=beta), pair) == pytest.approx((beta / 4, -beta / 4))


def test_worked_example() -> None:
    pair = errors(0.25, 0.75, 0.5, 0.5)
    assert dpo.loss(pair, beta=8.0).item() == pytest.approx(math.log(1 + math.exp(-2)), rel=1e-6)
    assert gradients(dpo.loss(pair, beta=8.0), pair) == pytest.approx((0.476812, -0.476812), rel=1e-5)


def test_only_differences_to_the_reference_count() -> None:
    plain = dpo.loss(errors(0.25, 0.75, 0.5, 0.5), beta=8.0)
    assert dpo.loss(errors(0.5, 0.75, 0.75, 0.5), beta=8.0).item() == plain.item()
    assert dpo.loss(errors(0.25, 1.0, 0.5, 0.75), beta=8.0).item() == plain.item()


def test_swapping_winner_and_loser_mirrors_the_gradient() -> None:
    one, other = errors(0.25, 0.75, 0.5, 0.5), errors(0.75, 0.25, 0.5, 0.5)
    found = dpo.loss(other, beta=8.0) - dpo.loss(one, beta=8.0)
    assert found.item() == pytest.approx(2.0)  # l(-z) - l(z) = z


def test_the_safeguard_tempers_the_push() -> None:
    pair = errors(0.3, 0.4, 0.3, 0.4, share=0.5)
    assert gradients(dpo.loss(pair, beta=8.0), pair) == pytest.approx((2.0, -1.0))


def test_plan() -> None:
    plan = dpo.DpoHyperparameters().for_iteration(1)
    assert (plan.steps, plan.learning_rate, plan.constants) == (2000, 2.048e-5, {"beta": 2000.0})
    assert (plan.rivals, plan.reference, plan.cached, plan.generates) == ("given", "errors", True, True)
    assert not dpo.DpoHyperparameters(reference="online").for_iteration(1).generates
