"""The facts of a job: the one object that its page, its report and the verdict are made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Role = Literal["base", "other", "own"]
BASE = -1
"""The iteration under which a job measures its base model."""


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
    """A way to measure pictures: its name in the API, and how people read it.

    ``better`` is None for a number of which we do not know that: it is shown, and never judged by.
    """

    name: str
    label: str
    better: Literal["lower", "higher"] | None
    digits: int
    meaning: str

    @property
    def title(self) -> str:
        """The label with a capital first letter."""
        return self.label[0].upper() + self.label[1:]

    @property
    def explained(self) -> str:
        """What it means, and which way is better."""
        way = "" if self.better is None else f"{self.better.capitalize()} is better."
        return f"{self.meaning} {way}".strip()

    def shown(self, value: float) -> str:
        """Return a value with this measure's digits."""
        return f"{value:.{self.digits}f}"


@dataclass(frozen=True)
class Column:
    """A model whose pictures are compared.

    Attributes:
        label: short, as a column's head.
        role: whether it is what a job started from, what this job made, or what the other one made.
        job_id: of the job that measured it.
        iteration: of that job; -1 is the base model.
        model: its name in the API; None while there is none.
        note: a few words on what it is.
        state: of the unit that measures it.
        measured: by the measures' names, see ``Facts.key``; empty when nothing was measured.
    """

    label: str
    role: Role
    job_id: str
    iteration: int
    model: str | None
    note: str
    state: str
    measured: dict[str, Interval]


@dataclass(frozen=True)
class Picture:
    """A drawn picture: where it is had, and where its bytes lie in the store."""

    url: str
    key: str


@dataclass(frozen=True)
class Row:
    """A prompt and a picture of each column, drawn with the same seed; None where there is none."""

    index: int
    prompt: str
    seed: int
    pictures: tuple[Picture | None, ...]


@dataclass(frozen=True)
class Series:
    """A line of a chart over optimiser steps: step, mean, lowest, highest."""

    label: str
    role: Role
    points: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True)
class Chart:
    """Lines over optimiser steps; ``bounds`` are the steps at which an iteration begins, with its name."""

    name: str
    title: str
    note: str
    series: tuple[Series, ...]
    bounds: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True)
class Cost:
    """What a job took: its seconds from start to end, and those of each stage."""

    label: str
    role: Role
    seconds: float | None
    stages: tuple[tuple[str, float], ...]
    steps: int
    pictures: int


@dataclass(frozen=True)
class Reckoning:
    """What a job took of something, and what it was thought to take, as shown; "" where not known."""

    name: str
    took: str
    thought: str


@dataclass(frozen=True)
class Data:
    """A dataset that a job used."""

    use: Literal["Training", "Validation"]
    id: str
    name: str
    version: int
    rows: int | None
    sha256: str | None


@dataclass(frozen=True)
class Told:
    """An event that a person should know of."""

    level: str
    message: str
    at: datetime


@dataclass(frozen=True)
class Subject:
    """One of the jobs: what it is, and how it stands.

    Attributes:
        id: of the job.
        name: for people.
        method: its type.
        state: of the job.
        started_from: the model.
        made: the model that came out; None: none yet.
        seed: that decides every random number.
        failure: why it failed, as the API tells.
        why: the same in plain words; empty unless it failed.
        message: what was told then, as a sentence; likewise.
        what_to_do: what can be done about it; likewise.
        created_at: when it was made.
        started_at: when its first unit was begun.
        finished_at: when it ended.
        reckoned: time, memory and disk, as far as they are known.
        base_digest: of the files of the pipeline that it started from.
    """

    id: str
    name: str
    method: str
    state: str
    started_from: str
    made: str | None
    seed: int
    failure: dict[str, Any] | None
    why: str
    message: str
    what_to_do: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    reckoned: tuple[Reckoning, ...]
    base_digest: str

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.finished_at is not None


@dataclass(frozen=True)
class Facts:
    """Everything that is known of a job, alone or beside another."""

    own: Subject
    other: Subject | None
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    charts: tuple[Chart, ...]
    costs: tuple[Cost, ...]
    settings: tuple[tuple[str, str], ...]
    data: tuple[Data, ...]
    events: tuple[Told, ...]
    """Warnings and errors, the newest first."""
    event_count: int
    guidances: tuple[float, ...]
    """At which every model was measured; the pictures are drawn with the first."""
    captions: int
    """On how many captions was measured."""
    held_out: bool
    """Whether no model was trained on them."""
    report_keys: tuple[str, ...]
    """Of the store: what the units that measured wrote of themselves."""

    def key(self, measure: Measure, guidance: float) -> str:
        """Return the name under which a column's measure at a guidance is found."""
        return measure.name if guidance == self.guidances[0] else f"{measure.name}@{guidance:g}"

    def own_columns(self) -> Sequence[Column]:
        """Return what this job made, in the order of its iterations."""
        return [column for column in self.columns if column.role == "own"]
