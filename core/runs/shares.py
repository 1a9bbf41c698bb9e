"""How much a project was served lately, as one number whose order stays while nothing happens. Pure.

Service fades with a half-life of H seconds: what was used at time u counts 2^((u - t) / H) at time t. All
fades alike, so of two projects the same one is ahead at every t, and the logarithm at time 0 can be stored:

    share = log2(sum of seconds_i * 2^(u_i / H))

A project that was never served comes first. One that had all machines for long is behind a newcomer for H at
most: after H the newcomer was served as much as is left of what the other was.
"""

import math

HALF_LIFE_SECONDS = 4 * 3600.0
LEAST_SECONDS = 1.0  # what fails at once counts too: otherwise it would come first for ever
NEVER_SERVED = -1e300


def served(share: float | None, *, seconds: float, at: float) -> float:
    """Return the share after so many more seconds of service.

    Args:
        share: before; None: never served.
        seconds: of work of one worker.
        at: Unix seconds of its end.
    """
    new = math.log2(max(LEAST_SECONDS, seconds)) + at / HALF_LIFE_SECONDS
    if share is None:
        return new
    high, low = max(share, new), min(share, new)
    return high + math.log2(1.0 + 2.0 ** (low - high))
