"""How moments and states are written on pages, beside numbers (core.formats)."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from core.formats import NOTHING, duration, number, percent, sentence, setting, size, words

GOOD = frozenset({"succeeded", "ready", "completed", "enabled", "done"})
BAD = frozenset({"failed", "expired", "revoked", "denied", "lost"})
BUSY = frozenset({"running", "validating", "validating_files", "completing", "drawing"})


def when(moment: datetime | float | None) -> Markup:
    """Return a ``<time>`` that the script of the page turns into the reader's own time."""
    if moment is None:
        return Markup.escape(NOTHING)
    at = moment if isinstance(moment, datetime) else datetime.fromtimestamp(moment, UTC)
    at = at.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        at.isoformat(timespec="seconds"), at.strftime("%Y-%m-%d %H:%M UTC")
    )


def tone(state: Any) -> str:
    """Return the colour of a state: good, bad, busy or plain."""
    word = str(state)
    for name, states in (("good", GOOD), ("bad", BAD), ("busy", BUSY)):
        if word in states:
            return name
    return "plain"


FILTERS: dict[str, Callable[..., Any]] = {
    "size": size,
    "number": number,
    "percent": percent,
    "duration": duration,
    "when": when,
    "tone": tone,
    "words": words,
    "setting": setting,
    "sentence": sentence,
}
