"""What the API tells of jobs beside their rows: estimates, what methods offer, curves, reports."""

from typing import Any

from pydantic import Field

from spindle.results import Method, Result


class Estimate(Result):
    """What a job would come to; what is None is not known."""

    model: str
    method: Method
    device: str = ""
    steps: int = 0
    rows: int | None = None
    seconds: float | None = None
    disk_bytes: int | None = None
    memory_bytes_at_least: int | None = None
    queue_position: int = 1
    estimated_start: int | None = None
    waits_for: str | None = None
    refused: str | None = None


class Preset(Result):
    """Hyperparameters under a name; those that it leaves out are as recommended."""

    name: str
    title: str = ""
    meaning: str = ""
    hyperparameters: dict[str, Any] = Field(default_factory=dict)


class MethodOffer(Result):
    """A method as it is offered for a model: its settings, each with its help, and its presets."""

    type: str
    title: str = ""
    summary: str = ""
    needs_pairs: bool = False
    plays_rounds: bool = False
    settings: tuple[dict[str, Any], ...] = ()
    presets: tuple[Preset, ...] = ()


class Curve(Result):
    """One number over the steps of one iteration: ``{step, value, low, high}`` each point."""

    name: str
    iteration: int
    points: tuple[dict[str, Any], ...] = ()


class Interval(Result):
    """A measured value with its 95% interval."""

    value: float
    low: float
    high: float


class ReportMeasure(Result):
    """A way to measure pictures, at one guidance; ``key`` is its name in a column's ``measured``."""

    key: str
    label: str
    guidance: float
    better: str | None = None
    digits: int = 3

    def shown(self, value: float) -> str:
        """Return a value with this measure's digits."""
        return f"{value:.{self.digits}f}"


class ReportColumn(Result):
    """A model whose pictures are compared: what a job started from, what it made, or what another made."""

    label: str
    role: str
    job: str = ""
    iteration: int = 0
    model: str | None = None
    note: str = ""
    measured: dict[str, Interval] = Field(default_factory=dict)


class Report(Result):
    """What the report of a job says."""

    job: str
    compared_with: str | None = None
    status: str = ""
    headline: str
    sentence: str
    captions: int = 0
    held_out: bool = False
    guidances: tuple[float, ...] = ()
    measures: tuple[ReportMeasure, ...] = ()
    columns: tuple[ReportColumn, ...] = ()
