"""What the numbers say about what a job made, and nothing beyond."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.formats import listed
from core.report.facts import Column, Cost, Facts, Interval, Measure
from core.report.measures import MEASURES

DOUBT = (
    "The intervals cover the choice of captions and sampling seeds, not the randomness of training: "
    "another training seed can move the numbers by more than they say."
)
METHODS = {"spin": "self-play", "sft": "supervised fine-tuning", "seppo": "self-play against earlier selves"}
WAITING = {
    "validating_files": ("Its data is being checked", "Nothing is trained yet."),
    "queued": ("It waits for a worker", "Nothing is trained yet."),
    "running": ("It is being trained", "Nothing that it made is measured yet."),
    "paused": ("It is paused", "Nothing that it made is measured yet."),
    "cancelled": ("It was cancelled", "Nothing that it made was measured."),
}


@dataclass(frozen=True)
class Verdict:
    """A headline and the sentence that proves it."""

    headline: str
    sentence: str


@dataclass(frozen=True)
class _Comparison:
    measure: Measure
    own: Interval
    other: Interval

    @property
    def better(self) -> bool:
        lower = self.own.value < self.other.value
        return lower if self.measure.better == "lower" else self.own.value > self.other.value

    @property
    def clear(self) -> bool:
        return self.own.apart(self.other)

    def __str__(self) -> str:
        own, other = self.measure.shown(self.own.value), self.measure.shown(self.other.value)
        return f"{self.measure.label} ({own} against {other})"


def judge(facts: Facts) -> Verdict:
    """Compare the last of what this job made with the other job's, else with the base model.

    A difference is clear if the intervals are apart.
    """
    measured = [column for column in facts.own_columns() if column.measured]
    against = _against(facts)
    if facts.own.state == "failed" and not measured:
        return Verdict(f"It failed: {_lower(facts.own.why)}", _why(facts))
    if not measured or against is None:
        return _nothing_measured(facts)
    own = measured[-1]
    found = {guidance: _compared(facts, guidance, own, against) for guidance in facts.guidances}
    every = [each for comparisons in found.values() for each in comparisons]
    if not every:
        return _nothing_measured(facts)
    told = "; ".join(_at(guidance, each, facts, _name(against)) for guidance, each in found.items() if each)
    where = "held-out captions" if facts.held_out else "captions of the training data"
    sentence = f"On {facts.captions} {where}, {_budget(facts)}{own.label} is {told}."
    if facts.other is not None:
        sentence += _each_at_its_best(facts, own, against)
    elif len(measured) > 1:
        sentence += _step(facts, own, measured[-2])
    return Verdict(_headline(facts, every, own), sentence + _ending(facts))


def _against(facts: Facts) -> Column | None:
    role = "base" if facts.other is None else "other"
    return next((each for each in facts.columns if each.role == role and each.measured), None)


def _name(column: Column) -> str:
    return "the base model" if column.role == "base" else column.label


def _nothing_measured(facts: Facts) -> Verdict:
    told = WAITING.get(facts.own.state)
    if told is not None and facts.other is None:
        return Verdict(*told)
    if facts.other is not None:
        return Verdict("Nothing was measured", "There are no measures that both have, so no verdict.")
    return Verdict("Nothing was measured", "There are no numbers to compare, so there is no verdict.")


def _why(facts: Facts) -> str:
    return " ".join(part for part in (facts.own.message, facts.own.what_to_do) if part)


def _compared(facts: Facts, guidance: float, own: Column, other: Column) -> list[_Comparison]:
    keys = {facts.key(measure, guidance): measure for measure in MEASURES}
    return [
        _Comparison(measure, own.measured[key], other.measured[key])
        for key, measure in keys.items()
        if key in own.measured and key in other.measured
    ]


def _headline(facts: Facts, found: list[_Comparison], own: Column) -> str:
    gains = any(each.clear and each.better for each in found)
    losses = any(each.clear and not each.better for each in found)
    if facts.other is None:
        words = _against_base(gains=gains, losses=losses)
    else:
        words = _against_other(facts.own.method, facts.other.method, gains=gains, losses=losses)
    return words if facts.own.ended else f"{own.label} so far: {_lower(words)}"


def _against_base(*, gains: bool, losses: bool) -> str:
    if gains and losses:
        return "Better than its base model in some respects, worse in others"
    if gains:
        return "Better than its base model"
    return "Worse than its base model" if losses else "No clear difference from its base model"


def _against_other(own: str, other: str, *, gains: bool, losses: bool) -> str:
    mine, theirs = METHODS.get(own, own.upper()), METHODS.get(other, other.upper())
    if own == other:
        mine, theirs = "this job", "the other"
    subject = mine[0].upper() + mine[1:]
    if gains and losses:
        return f"{subject} gains in some respects, and gives up in others"
    if gains:
        return f"{subject} beats {theirs}"
    return (
        f"{subject} does not beat {theirs}" if losses else f"No clear difference between {mine} and {theirs}"
    )


def _at(guidance: float, found: list[_Comparison], facts: Facts, against: str) -> str:
    where = f"at guidance {guidance:g} " if len(facts.guidances) > 1 else ""
    return where + _told(found, against)


def _told(found: list[_Comparison], against: str) -> str:
    gains = [each for each in found if each.clear and each.better]
    losses = [each for each in found if each.clear and not each.better]
    same = [each for each in found if not each.clear]
    parts = []
    if gains:
        parts.append(f"clearly better than {against} in {listed(gains)}")
    if losses:
        parts.append(f"clearly worse {'' if gains else f'than {against} '}in {listed(losses)}")
    if same:
        parts.append(f"not clearly different {'' if parts else f'from {against} '}in {listed(same)}")
    return ", ".join(parts)


def _budget(facts: Facts) -> str:
    """Say that both made equally many steps, if they did."""
    steps: dict[str, Cost] = {cost.role: cost for cost in facts.costs}
    own, other = steps["own"], steps.get("other")
    made = all(one is not None and one.state == "succeeded" for one in (facts.own, facts.other))
    equal = made and other is not None and own.steps == other.steps
    return f"after {own.steps} optimiser steps each, " if equal else ""


def _step(facts: Facts, own: Column, before: Column) -> str:
    """Return what the last iteration changed, at the guidance of the pictures."""
    found = [each for each in _compared(facts, facts.guidances[0], own, before) if each.clear]
    if not found:
        return f" Against {before.label} nothing is clearly different."
    where = f"at guidance {facts.guidances[0]:g} " if len(facts.guidances) > 1 else ""
    return f" {where[:1].upper()}{where[1:]}{'it' if where else 'It'} is {_told(found, before.label)}."


def _each_at_its_best(facts: Facts, own: Column, other: Column) -> str:
    """Return what is left of the distance when each may choose its guidance; "" if there is no choice."""
    distance = MEASURES[0]
    found = {
        column.label: [
            (column.measured[key].value, guidance)
            for guidance in facts.guidances
            if (key := facts.key(distance, guidance)) in column.measured
        ]
        for column in (own, other)
    }
    if len(facts.guidances) < 2 or not all(found.values()):
        return ""
    told = [f"{label} {distance.shown(min(each)[0])} at {min(each)[1]:g}" for label, each in found.items()]
    return f" Each at its better guidance: {distance.label} of {' and of '.join(told)}."


def _ending(facts: Facts) -> str:
    match facts.own.state:
        case "failed":
            return f" Then it failed: {_lower(facts.own.why)}."
        case "cancelled":
            return " Then it was cancelled."
    return ""


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def best_of(values: Sequence[Interval], measure: Measure) -> str | None:
    """Return the best of some values as it is shown; None where we do not know what is better."""
    if measure.better is None or not values:
        return None
    choose = min if measure.better == "lower" else max
    return measure.shown(choose(each.value for each in values))
