"""Which faults come in which order: a pure function of a seed."""

import random
from dataclasses import dataclass

PENDING = "pending"
CLAIMED = "claimed"
MID_STEP = "mid-step"
MID_UPLOAD = "mid-checkpoint-upload"
UPLOADED = "upload to row"
FINISHING = "row to state"
BOUNDARY = "iteration boundary"
PUBLISH = "publish"
STAGING = "staging"
REQUEST = "request"
COMMITTED = "commit to publish"
SENDING = "webhook send"

VICTIMS: dict[str, tuple[str, ...]] = {
    "trainer SIGKILL": (CLAIMED, MID_STEP, MID_UPLOAD, UPLOADED),
    "supervisor SIGKILL": (PENDING, CLAIMED, MID_STEP, MID_UPLOAD, UPLOADED, FINISHING, BOUNDARY, PUBLISH),
    "supervisor SIGTERM": (MID_STEP, MID_UPLOAD, PUBLISH),
    "group SIGKILL": (MID_STEP, MID_UPLOAD),
    "zombie": (MID_STEP, MID_UPLOAD, UPLOADED, FINISHING, PUBLISH),
    "api SIGKILL": (REQUEST, COMMITTED),
    "beat SIGKILL": (PENDING, SENDING),
    "Redis restart": (PENDING, MID_STEP),
    "Redis FLUSHALL": (PENDING,),
    "PostgreSQL restart": (PENDING, MID_STEP, UPLOADED, FINISHING),
    "S3 errors": (STAGING, MID_UPLOAD, FINISHING, PUBLISH),
    "S3 slow": (STAGING, MID_UPLOAD),
    "S3 cut": (STAGING, MID_UPLOAD, PUBLISH),
    "S3 answer lost": (MID_UPLOAD, FINISHING),
    "webhook errors": (SENDING,),
    "disk full": (MID_STEP, STAGING),
    "clock jumps": (MID_STEP, UPLOADED),
    "pause, resume": (CLAIMED, MID_STEP, MID_UPLOAD),
    "cancel": (MID_STEP, FINISHING),
}
CELLS = tuple((victim, moment) for victim, moments in VICTIMS.items() for moment in moments)


@dataclass(frozen=True)
class Fault:
    """One fault: who is hit and when. ``chance`` in [0, 1) decides what else there is to choose."""

    number: int
    victim: str
    moment: str
    chance: float


def schedule(seed: int, faults: int, *, only: str | None = None) -> list[Fault]:
    """Return so many faults: all cells in a random order, again and again, so that none is left out.

    ``only`` leaves out the other victims.
    """
    lots = random.Random(seed)
    found: list[Fault] = []
    while len(found) < faults:
        cells = [cell for cell in CELLS if only in (None, cell[0])]
        lots.shuffle(cells)
        found += [Fault(len(found) + n, *cell, chance=lots.random()) for n, cell in enumerate(cells)]
    return found[:faults]
