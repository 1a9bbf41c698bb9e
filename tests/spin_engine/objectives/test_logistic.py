"""The logistic loss."""

import math

import pytest
import torch
from torch.nn import functional

from spin_engine.objectives.logistic import logistic


def test_worked_by_hand() -> None:
    assert logistic(torch.zeros(1)).tolist() == [torch.tensor(2.0).log().item()]
    assert logistic(torch.tensor([1.0])).item() == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-6)
    assert logistic(torch.tensor([-45000.0, 45000.0])).tolist() == [45000.0, 0.0]


def test_it_is_torchs_own() -> None:
    logit = torch.linspace(-100, 100, 401)
    torch.testing.assert_close(logistic(logit), -functional.logsigmoid(logit), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("logit", "slope"), [(0.0, -0.5), (-1e6, -1.0), (1e6, 0.0)])
def test_slope(logit: float, slope: float) -> None:
    at = torch.tensor([logit], requires_grad=True)
    (found,) = torch.autograd.grad(logistic(at).sum(), at)
    assert found.item() == pytest.approx(slope)
