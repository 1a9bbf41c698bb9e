"""What a demo measured: the one object that the report, the sheet and the verdict are made from."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Interval:
    """A measured value with its 95% interval."""

    value: float
    low: float
    high: float

    def apart(self, other: "Interval") -> bool:
        """Tell whether the intervals do not overlap."""
        return self.low > other.high or self.high < other.low


@dataclass(frozen=True)
class Measure:
    """A way to measure pictures: its name in the API, and how people read it."""

    name: str
    label: str
    better: Literal["lower", "higher"]
    digits: int
    meaning: str

    @property
    def title(self) -> str:
        """The label with a capital first letter."""
        return self.label[0].upper() + self.label[1:]

    def shown(self, value: float) -> str:
        """Return a value with this measure's digits."""
        return f"{value:.{self.digits}f}"


MEASURES = (
    Measure(
        "frechet_distance",
        "Fréchet distance",
        "lower",
        1,
        "How far the drawn pictures as a whole are from the real ones, in the features of the judge network.",
    ),
    Measure(
        "style_share",
        "style",
        "higher",
        2,
        "Share of drawings that the judge takes for the style of the fine-tuning pictures.",
    ),
    Measure(
        "histogram_distance",
        "colour distance",
        "lower",
        2,
        "Difference of the colours that the drawn and the real pictures use, from 0 to 1.",
    ),
    Measure(
        "retrieval_at_10",
        "captions found",
        "higher",
        2,
        "Share of drawings whose caption is among the ten that the judge finds closest.",
    ),
    Measure(
        "caption_cosine",
        "caption likeness",
        "higher",
        2,
        "Mean cosine of drawing and caption in the judge's space.",
    ),
)


@dataclass(frozen=True)
class Column:
    """A model of the comparison.

    Attributes:
        label: short, as a column's head.
        role: which line of the story it belongs to.
        model: its name in the API.
        note: a few words on what it is.
        measured: by the measures' names, see ``Facts.key``; empty when nothing was measured.
    """

    label: str
    role: Literal["base", "sft", "spin"]
    model: str
    note: str
    measured: dict[str, Interval]


@dataclass(frozen=True)
class Row:
    """A held-out caption: one PNG of each column, drawn with the same seed, and the real picture."""

    caption: str
    seed: int
    drawn: tuple[bytes, ...]
    real: bytes


@dataclass(frozen=True)
class Series:
    """A line of a chart, in order of its steps."""

    label: str
    role: Literal["base", "sft", "spin"]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Chart:
    """Lines over optimiser steps; ``bounds`` are the steps at which an iteration begins, with its name."""

    title: str
    note: str
    series: tuple[Series, ...]
    bounds: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True)
class Cost:
    """What a job took: its seconds from start to end, and those of each stage."""

    label: str
    role: Literal["base", "sft", "spin"]
    seconds: float
    stages: tuple[tuple[str, float], ...]
    steps: int
    pictures: int


@dataclass(frozen=True)
class Facts:
    """Everything that one run of the demo measured."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    charts: tuple[Chart, ...]
    costs: tuple[Cost, ...]
    settings: tuple[tuple[str, str], ...]
    guidances: tuple[float, ...]
    """At which every model was measured; the pictures are drawn with the first."""
    held_out: int
    trained_on: int
    seconds: float
    finished: str
    command: str

    def key(self, measure: Measure, guidance: float) -> str:
        """Return the name under which a column's measure at a guidance is found."""
        return measure.name if guidance == self.guidances[0] else f"{measure.name}@{guidance:g}"
