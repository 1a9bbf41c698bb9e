"""What is not known poisons, and the safeguard rides on the rival's gradient alone."""

import pytest
import torch

from tests.spin_engine.objectives.making import errors, gradients


def test_what_was_not_asked_for_is_nan() -> None:
    pair = errors(0.5, 0.25)
    assert pair.winner.tolist() == [0.5]
    assert pair.rival.tolist() == [0.25]
    for unknown in (pair.reference_winner, pair.reference_rival, pair.product, pair.snr, pair.x_0):
        assert unknown.isnan().all()
    assert pair.margin.isnan().all()
    assert pair.share.tolist() == [1.0]


def test_margin_is_what_the_policy_gained_on_the_winner_beyond_the_rival() -> None:
    assert errors(0.5, 0.25, 1.0, 0.5).margin.tolist() == [0.25]
    assert errors(0.3, 0.7, 0.3, 0.7).margin.tolist() == [0.0]


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_safeguard_scales_the_rivals_gradient_and_no_value(share: float) -> None:
    pair, plain = errors(0.5, 0.25, 1.0, 0.5, share=share), errors(0.5, 0.25, 1.0, 0.5)
    assert torch.equal(pair.margin, plain.margin)
    assert gradients(pair.margin, pair) == (-1.0, share)
