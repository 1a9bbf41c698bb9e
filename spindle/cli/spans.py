"""Spans of time as they are typed."""

import re

from spindle.errors import SpindleError

SPAN = re.compile(r"(\d+)([smhd])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds_of(span: str) -> int:
    """Return the seconds of ``90s``, ``15m``, ``12h`` or ``30d``.

    Raises:
        SpindleError: it is none of these.
    """
    found = SPAN.fullmatch(span)
    if found is None:
        raise SpindleError(f"{span!r} is no span of time: write 90s, 15m, 12h or 30d.")
    return int(found[1]) * SECONDS[found[2]]
