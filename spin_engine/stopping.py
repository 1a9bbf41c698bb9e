"""Stopping on request: a signal sets a flag, and the work stops where it can be taken up again."""

import signal
from types import FrameType


class Stopped(Exception):  # noqa: N818  # not an error: the work goes on when it is started again
    """The work stopped because it was asked to, and can be taken up again."""


class Stop:
    """Whether somebody asked us to stop."""

    def __init__(self) -> None:
        """Nobody has, so far."""
        self.requested = False

    def listen(self, *signals: signal.Signals) -> None:
        """Take these signals as requests from now on; a second one of the same kind ends the process."""
        for number in signals:
            signal.signal(number, self._request)

    def check(self) -> None:
        """Raise ``Stopped`` if somebody asked."""
        if self.requested:
            raise Stopped

    def _request(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.requested = True
        signal.signal(number, signal.SIG_DFL)
