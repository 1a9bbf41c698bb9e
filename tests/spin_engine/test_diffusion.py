"""Errors against numbers worked out by hand, and draws that are functions of their arguments."""

import torch

from spin_engine.diffusion import derive_seed, draw, mean_squared_error
from spin_engine.processes.discrete import Discrete

DISCRETE = Discrete(torch.linspace(0.999, 0.005, 1000), "epsilon")


def test_error_is_a_mean_not_a_sum() -> None:
    assert mean_squared_error(torch.full((2, 1, 2, 2), 3.0), torch.ones(2, 1, 2, 2)).tolist() == [4.0, 4.0]


def test_seeds_are_the_same_on_every_machine_and_depend_on_order() -> None:
    assert derive_seed(0, "draw", 1, 2, 3) == 3095916557965446736
    assert derive_seed(1, 2) != derive_seed(2, 1)
    assert derive_seed(1, 23) != derive_seed(12, 3)


def test_a_draw_is_a_function_of_its_arguments() -> None:
    one = draw(7, 1, 2, 3, shape=(4, 8, 8), process=DISCRETE, dropout=0.5)
    again = draw(7, 1, 2, 3, shape=(4, 8, 8), process=DISCRETE, dropout=0.5)
    assert (one.timestep, one.dropped) == (again.timestep, again.dropped)
    assert torch.equal(one.noise, again.noise)
    for other in ((8, 1, 2, 3), (7, 2, 2, 3), (7, 1, 3, 3), (7, 1, 2, 4)):
        noise = draw(*other, shape=(4, 8, 8), process=DISCRETE, dropout=0.5).noise
        assert not torch.equal(one.noise, noise)


def test_draws_are_spread_evenly() -> None:
    draws = [draw(0, 1, pair, 0, shape=(1, 1, 1), process=DISCRETE, dropout=0.25) for pair in range(2000)]
    mean = sum(one.timestep for one in draws) / 2000
    assert abs(mean - 499.5) < 4 * 1000 / (12 * 2000) ** 0.5
    assert abs(sum(one.dropped for one in draws) / 2000 - 0.25) < 4 * (0.25 * 0.75 / 2000) ** 0.5
