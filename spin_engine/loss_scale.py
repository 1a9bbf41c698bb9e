"""Loss scaling for float16 (arXiv 1710.03740, section 3.2): small gradients must not become zero.

The loss is multiplied by a power of two before the backward pass, and the gradients divided by it after. When
they overflow, the step is left out and the scale halves; after 2,000 steps without that it doubles. Powers of
two change exponents only, so nothing is rounded; scale and count are part of a checkpoint.
"""

from dataclasses import dataclass, replace

GROWTH_STEPS = 2000
LARGEST = 2.0**24


@dataclass(frozen=True)
class LossScale:
    """Where the scale stands."""

    value: float = 2.0**16
    clean: int = 0
    """Steps since it changed."""

    @property
    def can_shrink(self) -> bool:
        """Whether an overflow may be the scale's fault."""
        return self.value > 1

    def after(self, *, finite: bool) -> "LossScale":
        """Return the scale after a step whose gradients were, or were not, all finite."""
        if not finite:
            return LossScale(max(1.0, self.value / 2))
        if self.clean + 1 < GROWTH_STEPS:
            return replace(self, clean=self.clean + 1)
        return LossScale(min(LARGEST, self.value * 2))
