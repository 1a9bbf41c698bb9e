"""What the numbers say about self-play against supervised fine-tuning, and nothing beyond."""

from collections.abc import Sequence
from dataclasses import dataclass

from spindle.demo.facts import MEASURES, Column, Facts, Interval, Measure

DOUBT = (
    "The intervals cover the choice of captions and sampling seeds, not the randomness of training: "
    "another training seed can move the numbers by more than they say."
)


@dataclass(frozen=True)
class Verdict:
    """A headline and the sentence that proves it."""

    headline: str
    sentence: str


@dataclass(frozen=True)
class _Comparison:
    measure: Measure
    spin: Interval
    sft: Interval

    @property
    def better(self) -> bool:
        lower = self.spin.value < self.sft.value
        return lower if self.measure.better == "lower" else self.spin.value > self.sft.value

    @property
    def clear(self) -> bool:
        return self.spin.apart(self.sft)

    def __str__(self) -> str:
        spin, sft = self.measure.shown(self.spin.value), self.measure.shown(self.sft.value)
        return f"{self.measure.label} ({spin} against {sft})"


def judge(facts: Facts) -> Verdict:
    """Compare the last column of SPIN with that of SFT; a difference is clear if the intervals are apart."""
    spin = [column for column in facts.columns if column.role == "spin"][-1]
    sft = [column for column in facts.columns if column.role == "sft"][-1]
    found = {guidance: _compared(facts, guidance, spin, sft) for guidance in facts.guidances}
    every = [each for comparisons in found.values() for each in comparisons]
    if not every:
        return Verdict(
            "Nothing was measured", "The jobs report no measures that both have, so there is no verdict."
        )
    told = "; ".join(
        _at(guidance, comparisons, facts, sft) for guidance, comparisons in found.items() if comparisons
    )
    sentence = f"On {facts.held_out} held-out captions, {_budget(facts)}{spin.label} is {told}."
    return Verdict(_headline(every), sentence + _each_at_its_best(facts, spin, sft))


def _compared(facts: Facts, guidance: float, spin: Column, sft: Column) -> list[_Comparison]:
    keys = {facts.key(measure, guidance): measure for measure in MEASURES}
    return [
        _Comparison(measure, spin.measured[key], sft.measured[key])
        for key, measure in keys.items()
        if key in spin.measured and key in sft.measured
    ]


def _headline(found: list[_Comparison]) -> str:
    gains = any(each.clear and each.better for each in found)
    losses = any(each.clear and not each.better for each in found)
    if gains and not losses:
        return "Self-play beats supervised fine-tuning"
    if gains:
        return "Self-play gains in some respects, and gives up in others"
    if losses:
        return "Self-play does not beat supervised fine-tuning"
    return "No clear difference between self-play and supervised fine-tuning"


def _at(guidance: float, found: list[_Comparison], facts: Facts, sft: Column) -> str:
    gains = [each for each in found if each.clear and each.better]
    losses = [each for each in found if each.clear and not each.better]
    same = [each for each in found if not each.clear]
    parts = []
    if gains:
        parts.append(f"clearly better than {sft.label} in {_listed(gains)}")
    if losses:
        parts.append(f"clearly worse {'' if gains else f'than {sft.label} '}in {_listed(losses)}")
    if same:
        parts.append(f"not clearly different {'' if parts else f'from {sft.label} '}in {_listed(same)}")
    where = f"at guidance {guidance:g} " if len(facts.guidances) > 1 else ""
    return where + ", ".join(parts)


def _budget(facts: Facts) -> str:
    steps = {cost.role: cost.steps for cost in facts.costs}
    equal = "sft" in steps and steps["sft"] == steps.get("spin")
    return f"after {steps['sft']} optimiser steps each, " if equal else ""


def _each_at_its_best(facts: Facts, spin: Column, sft: Column) -> str:
    """Return what is left of the distance when each may choose its guidance; "" if there is no choice."""
    distance = MEASURES[0]
    found = {
        column.label: [
            (column.measured[key].value, guidance)
            for guidance in facts.guidances
            if (key := facts.key(distance, guidance)) in column.measured
        ]
        for column in (spin, sft)
    }
    if len(facts.guidances) < 2 or not all(found.values()):
        return ""
    told = [f"{label} {distance.shown(min(each)[0])} at {min(each)[1]:g}" for label, each in found.items()]
    return f" Each at its better guidance: {distance.label} of {' and of '.join(told)}."


def _listed(items: Sequence[object]) -> str:
    *first, last = (str(item) for item in items)
    return f"{', '.join(first)} and {last}" if first else last
