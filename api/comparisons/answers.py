"""What is told of comparisons: how far they are drawn, and what their votes say."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal, Self

from pydantic import BaseModel, Field

from api.schemas import Timestamp
from core.comparisons.rates import Note, Tally
from core.comparisons.results import Contest, Results
from core.models import Comparison, ComparisonModel

NOTES = (
    "Why the interval says less than it seems to: `no_votes`; `one_prompt`, nothing is known of others; "
    "`one_sided`, every vote says the same; `few_prompts`, fewer than ten."
)


class ComparedModel(BaseModel):
    """A model in a comparison."""

    id: str = Field(description="What its name stood for when the comparison was made.")
    name: str = Field(description="As it was asked for.")
    label: str | None = Field(description="Which iteration of the job it is.")


class PromptObject(BaseModel):
    """A prompt, and the seeds that every model draws it with."""

    prompt: str
    seeds: list[int]


class ContestObject(BaseModel):
    """One model against another, a tie counting half, with the 95% interval over prompts."""

    model: str
    other: str
    wins: int
    losses: int
    ties: int
    rate: float | None = Field(description="The share of votes that `model` wins; null without votes.")
    low: float | None
    high: float | None
    p_value: float | None = Field(description="Of the sign test over prompts.")
    prompts: int = Field(description="Prompts that have votes.")
    effective_votes: float = Field(description="As many independent votes they are worth.")
    note: Note | None = Field(description=NOTES)
    asked: int = Field(description="Pairs of pictures that can be voted on.")
    same: int = Field(description="Pairs that show the same to the last pixel: never asked, in no rate.")

    @classmethod
    def of(cls, contest: Contest, models: Sequence[str]) -> Self:
        """Render the votes between two models."""
        rate = contest.rate
        return cls(
            model=models[contest.model],
            other=models[contest.other],
            **asdict(rate.tally),
            rate=rate.rate,
            low=rate.low,
            high=rate.high,
            p_value=rate.p_value,
            prompts=rate.prompts,
            effective_votes=round(rate.effective, 3),
            note=rate.note,
            asked=contest.asked,
            same=contest.same,
        )


class RankObject(BaseModel):
    """A model's place by Bradley and Terry's model; strengths are log-odds around 0."""

    rank: int
    model: str
    strength: float
    low: float | None
    high: float | None
    share: float = Field(description="How often it is expected to win against one of the others.")
    votes: int


class AgreementObject(BaseModel):
    """How far voters agree who were asked the same."""

    pairs: int = Field(description="Pairs of pictures that several people voted on.")
    votes: int
    rate: float = Field(description="The share of two votes on one pair that are the same.")
    alpha: float | None = Field(description="Krippendorff's: 1 where all agree, 0 as by chance.")


class PromptContest(BaseModel):
    """The votes on one prompt between two models."""

    model: str
    other: str
    wins: int
    losses: int
    ties: int
    rate: float | None

    @classmethod
    def of(cls, tally: Tally, *, model: str, other: str) -> Self:
        """Render votes, seen from ``model``."""
        return cls(model=model, other=other, **asdict(tally), rate=tally.rate)


class PromptResult(BaseModel):
    """What the votes on one prompt say."""

    index: int
    prompt: str
    results: list[PromptContest]


class ComparisonObject(BaseModel):
    """Models on the same prompts and seeds, and what votes say of them.

    ``results`` and what follows are null in lists, and where they are not to be revealed.
    """

    id: str
    object: Literal["comparison"] = "comparison"
    name: str
    created: Timestamp
    status: Literal["drawing", "ready", "failed"] = Field(
        description="Votes can be cast from the first pair on that is drawn; `failed`: there is none."
    )
    drawn: int = Field(description="Pictures that are drawn.")
    failed: int = Field(description="Pictures that could not be drawn: their prompt is compared without.")
    total: int = Field(description="Pictures in all.")
    failure: dict[str, str] | None = Field(description="Why the first of those was not drawn.")
    ready: Timestamp | None
    models: list[ComparedModel]
    job: str | None
    iteration: int | None
    dataset: str | None
    prompts: list[PromptObject]
    steps: int
    guidance_scale: float
    size: str | None
    negative_prompt: str | None
    votes: int
    results: list[ContestObject] | None
    ranking: list[RankObject] | None = Field(description="Of three models or more, the strongest first.")
    agreement: AgreementObject | None
    per_prompt: list[PromptResult] | None = Field(description="Of prompts that have votes.")

    @classmethod
    def of(cls, row: Comparison, models: Sequence[ComparisonModel], results: Results | None = None) -> Self:
        """Render a comparison, with what votes say if that is told."""
        ids = [each.model_id for each in models]
        asked = row.settings
        told = None if row.failure is None else {name: str(each) for name, each in row.failure.items()}
        return cls(
            id=row.id,
            name=row.name,
            created=row.created_at,
            status=row.state.value,
            drawn=row.drawn,
            failed=row.failed,
            total=row.total,
            failure=told,
            ready=row.ready_at,
            models=[ComparedModel(id=each.model_id, name=each.name, label=each.label) for each in models],
            job=row.job_id,
            iteration=row.iteration,
            dataset=row.dataset_id,
            prompts=[PromptObject(**each) for each in row.prompts],
            steps=asked["steps"],
            guidance_scale=asked["guidance_scale"],
            size=None if asked["width"] is None else f"{asked['width']}x{asked['height']}",
            negative_prompt=asked["negative_prompt"],
            votes=row.votes,
            results=None if results is None else [ContestObject.of(each, ids) for each in results.contests],
            ranking=None if results is None else _ranking(results, ids),
            agreement=None if results is None else _agreement(results),
            per_prompt=None if results is None else _per_prompt(row, results, ids),
        )


def _ranking(results: Results, ids: Sequence[str]) -> list[RankObject]:
    return [
        RankObject(
            rank=place,
            model=ids[each.model],
            strength=each.strength,
            low=each.low,
            high=each.high,
            share=each.share,
            votes=each.votes,
        )
        for place, each in enumerate(results.ranking, start=1)
    ]


def _agreement(results: Results) -> AgreementObject | None:
    return None if results.agreement is None else AgreementObject(**asdict(results.agreement))


def _per_prompt(row: Comparison, results: Results, ids: Sequence[str]) -> list[PromptResult]:
    return [
        PromptResult(
            index=prompt,
            prompt=row.prompts[prompt]["prompt"],
            results=[
                PromptContest.of(tally.reversed(), model=ids[second], other=ids[first])
                for (first, second), tally in sorted(own.items())
            ],
        )
        for prompt, own in results.by_prompt.items()
    ]


class PictureObject(BaseModel):
    """A picture that a model drew; the address is good for an hour."""

    model: str
    seed: int
    url: str


class PromptPictures(BaseModel):
    """What the models drew for one prompt, as far as it is drawn."""

    index: int
    object: Literal["comparison.pictures"] = "comparison.pictures"
    prompt: str
    pictures: list[PictureObject]
