"""Names of rows: a prefix that tells what it is, then 26 letters that sort by time (a ULID)."""

import secrets
import threading
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
RANDOM_BITS = 80

_guard = threading.Lock()
_last = 0


def new_id(prefix: str) -> str:
    """Return ``ftjob-01k...`` for ``"ftjob-"``: 48 bits of milliseconds, 80 of chance.

    Within a process each is greater than the one before, also within one millisecond.
    """
    global _last  # noqa: PLW0603  the only way to promise an order
    fresh = time.time_ns() // 1_000_000 << RANDOM_BITS | secrets.randbits(RANDOM_BITS)
    with _guard:
        _last = fresh if fresh >> RANDOM_BITS > _last >> RANDOM_BITS else _last + 1
        number = _last
    letters = []
    for _ in range(26):
        letters.append(ALPHABET[number & 31])
        number >>= 5
    return prefix + "".join(reversed(letters))
