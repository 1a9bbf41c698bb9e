"""The loss scale halves on overflow and doubles after long peace."""

from spin_engine.loss_scale import GROWTH_STEPS, LARGEST, LossScale


def test_it_halves_down_to_one() -> None:
    scale = LossScale(2.0)
    assert scale.can_shrink
    scale = scale.after(finite=False)
    assert scale == LossScale(1.0)
    assert not scale.can_shrink
    assert scale.after(finite=False) == LossScale(1.0)


def test_it_doubles_after_long_peace() -> None:
    scale = LossScale(8.0)
    for _ in range(GROWTH_STEPS - 1):
        scale = scale.after(finite=True)
    assert scale == LossScale(8.0, GROWTH_STEPS - 1)
    assert scale.after(finite=False) == LossScale(4.0)
    assert scale.after(finite=True) == LossScale(16.0)
    assert LossScale(LARGEST, GROWTH_STEPS - 1).after(finite=True) == LossScale(LARGEST)
