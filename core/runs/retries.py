"""What follows from a failed attempt, for each reason: one table, and the pure function that reads it."""

import re
from dataclasses import dataclass
from typing import Any

from core.models.states import Reason

ANY_KIND = 2  # times ``max_attempts`` failures of whatever kind, without progress, are too many as well
LOG_LINES = 20
CHANGING = re.compile(r"0x[0-9a-f]+|[0-9a-f]{12,}|\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Rule:
    """What follows from one reason.

    Attributes:
        tries: attempts that may fail alike, without progress between them; None: the setting
            ``max_attempts``; 0: it costs nothing.
        elsewhere: another worker comes first, if there is one that could.
        roomier: it goes to a worker with more memory, else in smaller batches.
        patience: times as many failures as of another kind, because it may pass by itself.
        who: what is said of it.
        advice: what a person can do about it.
    """

    tries: int | None
    who: str
    advice: str
    elsewhere: bool = False
    roomier: bool = False
    patience: int = 1


RULES = {
    Reason.user_error: Rule(
        tries=1,
        who="What was given cannot be used",
        advice="The message says what is wrong with the data or the settings: mend it and submit a new job.",
    ),
    Reason.out_of_memory: Rule(
        tries=2,
        roomier=True,
        who="Memory ran out",
        advice="Set a smaller micro_batch_size or resolution, or gradient_checkpointing, or start a worker "
        "with more memory (`python -m worker units`), and submit the job again.",
    ),
    Reason.device_lost: Rule(
        tries=None,
        elsewhere=True,
        who="The accelerator was lost",
        advice="Look at the GPUs of the workers named here (`nvidia-smi`, `dmesg`), then submit the job "
        "again: its model can be a checkpoint's id.",
    ),
    Reason.disk_full: Rule(
        tries=None,
        elsewhere=True,
        patience=4,
        who="A disk is full",
        advice="Free some room on the workers named here or give them a larger disk (`spindle doctor` tells "
        "how much is free; SPINDLE_WORKER_CACHE_BYTES limits what they keep), then submit the job again: its "
        "model can be a checkpoint's id.",
    ),
    Reason.worker_lost: Rule(
        tries=None,
        elsewhere=True,
        who="The worker was lost",
        advice="Look at the logs of the workers named here and at what stopped them (memory, eviction, "
        "power), then submit the job again.",
    ),
    Reason.preempted: Rule(tries=0, who="It made way", advice=""),
    Reason.timeout: Rule(
        tries=None,
        who="It took too long",
        advice="Look at what the workers named here were waiting for (storage, a hung device); if the work "
        "is just slow, raise SPINDLE_UNIT_STALL_SECONDS.",
    ),
    Reason.internal: Rule(
        tries=None,
        who="Something went wrong on our side",
        advice="The same happened each time: report it with this message and the log lines; another try will "
        "not help.",
    ),
}


@dataclass(frozen=True)
class Verdict:
    """What becomes of a unit after a failure."""

    parked: bool
    failures: int
    """Without progress."""
    alike: int
    """The last of them, that were the same."""


def judge(
    reason: Reason, message: str, *, last: dict[str, Any] | None, failures: int, alike: int, most: int
) -> Verdict:
    """Return what follows from a failure.

    Args:
        reason: of the failure.
        message: of the failure.
        last: the failure before it, ``{"reason", "message"}``.
        failures: before this one, without progress.
        alike: the last of them, that were the same.
        most: the setting ``max_attempts``.
    """
    tries, most = RULES[reason].tries, most * RULES[reason].patience
    if tries == 0:
        return Verdict(parked=False, failures=failures, alike=alike)
    same = (
        failures > 0 and last is not None and looks(last["reason"], last["message"]) == looks(reason, message)
    )
    failures, alike = failures + 1, alike + 1 if same else 1
    limit = most if tries is None else min(tries, most)
    return Verdict(parked=alike >= limit or failures >= ANY_KIND * most, failures=failures, alike=alike)


def looks(reason: str, message: str) -> str:
    """Return what two failures have in common that are the same.

    Only our own mistakes are told apart by their message, without its numbers: what befalls a worker or a
    device has one cause in many words.
    """
    if reason != Reason.internal:
        return str(reason)
    return f"{reason}: {CHANGING.sub('#', first_line(message))}"


def first_line(message: str) -> str:
    """Return the first line of a message, whose others are the end of the process's log."""
    return next(iter(message.splitlines()), "")[:300]


def log_of(message: str) -> list[str]:
    """Return the last lines of the process's log, which follow the first line of a message."""
    return message.splitlines()[1:][-LOG_LINES:]


def smaller(batch: int, micro: int) -> int | None:
    """Return at most half of a micro-batch, such that batches divide into equal ones; None when it is 1."""
    return max((size for size in range(1, micro // 2 + 1) if batch % size == 0), default=None)
