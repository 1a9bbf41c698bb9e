"""Why a child failed: from its exit code, its last error line, the signal that ended it, and the kernel."""

import re
import signal
from dataclasses import dataclass

from spin_engine.disk import DISK_FULL, is_disk_full
from worker.child import Ending

STOPPED = 75  # EX_TEMPFAIL: it wrote a checkpoint and stopped, as it was asked to
USER_ERROR = 65  # EX_DATAERR
OUT_OF_MEMORY = 71  # EX_OSERR
REASONS = frozenset(
    (
        "user_error",
        "out_of_memory",
        "device_lost",
        "disk_full",
        "worker_lost",
        "preempted",
        "timeout",
        "internal",
    )
)
TAIL = 1500
DEVICE_LOST = re.compile(
    r"device lost|fallen off the bus|unspecified launch failure|uncorrectable ECC|no CUDA-capable device"
    r"|CUDA driver shutting down|NVML: Unknown Error|device-side unrecoverable",
    re.IGNORECASE,
)
MEMORY = re.compile(r"out of memory|MemoryError|cannot allocate memory|bad_alloc", re.IGNORECASE)
SECRETS = (
    (re.compile(r"(?<=://)[^\s/@]+(?=@)"), "***"),
    (re.compile(r"\b(?:sk|hf|spk|ghp|github_pat)[-_][A-Za-z0-9_-]{8,}"), "***"),
    (re.compile(r"\bAKIA[A-Z0-9]{12,}\b"), "***"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), r"\1 ***"),
    (
        re.compile(
            r"(?i)\b([\w-]*(?:password|passwd|secret|token|api[_-]?key|signature))(['\"]?\s*[=:]\s*)['\"]?[^\s'\"&]+"
        ),
        r"\1\2***",
    ),
)


@dataclass(frozen=True)
class Failure:
    """A reason of ``REASONS`` and a message for the person who reads it."""

    reason: str
    message: str


def without_secrets(text: str) -> str:
    """Blank what looks like a credential."""
    for pattern, replacement in SECRETS:
        text = pattern.sub(replacement, text)
    return text


def end_of(ending: Ending) -> str:
    """Tell in one word how a process ended, as worker.meters counts it."""
    if ending.code == STOPPED or ending.signal == signal.SIGTERM:
        return "stopped"
    if ending.signal is not None:
        return "killed"
    return "succeeded" if ending.code == 0 else "failed"


def failure_of(error: Exception) -> Failure:
    """Tell why the work around a child failed."""
    reason = "disk_full" if is_disk_full(error) else "internal"
    return Failure(reason, without_secrets(f"{type(error).__name__}: {error}"))


def failure(ending: Ending) -> Failure:
    """Tell why a child that nobody asked to stop did not succeed."""
    if ending.error is not None:
        reason = str(ending.error.get("reason"))
        reason = reason if reason in REASONS else "internal"
        message = str(ending.error.get("message") or "no message")
        # A user's mistake needs its message; the rest needs to be found out.
        return Failure(
            reason, without_secrets(message) if reason == "user_error" else _with_tail(message, ending)
        )
    if ending.signal is not None:
        return _by_signal(ending, ending.signal)
    reason = _by_code(ending)
    return Failure(reason, _with_tail(f"the process ended with exit code {ending.code}", ending))


def _by_signal(ending: Ending, number: int) -> Failure:
    name = signal.Signals(number).name if number in list(signal.Signals) else f"signal {number}"
    if number == signal.SIGKILL:
        if ending.kernel_oom:
            return Failure(
                "out_of_memory", _with_tail("the kernel killed the process: memory ran out", ending)
            )
        return Failure("worker_lost", _with_tail(f"the process was killed from outside ({name})", ending))
    if number == signal.SIGXCPU:
        return Failure("timeout", _with_tail("the process used up its CPU time", ending))
    reason = "device_lost" if DEVICE_LOST.search(ending.stderr) else "internal"
    return Failure(reason, _with_tail(f"the process crashed ({name})", ending))


def _by_code(ending: Ending) -> str:
    if ending.code == USER_ERROR:
        return "user_error"
    if ending.code == OUT_OF_MEMORY or MEMORY.search(ending.stderr[-TAIL:]):
        return "out_of_memory"
    if DISK_FULL.search(ending.stderr[-TAIL:]):
        return "disk_full"
    return "device_lost" if DEVICE_LOST.search(ending.stderr) else "internal"


def _with_tail(message: str, ending: Ending) -> str:
    tail = ending.stderr[-TAIL:].strip()
    return without_secrets(f"{message}\n{tail}" if tail else message)
