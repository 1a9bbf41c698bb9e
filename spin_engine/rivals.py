"""Rivals on disk: ``rivals-SHARD-CHUNK.safetensors`` of as many generate units as there were, in one folder.

``pairs`` int64 (n,); ``latents`` float32 (n, C, h, w); and, when the reference is cached, ``reference``
float32 (n, D, 2): r_w and r_l of each draw, NaN where training does not use the draw.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from spin_engine.itinerary import Itinerary, Look


class Rivals:
    """A folder of rivals, mapped into memory."""

    def __init__(self, folder: Path) -> None:
        """Map what the generate units wrote."""
        self._files = [load_file(path) for path in sorted(folder.glob("rivals-*.safetensors"))]
        self._places = {
            pair: (number, row)
            for number, tensors in enumerate(self._files)
            for row, pair in enumerate(tensors["pairs"].tolist())
        }

    def check(self, itinerary: Itinerary, *, cached: bool) -> None:
        """Raise ValueError unless everything that the itinerary needs is there."""
        missing = [pair for pair in itinerary.used_pairs() if pair not in self._places]
        if missing:
            raise ValueError(
                f"{len(missing)} pairs have no rival, pair {missing[0]} first: generate them all"
            )
        if cached and any("reference" not in tensors for tensors in self._files):
            raise ValueError('the rivals hold no reference errors: generate them with reference="cached"')

    def latents(self, looks: Sequence[Look]) -> Tensor:
        """Return the rivals' clean latents, (B, C, h, w) on the CPU."""
        return torch.stack([self._row(look.pair, "latents") for look in looks])

    def reference(self, looks: Sequence[Look]) -> Tensor:
        """Return r_w and r_l of each look, float32 (B, 2) on the CPU."""
        found = torch.stack([self._row(look.pair, "reference")[look.draw] for look in looks])
        assert not bool(found.isnan().any()), "a draw that was not planned"
        return found

    def _row(self, pair: int, name: str) -> Tensor:
        number, row = self._places[pair]
        return self._files[number][name][row]
