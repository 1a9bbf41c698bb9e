"""Which metrics are measured, and with whose weights. Torch-free."""

import re
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

ScoreName = Literal["clip_score", "pickscore", "hpsv2.0", "hpsv2.1", "imagereward", "aesthetic"]
DistanceName = Literal["fid", "kid", "precision", "recall"]
MetricName = Literal[ScoreName, DistanceName, "judge", "histogram_distance"]

CLIP_L = "openai/clip-vit-large-patch14"
CLIP_H = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
MODELS: dict[str, str] = {"clip_score": CLIP_L, "pickscore": "yuvalkirstain/PickScore_v1"}
BASES: dict[str, str] = {
    "pickscore": CLIP_H,
    "hpsv2.0": CLIP_H,
    "hpsv2.1": CLIP_H,
    "imagereward": "google-bert/bert-base-uncased",
    "aesthetic": CLIP_L,
}
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]*[\w-]")
DISTANCES: tuple[DistanceName, ...] = ("fid", "kid", "precision", "recall")


class MetricChoice(BaseModel):
    """One metric: its name alone, or ``{"name", "model", ...}``. docs/metrics.md tells what each measures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: MetricName
    model: str | None = Field(
        None,
        min_length=1,
        description="Folder or hub id of the network, safetensors only; null: the published one, or for "
        "distances the base model's judge.",
    )
    revision: str | None = Field(None, description="Commit, tag or branch of the model on the hub.")
    base: str | None = Field(
        None,
        min_length=1,
        description="Folder or hub id of what the model leans on: its tokenizer, and for HPSv2 its "
        "dimensions, for aesthetic its CLIP; null: the published one.",
    )
    base_revision: str | None = Field(None, description="Commit, tag or branch of the base on the hub.")

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        """Take a name alone for the metric of that name."""
        return {"name": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Fill in what is published as safetensors; refuse what is missing and what would be ignored."""
        known = self.model or MODELS.get(self.name)
        if self.name in ("judge", "histogram_distance"):
            if self.model is not None:
                raise ValueError(f"{self.name} takes no model")
        elif known is None and self.name not in DISTANCES:
            raise ValueError(
                f"{self.name} needs a model: its weights are published as a pickle, which is never read. "
                "docs/metrics.md says how to get them as safetensors"
            )
        if self.base is not None and self.name not in BASES:
            raise ValueError(f"{self.name} takes no base")
        if self.revision is not None and known is None:
            raise ValueError("revision is of a model: name one")
        if self.base_revision is not None and self.name not in BASES:
            raise ValueError(f"{self.name} takes no base_revision")
        return self

    @property
    def network(self) -> str | None:
        """The model, the published one by default; None for the judge."""
        return self.model or MODELS.get(self.name)

    @property
    def folders(self) -> list[str]:
        """What is named that is a path of this machine rather than ``ORG/NAME`` of the hub."""
        named = [name for name in (self.model, self.base) if name is not None]
        return [name for name in named if HUB_ID.fullmatch(name) is None]

    @property
    def foundation(self) -> str:
        """The base, the published one by default; ``network`` where nothing else is leant on."""
        found = self.base or BASES.get(self.name) or self.network
        assert found is not None, f"{self.name} leans on nothing"
        return found


def distinct(chosen: tuple[MetricChoice, ...]) -> tuple[MetricChoice, ...]:
    """Return the choices; ValueError if a name comes twice, because reports go by name."""
    names = [choice.name for choice in chosen]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"chosen more than once: {', '.join(twice)}")
    return chosen
