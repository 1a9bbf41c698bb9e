"""SePPO's loss against numbers worked out by hand, and whom it draws by lot."""

import math

import pytest
import torch

from spin_engine.objectives import seppo
from spin_engine.objectives.seppo import SeppoHyperparameters
from tests.spin_engine.objectives.making import errors, gradients


def test_reference_against_itself_pulls_both() -> None:
    pair = errors(0.3, 0.4, 0.3, 0.4)
    found = seppo.loss(pair, beta=8.0)
    assert found.tolist() == [torch.tensor(2.0).log().item()]
    assert gradients(found, pair) == pytest.approx((2.0, 2.0))


def test_a_policy_that_is_better_pushes() -> None:
    pair = errors(0.5, 0.25, 1.0, 0.25)
    found = seppo.loss(pair, beta=4.0)
    assert found.item() == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-6)
    slope = 2 / (1 + math.e)
    assert gradients(found, pair) == pytest.approx((slope, -slope))


def test_a_policy_that_is_worse_pulls() -> None:
    pair = errors(1.0, 1.0, 0.5, 0.5)
    found = seppo.loss(pair, beta=4.0)
    assert found.item() == pytest.approx(math.log(1 + math.exp(2)), rel=1e-6)
    slope = 2 / (1 + math.exp(-2))
    assert gradients(found, pair) == pytest.approx((slope, slope))


def test_the_safeguard_tempers_pushing_alone() -> None:
    pushing, pulling = errors(0.5, 0.25, 1.0, 0.25, share=0.25), errors(1.0, 1.0, 0.5, 0.5, share=0.25)
    winner, rival = gradients(seppo.loss(pushing, beta=4.0), pushing)
    assert rival == pytest.approx(-winner / 4)
    winner, rival = gradients(seppo.loss(pulling, beta=4.0), pulling)
    assert rival == pytest.approx(winner)


def test_references_are_drawn_among_the_last_results() -> None:
    settings = SeppoHyperparameters(n_iterations=50, earlier=3)
    drawn = [settings.opponent(k, seed=5) for k in settings.iterations]
    assert drawn == [settings.opponent(k, seed=5) for k in settings.iterations]
    assert drawn != [settings.opponent(k, seed=6) for k in settings.iterations]
    assert drawn[0] == 0
    assert {k - opponent for k, opponent in zip(settings.iterations, drawn, strict=True)} == {1, 2, 3}
    last = SeppoHyperparameters(earlier=1)
    assert [last.opponent(k, seed=5) for k in last.iterations] == list(range(8))


def test_plan() -> None:
    plan = SeppoHyperparameters().for_iteration(8)
    assert (plan.steps, plan.constants, plan.rivals, plan.judge) == (
        100,
        {"beta": 2000.0},
        "drawn",
        "opponent",
    )
