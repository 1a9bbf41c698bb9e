"""How numbers, spans and sizes are written for people."""

import math
from collections.abc import Sequence
from typing import Any

NOTHING = "\N{EN DASH}"
UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


def size(count: float | None) -> str:
    """Return 1234567 as ``1.2 MB``."""
    if count is None:
        return NOTHING
    value = float(count)
    for unit in UNITS:
        if value < 1000 or unit == UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("the last unit takes all")


def number(value: float | None, digits: int = 4) -> str:
    """Return a number in a few significant digits, with thin spaces between thousands."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}".replace(",", "\u202f")
    return f"{value:.{digits}g}"


def percent(share: float | None) -> str:
    """Return 0.253 as ``25.3 %``."""
    return NOTHING if share is None or not math.isfinite(share) else f"{100 * share:.1f}\u202f%"


def duration(seconds: float | None) -> str:
    """Return 3725 as ``1 h 2 min``."""
    if seconds is None:
        return NOTHING
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes < 10 and rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def words(name: Any) -> str:
    """Return ``validating_files`` as ``validating files``."""
    return str(name).replace("_", " ")


def setting(value: Any) -> str:
    """Return a hyperparameter's value as people read it: ``[50, 200]`` as ``50, 200``."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(setting(each) for each in value)
        case {"name": name}:
            return str(name)
        case float():
            return f"{value:g}"
    return str(value)


def sentence(text: str) -> str:
    """Return a message as a sentence: with a capital letter and a full stop."""
    text = text.strip()
    stop = "" if not text or text[-1] in ".!?:" else "."
    return f"{text[:1].upper()}{text[1:]}{stop}"


def listed(items: Sequence[object]) -> str:
    """Return ``a, b and c``."""
    *first, last = (str(item) for item in items)
    return f"{', '.join(first)} and {last}" if first else last
