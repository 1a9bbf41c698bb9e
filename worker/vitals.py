"""Whether a worker lives: its pulse goes round, and it hears its queue."""

import time
from collections.abc import Callable

STILL_SECONDS = 60.0  # without a round of the pulse: some thread waits for what never comes
DEAF_SECONDS = 60.0  # with work waiting here, and no message of it


class Vitals:
    """When a worker's pulse last went round, and for how long work has been waiting unheard.

    A pulse goes round whether its duties succeed or not: a database or a store that is away is no reason to
    start the worker anew. One that has not begun, for the queue is not reached yet, is no reason either.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: float | None = None
        self._resting = False
        self._unheard: Callable[[], float | None] = lambda: None

    def went_round(self) -> None:
        """Note that every duty was looked at."""
        self._last = self._clock()

    def rest(self) -> None:
        """Note that the pulse has ended as it should: the worker finishes what it does, and stops."""
        self._resting = True

    def listen(self, unheard: Callable[[], float | None]) -> None:
        """Ask this for how many seconds work has been waiting without a message."""
        self._unheard = unheard

    @property
    def still_seconds(self) -> float:
        """Seconds since the pulse last went round; 0 before the first time and after the last."""
        return 0.0 if self._last is None or self._resting else self._clock() - self._last

    @property
    def unheard_seconds(self) -> float:
        """Seconds that work has been waiting here without a message; 0 without any."""
        return self._unheard() or 0.0

    def complaint(self) -> str | None:
        """Return what is wrong with the worker, in a sentence; None when nothing is."""
        if self.still_seconds > STILL_SECONDS:
            return f"the pulse has not gone round for {self.still_seconds:.0f} seconds"
        if self.unheard_seconds > DEAF_SECONDS:
            return f"the worker is deaf: work has waited {self.unheard_seconds:.0f} seconds without a message"
        return None
