"""What ``generate`` made: ``rivals-SHARD-CHUNK.safetensors`` of as many units as there were, in one folder.

``pairs`` int64 (n,), and as far as the method needs it, all float32: ``latents`` (n, C, h, w), the drawn
rivals; ``reference`` (n, D, 2), r_w and r_l of each draw; ``answers`` (n, D, C, h, w), the reference's
prediction - target on the winner; ``states`` and ``targets`` (n, D, C, h, w), where the sampler passed and
what it answered there. A draw that training does not use is NaN.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from spin_engine.batches import States
from spin_engine.hyperparameters import IterationPlan
from spin_engine.itinerary import Itinerary, Look
from spin_engine.latents import Encoded


class Rivals:
    """What winners are compared with: drawn rivals or the dataset's losers, and what a reference said."""

    def __init__(self, folder: Path | None, losers: Encoded | None = None) -> None:
        """Map what the generate units wrote.

        Args:
            folder: theirs; None if nothing was generated.
            losers: the dataset, if its losers take the place of drawn rivals.
        """
        paths = [] if folder is None else sorted(folder.glob("rivals-*.safetensors"))
        self._losers = losers
        self._files = [load_file(path) for path in paths]
        self._places = {
            pair: (number, row)
            for number, tensors in enumerate(self._files)
            for row, pair in enumerate(tensors["pairs"].tolist())
        }

    def check(self, itinerary: Itinerary, *, cached: bool) -> None:
        """Raise ValueError unless everything that the itinerary needs is there."""
        needed = cached or self._losers is None
        missing = [pair for pair in itinerary.used_pairs() if needed and pair not in self._places]
        if missing:
            raise ValueError(
                f"{len(missing)} pairs have no rival, pair {missing[0]} first: generate them all"
            )
        if cached and any("reference" not in tensors for tensors in self._files):
            raise ValueError('the rivals hold no reference errors: generate them with reference="cached"')

    def latents(self, looks: Sequence[Look]) -> Tensor:
        """Return the rivals' clean latents, (B, C, h, w) on the CPU."""
        if self._losers is not None:
            return self._losers.losers([look.pair for look in looks])
        return torch.stack([self._row(look.pair, "latents") for look in looks])

    def states(self, looks: Sequence[Look]) -> States | None:
        """Return where the sampler passed at each look's time, if that was kept."""
        if not self._files or "states" not in self._files[0]:
            return None
        return States(self._each(looks, "states"), self._each(looks, "targets"))

    def reference(self, looks: Sequence[Look]) -> Tensor:
        """Return r_w and r_l of each look, float32 (B, 2) on the CPU."""
        return self._each(looks, "reference")

    def answers(self, looks: Sequence[Look]) -> Tensor:
        """Return the reference's prediction - target on each look's winner, (B, C, h, w) on the CPU."""
        return self._each(looks, "answers")

    def _each(self, looks: Sequence[Look], name: str) -> Tensor:
        found = torch.stack([self._row(look.pair, name)[look.draw] for look in looks])
        assert not bool(found.isnan().any()), "a draw that was not planned"
        return found

    def _row(self, pair: int, name: str) -> Tensor:
        number, row = self._places[pair]
        return self._files[number][name][row]


def rivals_for(
    plan: IterationPlan, itinerary: Itinerary, *, encoded: Encoded, folder: Path | None
) -> Rivals | None:
    """Return what an iteration's winners are compared with, whole; None if its method does not compare.

    Args:
        plan: of the iteration.
        itinerary: of the iteration.
        encoded: the dataset.
        folder: what ``generate`` made, if anything.

    Raises:
        ValueError: the dataset names no losers, or something was not generated.
    """
    if plan.rivals == "none":
        return None
    require_losers(plan, has_losers=encoded.has_losers)
    if plan.generates and folder is None:
        raise ValueError("self-play trains against rivals: generate them first")
    rivals = Rivals(folder if plan.generates else None, losers=encoded if plan.rivals == "given" else None)
    rivals.check(itinerary, cached=plan.cached)
    return rivals


def require_losers(plan: IterationPlan, *, has_losers: bool) -> None:
    """Raise ValueError if the method needs the dataset's losers and there are none."""
    if plan.rivals == "given" and not has_losers:
        raise ValueError(
            f"{plan.objective} learns from pairs of a better and a worse picture, and the training data has "
            'no worse ones: add "loser_file_name" to each line of metadata.jsonl (or KEY.loser.png to tar '
            "shards), or choose a method that draws its own rivals, as spin does"
        )
