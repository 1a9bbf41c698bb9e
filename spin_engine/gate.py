"""Is theta_k+1 better than theta_k? Both draw the same captions from the same seeds, and the data decides.

The energy distance (Szekely and Rizzo 2013, doi 10.1016/j.jspi.2013.03.018) of what a model draws, X, from
the data, Y, of which it is 0 for the data's own distribution and positive for any other:

    D = 2 E|X - Y| - E|X - X'| - E|Y - Y'|

on latents, |.| being the root mean square over channels and pixels. With one picture X_i a caption, whose own
is Y_i, it is estimated without bias by the mean over i and j != i of

    h_ij = |X_i - Y_j| + |X_j - Y_i| - |X_i - X_j| - |Y_i - Y_j|

and, being a U-statistic, has the standard error 2 std(h_i) / sqrt(n), h_i being the mean over j != i. Of two
models that draw the same captions from the same noise, the difference of the h_i has one, too. By hand, for
latents of one number and two captions:

- X = Y = (0, 2): h_12 = 2 + 2 - 2 - 2 = 0, so D = 0.
- X = (3, 5), Y = (0, 2): h_12 = 1 + 5 - 2 - 2 = 2, so D = 2.
- X = (1, 1), Y = (0, 2): h_12 = 1 + 1 - 0 - 2 = 0; X = (0, 0), Y = (3, 5): h_12 = 5 + 3 - 0 - 2 = 6.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from spin_engine.diffusion import derive_seed
from spin_engine.families.family import Family
from spin_engine.latents import Encoded
from spin_engine.reporter import Progress
from spin_engine.sampler import contrasts, initial_noise, sample
from spin_engine.selfplay import Drawing
from spin_engine.stopping import Stop

CERTAIN = 2.0
"""Standard errors by which theta_k+1 has to be worse to lose: by less it may be chance."""


@dataclass(frozen=True)
class Verdict:
    """What came of comparing two models."""

    before: float
    """Energy distance of theta_k."""
    after: float
    """That of theta_k+1, from the same seeds."""
    standard_error: float
    """Of the difference."""
    captions: int
    held_out: bool
    """Whether the captions were held out from training."""

    @property
    def accepted(self) -> bool:
        """Whether theta_k+1 did not lose; a distance that is not a number loses."""
        return self.after - self.before <= CERTAIN * self.standard_error

    def as_json(self) -> dict[str, Any]:
        """Return it as ``weights.json`` has it."""
        found = {"accepted": self.accepted, **asdict(self)}
        numbers = {name: value for name, value in found.items() if isinstance(value, float)}
        return found | {name: value if math.isfinite(value) else None for name, value in numbers.items()}


def distances(drawn: Tensor, real: Tensor) -> Tensor:
    """Return h_i of each caption, float64 (B,).

    Args:
        drawn: X, latents (B, C, h, w), B >= 2.
        real: Y, likewise.
    """
    x, y = (latents.double().flatten(1) / math.sqrt(latents[0].numel()) for latents in (drawn, real))
    apart = torch.cdist(x, y)
    h = apart + apart.T - torch.cdist(x, x) - torch.cdist(y, y)
    return (h.sum(dim=1) - h.diagonal()) / (len(x) - 1)


def chosen(encoded: Encoded, count: int) -> list[int]:
    """Return ``count`` pairs spread evenly over the data, or all, but those that are alone in their shape.

    Raises:
        ValueError: nothing is left.
    """
    count = min(count, encoded.rows)
    spread = [encoded.rows * index // count for index in range(count)]
    pairs = [pair for same in alike(encoded, spread) if len(same) > 1 for pair in same]
    if not pairs:
        raise ValueError("the gate compares pictures of one size with each other: it needs at least two")
    return pairs


def alike(encoded: Encoded, pairs: list[int]) -> list[list[int]]:
    """Return the pairs by their shape."""
    shapes: dict[tuple[int, int, int], list[int]] = {}
    for pair in pairs:
        shapes.setdefault(encoded.shape_of(pair), []).append(pair)
    return list(shapes.values())


def scores(
    family: Family,
    encoded: Encoded,
    pairs: list[int],
    drawing: Drawing,
    *,
    seed: int,
    progress: Progress,
    stop: Stop,
) -> Tensor:
    """Return h_i of a model for each pair, float64 (N,); those of one shape are compared with each other.

    Args:
        family: the model.
        encoded: its captions and pictures.
        pairs: which of them, ascending.
        drawing: how pictures are drawn.
        seed: of the job; it decides the noise, whatever the iteration.
        progress: counts forward passes of a sample.
        stop: is asked between batches.
    """
    found = []
    for same in alike(encoded, pairs):
        drawn = []
        for start in range(0, len(same), drawing.batch_size):
            stop.check()
            some = same[start : start + drawing.batch_size]
            condition = encoded.condition(some, [False] * len(some))
            negative = encoded.empty(len(some)) if contrasts(family, drawing.guidance) else None
            latents = sample(
                family,
                {name: tensor.to(family.device) for name, tensor in condition.items()},
                negative and {name: tensor.to(family.device) for name, tensor in negative.items()},
                initial_noise([derive_seed(seed, "gate", pair) for pair in some], encoded.shape_of(some[0])),
                steps=drawing.steps,
                guidance=drawing.guidance,
            )
            drawn.append(latents.cpu())
            progress.advance(len(some) * drawing.passes(family))
        found.append(distances(torch.cat(drawn), encoded.latents(same)))
    return torch.cat(found)


def verdict(before: Tensor, after: Tensor, *, held_out: bool) -> Verdict:
    """Return what follows from h_i of both models, (N,) each, for the same pairs."""
    difference = after - before
    return Verdict(
        before=float(before.mean()),
        after=float(after.mean()),
        standard_error=2 * float(difference.std()) / math.sqrt(len(difference)),
        captions=len(difference),
        held_out=held_out,
    )
