"""The drawings that a serving worker holds: which batch each is in, and whether it is still wanted."""

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.drawing_claims import DrawingClaim
from worker.child import Line
from worker.lease import Order


@dataclass(eq=False)
class Held:
    """A drawing that was claimed."""

    claim: DrawingClaim
    scratch: Path
    claimed_ns: int = field(default_factory=time.time_ns)
    sent_ns: int = 0
    order: Order = Order.go_on
    tries: int = 0
    partials: list[dict[str, Any]] = field(default_factory=list)

    @property
    def id(self) -> str:
        """What the drawing process calls it."""
        return f"{self.claim.drawing_id}-{self.claim.fence}"

    @property
    def out(self) -> Path:
        """Where its pictures come."""
        return self.scratch / "out"

    def wish(self) -> Line:
        """Return what the drawing process is asked for."""
        claim = self.claim
        return {
            "id": self.id,
            "model": claim.model_id,
            "prompt": claim.prompt,
            "negative_prompt": claim.negative_prompt,
            "seeds": list(claim.seeds),
            "partial_images": claim.partial_images,
            "out": str(self.out),
        }


@dataclass(eq=False)
class Going:
    """Drawings that the drawing process has been asked for together."""

    id: str
    base: Path
    weights: Path | None
    held: list[Held]
    began: float = field(default_factory=time.monotonic)
    nearly: bool = False

    def request(self, *, pictures: int) -> Line:
        """Return the line that asks for them."""
        first = self.held[0].claim
        return {
            "id": self.id,
            "base": str(self.base),
            "weights": None if self.weights is None else str(self.weights),
            "width": first.width,
            "height": first.height,
            "steps": first.steps,
            "guidance_scale": first.guidance_scale,
            "pictures": pictures,
            "drawings": [each.wish() for each in self.held],
        }


class Hands:
    """What is held and what is going on, shared by the threads of a worker; ``changed`` tells of news."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._held: list[Held] = []
        self._going: list[Going] = []

    def take(self, held: Iterable[Held]) -> None:
        """Hold drawings."""
        with self.changed:
            self._held += held

    def drop(self, held: Held) -> None:
        """Hold a drawing no longer: its end is written, or another's to write."""
        with self.changed:
            self._held.remove(held)
            self.changed.notify_all()

    @property
    def held(self) -> list[Held]:
        """What is held."""
        with self.changed:
            return list(self._held)

    def begin(self, going: Going) -> None:
        """Note what the drawing process is asked for."""
        with self.changed:
            self._going.append(going)

    @property
    def is_free(self) -> bool:
        """Whether more can be asked for: nothing goes on, or one batch that is nearly done."""
        with self.changed:
            return all(going.nearly for going in self._going) and len(self._going) < 2

    @property
    def began(self) -> float | None:
        """When what is drawn now was begun, at the earliest; None when nothing is."""
        with self.changed:
            return self._going[0].began if self._going else None

    def nearly(self, batch_id: str) -> None:
        """Note that a batch is nearly done."""
        with self.changed:
            for going in self._going:
                going.nearly = going.nearly or going.id == batch_id
            self.changed.notify_all()

    def find(self, request_id: str) -> Held | None:
        """Return what the drawing process means by an id, while it is asked for."""
        with self.changed:
            return next((each for going in self._going for each in going.held if each.id == request_id), None)

    def answered(self, held: Held) -> None:
        """Note that the drawing process is done with a drawing, and so perhaps with its batch."""
        with self.changed:
            first = self._going[0] if self._going else None
            for going in self._going:
                if held in going.held:
                    going.held.remove(held)
            self._going = [going for going in self._going if going.held]
            if self._going and self._going[0] is not first:
                self._going[0].began = time.monotonic()
            self.changed.notify_all()

    def died(self) -> Sequence[Going]:
        """Return what was going on in a drawing process that is no more, and forget it."""
        with self.changed:
            lost, self._going = self._going, []
            self.changed.notify_all()
            return lost
