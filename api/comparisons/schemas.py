"""The shape of comparisons: what is compared, what is asked, and what is answered."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, JsonValue, model_validator

from api.datasets.schemas import Split
from api.schemas import Input, Listing
from core.comparisons.records import Question, Sitting
from core.ingest import options
from core.ingest.options import Options
from core.models import Choice

EXAMPLE: dict[str, JsonValue] = {"job": "ftjob-01k9v3m5x7q8r2s4t6w8y0z1ab", "iteration": 2}
SAMPLED = 20

Prompt = Annotated[str, Field(min_length=1, max_length=4000)]
Seed = Annotated[int, Field(ge=0, lt=2**31, strict=True)]
Voter = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^\S(.*\S)?$")]


class ComparisonCreate(Input):
    """Which models are compared, on what: two to six by name, or an iteration of a job and the one before it.

    With a job alone everything else is the job's own: its preview prompts, each with its seed, its sampler
    steps, guidance and size.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    name: str | None = Field(None, min_length=1, max_length=100, description="How people call it.")
    models: list[Annotated[str, Field(min_length=1, max_length=200)]] | None = Field(
        None,
        min_length=2,
        max_length=6,
        description="Two to six models by their names; what an alias stands for now is compared.",
    )
    job: str | None = Field(None, min_length=1, max_length=200, description="A job's id, in place of models.")
    iteration: int | None = Field(
        None,
        ge=0,
        le=1000,
        strict=True,
        description="Of the job, against the one before it, which before the first is the base. The newest "
        "that is trained, when left out.",
    )
    prompts: list[Prompt] | None = Field(
        None, min_length=1, max_length=200, description="What every model draws; each once."
    )
    dataset: str | None = Field(
        None, min_length=1, max_length=200, description="A dataset whose captions are the prompts."
    )
    prompts_from: int = Field(
        SAMPLED,
        ge=1,
        le=200,
        strict=True,
        description="How many captions of the dataset, spread over its rows; the same each time.",
    )
    seeds: list[Seed] | None = Field(
        None, min_length=1, max_length=4, description="Each prompt is drawn once with each; 0 when left out."
    )
    steps: int | None = Field(None, ge=1, le=200, strict=True, description="Sampler steps; 20 when left out.")
    guidance_scale: float | None = Field(
        None,
        ge=1,
        le=50,
        strict=True,
        description="Classifier-free guidance, 1: none; 7.5 when left out.",
    )
    size: str | None = Field(
        None,
        pattern=r"^(auto|[1-9]\d{0,3}x[1-9]\d{0,3})$",
        description="`WIDTHxHEIGHT`, or `auto`: the models' own.",
    )
    negative_prompt: str | None = Field(None, max_length=4000, description="What not to draw.")

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        given = self.model_fields_set
        if (self.models is None) == (self.job is None):
            raise ValueError("name models, or a job: one of the two")
        if self.iteration is not None and self.job is None:
            raise ValueError("iteration is of a job: name one")
        if self.prompts is not None and self.dataset is not None:
            raise ValueError("give prompts or a dataset, not both")
        if "prompts_from" in given and self.dataset is None:
            raise ValueError("prompts_from counts captions of a dataset: name one")
        if self.models is not None and self.prompts is None and self.dataset is None:
            raise ValueError("give prompts, or a dataset to take them from")
        for field in ("models", "prompts", "seeds"):
            values = getattr(self, field) or []
            if len(set(values)) < len(values):
                raise ValueError(f"{field}: each once")
        for side in self.sides or ():
            if side % 8 or not 8 <= side <= 4096:
                raise ValueError(f"size: each side must be a multiple of 8 from 8 to 4096, not {side}")
        return self

    @property
    def sides(self) -> tuple[int, int] | None:
        """Width and height, or None for the models' own."""
        if self.size in (None, "auto"):
            return None
        width, _, height = self.size.partition("x")
        return int(width), int(height)

    def sitting(self, usual: Sitting) -> Sitting:
        """Return what pictures are drawn with: what was asked for, or else the usual."""
        width, height = (usual.width, usual.height) if self.size is None else self.sides or (None, None)
        return Sitting(
            steps=usual.steps if self.steps is None else self.steps,
            guidance_scale=usual.guidance_scale if self.guidance_scale is None else self.guidance_scale,
            width=width,
            height=height,
            negative_prompt=self.negative_prompt,
        )

    def questions(self, prompts: list[str]) -> list[Question]:
        """Return prompts with the seeds that were asked for."""
        seeds = tuple(self.seeds or (0,))
        return [Question(prompt, seeds) for prompt in prompts]


class ComparisonListing(Listing):
    """The query of a list of comparisons."""

    job: str | None = Field(None, max_length=200, description="Only those of this job.")


class ComparisonQuery(Input):
    """The query of one comparison."""

    reveal: bool = Field(
        default=True, description="False: without what the votes say, for a page where somebody votes."
    )


class PictureListing(Input):
    """The query of a comparison's pictures, which are listed by their prompts."""

    limit: int = Field(20, ge=1, le=100, description="How many prompts at most.")
    after: int | None = Field(
        None, ge=0, lt=2**31, description="Continue after this prompt: the last index received."
    )


class BallotCreate(Input):
    """Who is asked."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"voter": "ada"}]})

    voter: Voter | None = Field(
        None, description="A label of your own for whoever votes; the key, when left out."
    )


class VoteCreate(Input):
    """What a voter says."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ballot": "bal-01k9v3m5x7q8r2s4t6w8y0z1ab", "choice": "left"}]}
    )

    ballot: str = Field(min_length=1, max_length=200, description="The ballot's id.")
    choice: Choice = Field(description="The picture that is better, or `tie`.")
    voter: Voter | None = Field(
        None, description="Whoever votes, if it is not who the ballot was drawn for; name the same there."
    )


class PairsCreate(Input):
    """What dataset the votes become."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "preferred", "agreed": 0.5}]})

    name: str = Field(
        min_length=1,
        max_length=100,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$",
        description="The same name again makes the next version.",
    )
    agreed: float = Field(
        0.5,
        ge=0.5,
        le=1,
        strict=True,
        description="The share of the votes on two pictures that the winner needs, a tie counting half. At "
        "0.5 one vote more than the other's is enough. What is tied is left out, whatever this is.",
    )
    split: Split | None = Field(None, description="What is held out; nothing when left out.")

    def options(self) -> Options:
        """Return what is said of the dataset beside its votes."""
        return Options(split=None if self.split is None else options.Split(**self.split.model_dump()))
