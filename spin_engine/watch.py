"""Watching an iteration: is the winner getting worse, and is there anything left to learn? Pure functions.

All of it follows from the step's numbers, which are the same in every process and after a resumption, so what
is decided is decided alike wherever the work goes on; the state lies in the checkpoint.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

DECAY = 0.9
FEWEST = 10
"""Steps before an average is believed: with DECAY, as many as it remembers."""

Why = Literal["accuracy", "margin"]


@dataclass(frozen=True)
class Limits:
    """When to speak up, in the units of the step's numbers; None: never."""

    winner_drift: float | None = None
    """Average m_w - r_w beyond which the winner counts as getting worse."""
    accuracy: float | None = None
    """Average share of pairs told apart at which an iteration is over."""
    saturation: int | None = None
    """Steps without a new highest average margin after which it is."""


NO_LIMITS = Limits()


@dataclass(frozen=True)
class Watch:
    """What has been seen so far: exponential averages that start at the first value, and what was said."""

    steps: int = 0
    winner_drift: float = 0.0
    accuracy: float = 0.0
    margin: float = 0.0
    highest: float = float("-inf")
    """The highest average margin since averages are believed."""
    highest_at: int = 0
    """The step that had it."""
    alarmed: bool = False
    """Whether the drift was told of: once an iteration is enough."""
    over: Why | None = None
    """Why the iteration is over early, if it is."""


def after(watch: Watch, values: Mapping[str, float], limits: Limits) -> Watch:
    """Return the watch after one more step; a step without the numbers (a skipped one) changes nothing.

    An average is DECAY times itself plus the rest of the new value; until FEWEST steps it decides nothing. By
    hand: drifts 0, 1, 1 average 0, 0.1, 0.19.

    Args:
        watch: after the steps before.
        values: of ``readings``: winner_drift, accuracy and margin, as far as the method has them.
        limits: when to speak up.
    """
    if "margin" not in values:
        return watch
    steps = watch.steps + 1
    margin = _average(watch, watch.margin, values["margin"])
    accuracy = _average(watch, watch.accuracy, values["accuracy"])
    drift = _average(watch, watch.winner_drift, values.get("winner_drift", 0.0))
    believed = steps >= FEWEST
    risen = believed and margin > watch.highest
    highest, highest_at = (margin, steps) if risen else (watch.highest, watch.highest_at)
    over = watch.over
    if believed and over is None:
        over = _over(accuracy, steps - highest_at, limits)
    worse = believed and limits.winner_drift is not None and drift > limits.winner_drift
    return Watch(steps, drift, accuracy, margin, highest, highest_at, watch.alarmed or worse, over)


def _average(watch: Watch, before: float, value: float) -> float:
    return value if watch.steps == 0 else DECAY * before + (1 - DECAY) * value


def _over(accuracy: float, without_rise: int, limits: Limits) -> Why | None:
    if limits.accuracy is not None and accuracy >= limits.accuracy:
        return "accuracy"
    if limits.saturation is not None and without_rise >= limits.saturation:
        return "margin"
    return None


def told(before: Watch, now: Watch) -> list[str]:
    """Return the sentences that a step's change is worth, for the user."""
    found = []
    if now.alarmed and not before.alarmed:
        found.append(
            f"the winner is getting worse: m_w - r_w averages {now.winner_drift:.3g}; lower "
            "learning_rate, or set safeguard or anchor"
        )
    if now.over is not None and before.over is None:
        reason = {
            "accuracy": f"{now.accuracy:.1%} of pairs are told apart",
            "margin": f"the margin has not risen for {now.steps - now.highest_at} steps",
        }[now.over]
        found.append(f"the iteration ends early: {reason}")
    return found
