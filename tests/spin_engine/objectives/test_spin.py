"""The self-play loss against numbers worked out by hand (see the objective's docstring)."""

import math

import pytest
import torch
from pydantic import ValidationError

from spin_engine.objectives import spin
from spin_engine.objectives.spin import SpinHyperparameters
from tests.spin_engine.objectives.making import errors, gradients


def test_opponent_against_itself_is_ln_2() -> None:
    found = spin.loss(errors(0.37, 0.91, 0.37, 0.91), beta=5000.0)
    assert found.tolist() == [torch.tensor(2.0).log().item()]


def test_worked_example() -> None:
    pair = errors(0.5, 0.2, 1.0, 0.2)
    assert spin.logits(pair, beta=4.0).tolist() == [1.0]
    assert spin.loss(pair, beta=4.0).item() == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-6)
    assert spin.loss(pair, beta=4.0, anchor=2.0).item() == pytest.approx(1.313262, rel=1e-6)


@pytest.mark.parametrize("beta", [4.0, 2000.0])
def test_gradient_lowers_the_winner_and_raises_the_rival(beta: float) -> None:
    pair = errors(0.3, 0.4, 0.3, 0.4)
    assert gradients(spin.loss(pair, beta=beta), pair) == pytest.approx((beta / 4, -beta / 4))
    assert gradients(spin.loss(pair, beta=beta, anchor=0.5), pair) == pytest.approx(
        (beta / 4 + 0.5, -beta / 4)
    )


def test_the_safeguard_tempers_the_push() -> None:
    pair = errors(0.3, 0.4, 0.3, 0.4, share=0.25)
    assert gradients(spin.loss(pair, beta=4.0), pair) == pytest.approx((1.0, -0.25))


def test_common_shifts_change_nothing() -> None:
    plain = spin.loss(errors(0.5, 0.75, 0.25, 0.5), beta=10.0)
    policy = spin.loss(errors(0.625, 0.875, 0.25, 0.5), beta=10.0)
    winners = spin.loss(errors(0.625, 0.75, 0.375, 0.5), beta=10.0)
    assert plain.item() == policy.item() == winners.item()


def test_beta_scales_the_logit() -> None:
    pair = errors(0.5, 0.25, 0.375, 0.5)
    assert spin.logits(pair, 2000.0).item() == 1000 * spin.logits(pair, 2.0).item() == -0.375 * 1000


def test_large_logits_stay_finite() -> None:
    assert spin.loss(errors(9.0, 0.0, 0.0, 9.0), beta=5000.0).item() == 45000.0
    assert spin.loss(errors(0.0, 9.0, 9.0, 0.0), beta=5000.0).item() == 0.0


def test_plan_of_each_iteration() -> None:
    settings = SpinHyperparameters(n_iterations=2, sft_steps=3, states="sampler", rival_steps=5)
    assert settings.iterations == (0, 1, 2)
    start, first, second = (settings.for_iteration(k) for k in settings.iterations)
    assert (start.objective, start.steps, start.learning_rate, start.rivals) == ("sft", 3, 1e-5, "none")
    assert not start.generates
    assert (first.objective, first.steps, first.constants) == ("spin", 50, {"beta": 2000.0, "anchor": 0.0})
    assert (first.rivals, first.reference, first.cached, first.sampler_steps) == ("drawn", "errors", True, 5)
    assert (second.steps, second.learning_rate, second.constants["beta"]) == (500, 2e-5, 5000.0)
    assert [settings.opponent(k, seed=1) for k in (1, 2)] == [0, 1]
    assert SpinHyperparameters().for_iteration(1).sampler_steps is None


def test_what_would_be_ignored_is_refused() -> None:
    with pytest.raises(ValidationError, match="sft_learning_rate has no effect while sft_steps is 0"):
        SpinHyperparameters(sft_learning_rate=1e-5)
    with pytest.raises(ValidationError, match="beta has 2 values for n_iterations=3"):
        SpinHyperparameters(beta=[1.0, 2.0])
