"""Errors of single pairs, as tests of objectives write them down."""

import torch

from spin_engine.objectives.errors import Errors, errors_of


def errors(
    m_w: float,
    m_l: float | None = None,
    r_w: float | None = None,
    r_l: float | None = None,
    **known: float,
) -> Errors:
    """Return the errors of one pair, leaves of the graph; what is not given is not known."""
    named = {"rival": m_l, "reference_winner": r_w, "reference_rival": r_l, **known}
    leaves = {
        name: torch.tensor([value], requires_grad=True) for name, value in named.items() if value is not None
    }
    return errors_of(torch.tensor([m_w], requires_grad=True), **leaves)


def gradients(found: torch.Tensor, of: Errors) -> tuple[float, float]:
    """Return dL/dm_w and dL/dm_l of one pair."""
    winner, rival = torch.autograd.grad(found.sum(), [of.winner, of.rival], allow_unused=True)
    return tuple(0.0 if gradient is None else gradient.item() for gradient in (winner, rival))
