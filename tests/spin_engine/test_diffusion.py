"""The forward process against numbers worked out by hand."""

import pytest
import torch

from spin_engine.diffusion import (
    NoiseSchedule,
    Prediction,
    add_noise,
    derive_seed,
    draw,
    mean_squared_error,
    target,
)


def schedule(prediction: Prediction) -> NoiseSchedule:
    """Signal and spread of t=0 are 0.8 and 0.6; of t=1, 0.6 and 0.8."""
    return NoiseSchedule(torch.tensor([0.64, 0.36]), prediction)


def full(value: float) -> torch.Tensor:
    return torch.full((2, 1, 2, 2), value)


def test_noise_is_added_by_the_square_roots() -> None:
    found = add_noise(schedule("epsilon"), full(1.0), full(2.0), torch.tensor([0, 1]))
    assert found[:, 0, 0, 0].tolist() == pytest.approx([0.8 + 1.2, 0.6 + 1.6])


def test_epsilon_targets_the_noise() -> None:
    noise = full(2.0)
    assert target(schedule("epsilon"), full(1.0), noise, torch.tensor([0, 1])) is noise


def test_v_targets_noise_less_picture() -> None:
    found = target(schedule("v_prediction"), full(1.0), full(2.0), torch.tensor([0, 1]))
    assert found[:, 0, 0, 0].tolist() == pytest.approx([1.6 - 0.6, 1.2 - 0.8])


def test_picture_is_regained_from_x_t_and_v() -> None:
    own, t = schedule("v_prediction"), torch.tensor([0, 1])
    x_0, noise = torch.randn(2, 1, 2, 2), torch.randn(2, 1, 2, 2)
    signal, spread = own.coefficients(t)
    regained = signal * add_noise(own, x_0, noise, t) - spread * target(own, x_0, noise, t)
    torch.testing.assert_close(regained, x_0)


def test_error_is_a_mean_not_a_sum() -> None:
    assert mean_squared_error(full(3.0), full(1.0)).tolist() == [4.0, 4.0]


def test_seeds_are_the_same_on_every_machine_and_depend_on_order() -> None:
    assert derive_seed(0, "draw", 1, 2, 3) == 3095916557965446736
    assert derive_seed(1, 2) != derive_seed(2, 1)
    assert derive_seed(1, 23) != derive_seed(12, 3)


def test_a_draw_is_a_function_of_its_arguments() -> None:
    one = draw(7, 1, 2, 3, shape=(4, 8, 8), timesteps=1000, dropout=0.5)
    again = draw(7, 1, 2, 3, shape=(4, 8, 8), timesteps=1000, dropout=0.5)
    assert (one.timestep, one.dropped) == (again.timestep, again.dropped)
    assert torch.equal(one.noise, again.noise)
    for other in ((8, 1, 2, 3), (7, 2, 2, 3), (7, 1, 3, 3), (7, 1, 2, 4)):
        noise = draw(*other, shape=(4, 8, 8), timesteps=1000, dropout=0.5).noise
        assert not torch.equal(one.noise, noise)


def test_draws_are_spread_evenly() -> None:
    draws = [draw(0, 1, pair, 0, shape=(1, 1, 1), timesteps=1000, dropout=0.25) for pair in range(2000)]
    mean = sum(one.timestep for one in draws) / 2000
    assert abs(mean - 499.5) < 4 * 1000 / (12 * 2000) ** 0.5
    assert abs(sum(one.dropped for one in draws) / 2000 - 0.25) < 4 * (0.25 * 0.75 / 2000) ** 0.5
