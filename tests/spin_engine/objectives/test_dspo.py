"""DSPO's loss against numbers worked out by hand, and against its tensors."""

import pytest
import torch

from spin_engine.objectives import dspo
from spin_engine.objectives.errors import errors_of
from tests.spin_engine.objectives.making import errors, gradients


@pytest.mark.parametrize("beta", [0.001, 1.0])
def test_reference_against_itself_is_the_winners_error(beta: float) -> None:
    found = dspo.loss(errors(4.0, 3.0, 4.0, 3.0, product=4.0), beta=beta)
    assert found.item() == pytest.approx(4.0)


def test_worked_example() -> None:
    found = dspo.loss(errors(4.0, 5.0, 1.0, 2.0, product=2.0), beta=1.0)
    assert found.item() == pytest.approx(2.25)


def test_a_small_beta_is_supervision() -> None:
    pair = errors(0.5, 0.1, 0.75, 0.3, product=0.6)
    found = dspo.loss(pair, beta=1e-9)
    assert found.item() == pytest.approx(0.5)
    assert gradients(found, pair) == pytest.approx((1.0, 0.0), abs=1e-8)


def test_it_is_the_papers_loss_of_tensors() -> None:
    torch.manual_seed(0)
    mine, ref, worse, worse_ref = (torch.randn(3, 4, 8, 8, dtype=torch.float64) for _ in range(4))
    mine.requires_grad_()

    def mean(x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(1, 2, 3))

    known = {"rival": worse, "reference_winner": ref, "reference_rival": worse_ref}
    squares = {name: mean(value.square()) for name, value in known.items()}
    found = dspo.loss(errors_of(mean(mine.square()), product=mean(mine * ref), **squares), beta=2.0)
    difference = mean(mine.square()) - squares["rival"]
    logit = -0.5 * 2.0 * (difference - (squares["reference_winner"] - squares["reference_rival"]))
    kappa = (2.0 * (1 - logit.sigmoid())).view(-1, 1, 1, 1)
    expected = mean((mine - kappa * (mine - ref)).square())
    torch.testing.assert_close(found, expected)
    one, other = (torch.autograd.grad(each.sum(), mine, retain_graph=True)[0] for each in (found, expected))
    torch.testing.assert_close(one, other)


def test_plan() -> None:
    plan = dspo.DspoHyperparameters().for_iteration(1)
    assert (plan.rivals, plan.reference, plan.cached, plan.generates) == ("given", "answers", False, False)
    assert dspo.DspoHyperparameters(reference="cached").for_iteration(1).generates
