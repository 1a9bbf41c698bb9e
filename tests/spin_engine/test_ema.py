"""The running mean against numbers made by hand."""

import pytest
import torch
from torch import nn

from spin_engine.ema import RunningMean


def test_the_first_steps_by_hand() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    mean = RunningMean({"a": parameter}, 0.9)
    parameter.data.fill_(1.0)
    mean.update(0)
    assert mean.values["a"].item() == pytest.approx(0.9)
    mean.update(1)
    assert mean.values["a"].item() == pytest.approx(0.981818, abs=1e-6)


def test_later_the_decay_holds() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    mean = RunningMean({"a": parameter}, 0.9)
    parameter.data.fill_(1.0)
    mean.update(1000)
    assert mean.values["a"].item() == pytest.approx(0.1)
