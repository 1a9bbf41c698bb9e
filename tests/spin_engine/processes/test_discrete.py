"""The discrete process against numbers worked out by hand."""

import pytest
import torch

from spin_engine.processes.discrete import Discrete, Prediction


def process(prediction: Prediction) -> Discrete:
    """Signal and spread of t=0 are 0.8 and 0.6; of t=1, 0.6 and 0.8."""
    return Discrete(torch.tensor([0.64, 0.36]), prediction)


def full(value: float) -> torch.Tensor:
    return torch.full((2, 1, 2, 2), value)


def test_noise_is_added_by_the_square_roots() -> None:
    found = process("epsilon").add_noise(full(1.0), full(2.0), torch.tensor([0, 1]))
    assert found[:, 0, 0, 0].tolist() == pytest.approx([0.8 + 1.2, 0.6 + 1.6])


def test_epsilon_targets_the_noise() -> None:
    noise = full(2.0)
    assert process("epsilon").target(full(1.0), noise, torch.tensor([0, 1])) is noise


def test_v_targets_noise_less_picture() -> None:
    found = process("v_prediction").target(full(1.0), full(2.0), torch.tensor([0, 1]))
    assert found[:, 0, 0, 0].tolist() == pytest.approx([1.6 - 0.6, 1.2 - 0.8])


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_picture_is_regained_from_x_t_and_the_answer(prediction: Prediction) -> None:
    own, t = process(prediction), torch.tensor([0, 1])
    x_0, noise = torch.randn(2, 1, 2, 2), torch.randn(2, 1, 2, 2)
    regained = own.clean(own.add_noise(x_0, noise, t), own.target(x_0, noise, t), t)
    torch.testing.assert_close(regained, x_0)


def test_signal_to_noise_is_the_ratio_of_their_squares() -> None:
    assert process("epsilon").snr(torch.tensor([0, 1])).tolist() == pytest.approx([0.64 / 0.36, 0.36 / 0.64])


def test_times_are_what_torch_draws() -> None:
    source, again = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    drawn = [process("epsilon").draw_time(source, (4, 8, 8)) for _ in range(20)]
    assert drawn == [int(torch.randint(2, (), generator=again)) for _ in range(20)]
