"""Which rows are held out: decided while they pass by, by a seed, and almost exactly as many as asked."""

import hashlib
import random
from dataclasses import dataclass, field

from core.ingest.options import Split

TRAINING, VALIDATION = "training", "validation"


@dataclass
class Parting:
    """Sends rows to one of two parts. Rows of one group always go the same way.

    Groups are counted as they first appear. Of each run of ``1 / share`` groups one is held out, at a place
    that the seed draws: so the share is kept without knowing how many rows will come.
    """

    split: Split
    _sides: dict[bytes, bool] = field(default_factory=dict)
    _next: int = field(init=False)
    _run: int = 0

    def __post_init__(self) -> None:
        self._next = self._place(0)

    def part(self, *, data: bytes, caption: str) -> str:
        """Return the part that a row belongs to."""
        what = " ".join(caption.casefold().split()).encode() if self.split.by == "caption" else data
        group = hashlib.sha256(what).digest()[:12]
        held_out = self._sides.get(group)
        if held_out is None:
            held_out = self._sides[group] = self._draw(len(self._sides))
        return VALIDATION if held_out else TRAINING

    @property
    def groups(self) -> int:
        """How many groups there were so far."""
        return len(self._sides)

    def _draw(self, number: int) -> bool:
        if number < self._next:
            return False
        held_out = number == self._next
        while self._next <= number:
            self._run += 1
            self._next = self._place(self._run)
        return held_out

    def _place(self, run: int) -> int:
        """Return which group of a run is held out."""
        drawn = random.Random(f"{self.split.seed}:{run}").random()
        return int((run + drawn) / self.split.validation)
