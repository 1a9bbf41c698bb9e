"""The self-play loss against numbers worked out by hand (see the objective's docstring)."""

import math

import pytest
import torch

from spin_engine.objectives import spin


def errors(m_w: float, m_l: float, r_w: float, r_l: float) -> spin.PairErrors:
    return spin.PairErrors(*(torch.tensor([value], requires_grad=True) for value in (m_w, m_l, r_w, r_l)))


def test_opponent_against_itself_is_ln_2() -> None:
    found = spin.loss(errors(0.37, 0.91, 0.37, 0.91), beta=5000.0)
    assert found.tolist() == [torch.tensor(2.0).log().item()]


def test_worked_example() -> None:
    pair = errors(0.5, 0.2, 1.0, 0.2)
    assert spin.logits(pair, beta=4.0).tolist() == [1.0]
    assert spin.loss(pair, beta=4.0).item() == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-6)


@pytest.mark.parametrize("beta", [4.0, 2000.0])
def test_gradient_lowers_the_winner_and_raises_the_rival(beta: float) -> None:
    pair = errors(0.3, 0.4, 0.3, 0.4)
    spin.loss(pair, beta).sum().backward()
    assert pair.winner.grad is not None
    assert pair.rival.grad is not None
    assert pair.winner.grad.item() == pytest.approx(beta / 4)
    assert pair.rival.grad.item() == pytest.approx(-beta / 4)


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


def test_readings_by_quarter_of_the_timesteps() -> None:
    pair = spin.PairErrors(
        torch.tensor([0.5, 1.0, 0.5]),
        torch.tensor([1.0, 1.0, 1.0]),
        torch.tensor([1.0, 1.0, 0.25]),
        torch.tensor([1.0, 1.0, 1.0]),
    )
    assert spin.readings(pair, torch.tensor([0, 249, 999]), 1000) == {
        "margin": pytest.approx(0.25 / 3),
        "accuracy": 0.5,
        "winner_drift": pytest.approx(-0.25 / 3),
        "rival_drift": 0.0,
        "winner_error": pytest.approx(2 / 3),
        "margin_t0": 0.25,
        "winner_drift_t0": -0.25,
        "margin_t3": -0.25,
        "winner_drift_t3": 0.25,
    }
