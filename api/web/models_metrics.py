"""A model's metrics beside those of the model that its job began with, each on a scale of its own."""

from dataclasses import dataclass

from core.cards.facts import Measured, Training

BASE = -1
MARGIN = 0.08


@dataclass(frozen=True)
class Row:
    """One metric: before, now with its interval, and the ends of the line that it is drawn on."""

    name: str
    before: float | None
    value: float
    low: float | None
    high: float | None
    least: float
    most: float


def measured(training: Training) -> list[Row]:
    """Return what was measured of the last iteration that a model has been through."""
    rounds = [each.iteration for each in training.metrics if each.iteration > BASE]
    if not rounds:
        return []
    before = {each.name: each.value for each in training.metrics if each.iteration == BASE}
    last = [each for each in training.metrics if each.iteration == max(rounds)]
    return [row for each in last if (row := _row(each, before.get(each.name))) is not None]


def _row(one: Measured, before: float | None) -> Row | None:
    if one.value is None:
        return None
    least, most = _ends(one.value, one.low, one.high, before)
    return Row(one.name, before, one.value, one.low, one.high, least, most)


def _ends(*values: float | None) -> tuple[float, float]:
    """Return a range that holds all of these with room at both ends."""
    told = [value for value in values if value is not None]
    least, most = min(told), max(told)
    room = (most - least or abs(most) or 1.0) * MARGIN
    return least - room, most + room
