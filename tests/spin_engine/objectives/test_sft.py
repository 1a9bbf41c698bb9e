"""The supervised loss."""

import torch

from spin_engine.diffusion import mean_squared_error
from spin_engine.objectives import sft


def test_off_by_two_everywhere_is_four() -> None:
    prediction = torch.full((3, 4, 8, 8), 2.0, requires_grad=True)
    losses = sft.loss(mean_squared_error(prediction, torch.zeros(3, 4, 8, 8)))
    losses.sum().backward()
    assert losses.tolist() == [4.0] * 3
    assert prediction.grad is not None
    assert prediction.grad.unique().tolist() == [2 * 2.0 / 256]
    assert sft.readings(losses.detach()) == {"winner_error": 4.0}
