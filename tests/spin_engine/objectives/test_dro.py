"""Diffusion-DRO's hinge against numbers worked out by hand."""

import pytest

from spin_engine.objectives import dro
from tests.spin_engine.objectives.making import errors, gradients


def test_reference_against_itself_is_the_margin() -> None:
    pair = errors(0.3, 0.4, 0.3, 0.4)
    found = dro.loss(pair, margin=0.001)
    assert found.item() == pytest.approx(0.001)
    assert gradients(found, pair) == (1.0, -1.0)


def test_worked_example() -> None:
    found = dro.loss(errors(0.5, 0.25, 1.0, 0.5), margin=0.5)
    assert found.item() == 0.25


def test_a_pair_that_is_ranked_no_longer_pushes() -> None:
    pair = errors(0.5, 0.75, 1.0, 0.5)
    found = dro.loss(pair, margin=0.5)
    assert found.item() == 0.0
    assert gradients(found, pair) == (0.0, 0.0)


def test_it_scales_with_the_errors() -> None:
    one = dro.loss(errors(0.5, 0.25, 1.0, 1.0), margin=0.5)
    assert dro.loss(errors(1.0, 0.5, 2.0, 2.0), margin=1.0).item() == 2 * one.item()


def test_the_safeguard_tempers_the_push() -> None:
    pair = errors(0.3, 0.4, 0.3, 0.4, share=0.25)
    assert gradients(dro.loss(pair, margin=0.001), pair) == (1.0, -0.25)


def test_plan() -> None:
    settings = dro.DroHyperparameters(rival_steps=7)
    plan = settings.for_iteration(16)
    assert (plan.learning_rate, plan.constants, plan.judge) == (1e-4, {"margin": 0.001}, "base")
    assert (plan.rivals, plan.reference, plan.sampler_steps) == ("drawn", "errors", 7)
    assert settings.opponent(16, seed=0) == 15
