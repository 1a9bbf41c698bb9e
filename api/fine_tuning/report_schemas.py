"""The shape of a job's curves and of its report's facts."""

from typing import Literal, Self

from pydantic import BaseModel, Field

from api.schemas import Input
from core.report.facts import Facts, Role
from core.report.measures import measures_of
from core.report.verdict import DOUBT, judge
from core.runs.curves import Curve


class CurveListing(Input):
    """The query of a job's curves."""

    names: str | None = Field(
        None,
        max_length=1000,
        description="Only these, with commas between: `loss,margin`.",
        examples=["loss"],
    )
    points: int = Field(200, ge=2, le=1000, description="How many at most in each curve.")


class PointObject(BaseModel):
    """Some consecutive steps: the last of them; mean, lowest and highest of what was measured."""

    step: int
    value: float
    low: float
    high: float


class CurveObject(BaseModel):
    """One number over the steps of one iteration."""

    object: Literal["fine_tuning.job.curve"] = "fine_tuning.job.curve"
    name: str
    iteration: int
    points: list[PointObject]

    @classmethod
    def of(cls, curve: Curve) -> Self:
        """Render a curve."""
        points = [
            PointObject(step=each.step, value=each.value, low=each.low, high=each.high)
            for each in curve.points
        ]
        return cls(name=curve.name, iteration=curve.iteration, points=points)


class SampleQuery(Input):
    """Which preview picture."""

    iteration: int = Field(ge=-1, lt=2**31, description="-1 is the base model.")
    index: int = Field(0, ge=0, lt=2**31, description="Of the prompt.")


class ReportQuery(Input):
    """The query of a report."""

    other: str | None = Field(
        None, alias="with", min_length=1, max_length=200, description="Id of another job, to compare it with."
    )


class MeasureObject(BaseModel):
    """A way to measure pictures, at one guidance; ``key`` is its name in a column's ``measured``."""

    key: str
    label: str
    guidance: float
    better: Literal["lower", "higher"] | None
    digits: int
    meaning: str


class IntervalObject(BaseModel):
    """A measured value with its 95% interval."""

    value: float
    low: float
    high: float


class ColumnObject(BaseModel):
    """A model whose pictures are compared."""

    label: str
    role: Role
    job: str
    iteration: int = Field(description="-1 is the base model.")
    model: str | None = Field(description="Its name; null while there is none.")
    note: str
    measured: dict[str, IntervalObject]


class ReportObject(BaseModel):
    """The facts of a report: what its page says, but pictures and curves, which have their own routes."""

    object: Literal["fine_tuning.job.report"] = "fine_tuning.job.report"
    job: str
    compared_with: str | None
    status: str
    headline: str = Field(description="No more than the intervals allow.")
    sentence: str
    doubt: str
    captions: int = Field(description="On how many was measured.")
    held_out: bool
    guidances: list[float]
    measures: list[MeasureObject]
    columns: list[ColumnObject]
    settings: dict[str, str]

    @classmethod
    def of(cls, facts: Facts) -> Self:
        """Render facts."""
        verdict = judge(facts)
        measures = [
            MeasureObject(
                key=facts.key(each, guidance),
                label=each.title,
                guidance=guidance,
                better=each.better,
                digits=each.digits,
                meaning=each.meaning,
            )
            for guidance in facts.guidances
            for each in measures_of(facts.columns)
        ]
        columns = [
            ColumnObject(
                label=each.label,
                role=each.role,
                job=each.job_id,
                iteration=each.iteration,
                model=each.model,
                note=each.note,
                measured={
                    name: IntervalObject(value=found.value, low=found.low, high=found.high)
                    for name, found in each.measured.items()
                },
            )
            for each in facts.columns
        ]
        return cls(
            job=facts.own.id,
            compared_with=None if facts.other is None else facts.other.id,
            status=facts.own.state,
            headline=verdict.headline,
            sentence=verdict.sentence,
            doubt=DOUBT,
            captions=facts.captions,
            held_out=facts.held_out,
            guidances=list(facts.guidances),
            measures=measures,
            columns=columns,
            settings=dict(facts.settings),
        )
