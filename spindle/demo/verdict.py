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
    found = [
        _Comparison(measure, spin.measured[measure.name], sft.measured[measure.name])
        for measure in MEASURES
        if measure.name in spin.measured and measure.name in sft.measured
    ]
    if not found:
        return Verdict(
            "Nothing was measured", "The jobs report no measures that both have, so there is no verdict."
        )
    gains = [each for each in found if each.clear and each.better]
    losses = [each for each in found if each.clear and not each.better]
    return Verdict(_headline(gains, losses), _sentence(facts, (spin, sft), found, gains, losses))


def _headline(gains: list[_Comparison], losses: list[_Comparison]) -> str:
    if gains and not losses:
        return "Self-play beats supervised fine-tuning"
    if gains:
        return "Self-play gains in some respects, and gives up in others"
    if losses:
        return "Self-play does not beat supervised fine-tuning"
    return "No clear difference between self-play and supervised fine-tuning"


def _sentence(
    facts: Facts,
    columns: tuple[Column, Column],
    found: list[_Comparison],
    gains: list[_Comparison],
    losses: list[_Comparison],
) -> str:
    spin, sft = columns
    same = [each for each in found if not each.clear]
    parts = []
    if gains:
        parts.append(f"clearly better than {sft.label} in {_listed(gains)}")
    if losses:
        parts.append(f"clearly worse {'' if gains else f'than {sft.label} '}in {_listed(losses)}")
    if same:
        parts.append(f"not clearly different {'' if parts else f'from {sft.label} '}in {_listed(same)}")
    steps = {cost.role: cost.steps for cost in facts.costs}
    budget = (
        f"after {steps['sft']} optimiser steps each, "
        if "sft" in steps and steps["sft"] == steps.get("spin")
        else ""
    )
    return f"On {facts.held_out} held-out captions, {budget}{spin.label} is {'; '.join(parts)}."


def _listed(items: Sequence[object]) -> str:
    *first, last = (str(item) for item in items)
    return f"{', '.join(first)} and {last}" if first else last
