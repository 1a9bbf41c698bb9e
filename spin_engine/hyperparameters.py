"""What every method understands, and what an iteration of any of them comes to. Torch-free."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Learning = Annotated[float, Field(gt=0, le=1)]
Steps = Annotated[int, Field(ge=1, le=1_000_000)]
Beta = Annotated[float, Field(gt=0, le=1e6)]
Guidance = Annotated[float, Field(ge=1, le=50)]
EachIteration = "one value, or a list with one value an iteration"


@dataclass(frozen=True)
class IterationPlan:
    """What one training unit does: which loss, for how many optimiser steps, how fast."""

    objective: Literal["sft", "spin"]
    steps: int
    learning_rate: float
    beta: float | None


def at(value: Any, iteration: int) -> Any:
    """Return the value of iteration 1, 2, ...; a list that is too short repeats its last."""
    return value[min(iteration, len(value)) - 1] if isinstance(value, tuple) else value


class Config(BaseModel):
    """The strict base of every config type: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Hyperparameters(Config):
    """What every method understands. ``"auto"`` anywhere means the default."""

    batch_size: int = Field(32, ge=1, le=65_536, description="Captions in one optimiser step.")
    micro_batch_size: int | None = Field(
        None, ge=1, description="Captions in one forward pass; null: the whole batch at once."
    )
    adapter: Literal["lora", "full"] = Field("lora", description="Train a LoRA adapter or all weights.")
    rank: int | None = Field(
        None, ge=1, le=1024, description="Rank of the LoRA adapter, 16 by default; only for lora."
    )
    resolution: int | None = Field(
        None,
        ge=8,
        le=4096,
        multiple_of=8,
        description="Side of the pictures in pixels; null: the model's own.",
    )
    weight_decay: float = Field(0.01, ge=0, le=1, description="Decoupled weight decay of AdamW.")
    warmup: float = Field(0.1, ge=0, le=1, description="Share of an iteration's steps that warms up.")
    schedule: Literal["constant", "linear", "cosine"] = Field(
        "linear", description="What the learning rate does after the warm-up."
    )
    max_grad_norm: float = Field(1.0, gt=0, description="Gradients are clipped to this norm.")
    prompt_dropout: float = Field(0.0, ge=0, lt=1, description="Share of captions replaced by the empty one.")
    checkpoint_every: int = Field(50, ge=1, description="Optimiser steps between checkpoints.")
    eval_samples: int = Field(
        48, ge=1, le=10_000, description="Held-out captions drawn to measure each iteration."
    )
    eval_seeds: int = Field(
        1, ge=1, le=1000, description="Pictures drawn of each of those captions, each from a seed of its own."
    )
    eval_steps: int = Field(20, ge=1, le=1000, description="Sampler steps of previews and evaluation.")
    eval_guidance: Guidance | Annotated[tuple[Guidance, ...], Field(min_length=1, max_length=8)] = Field(
        7.5,
        description="Classifier-free guidance of evaluation, 1: none; of a list each is measured, and the "
        "first draws the previews.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        """Drop the keys whose value is ``"auto"``, so that their defaults apply; give LoRA its rank."""
        if not isinstance(data, dict):
            return data
        filled = {key: value for key, value in data.items() if value != "auto" or key not in cls.model_fields}
        if filled.get("adapter", "lora") == "lora":
            filled.setdefault("rank", 16)
        return filled

    @model_validator(mode="after")
    def _rank_is_for_lora(self) -> Self:
        if self.adapter == "full" and self.rank is not None:
            raise ValueError('rank is for adapter="lora": leave it out, or change the adapter')
        return self

    @model_validator(mode="after")
    def _each_guidance_once(self) -> Self:
        if len(set(self.eval_guidances)) < len(self.eval_guidances):
            raise ValueError("eval_guidance names a value twice: each is measured once")
        return self

    @property
    def eval_guidances(self) -> tuple[float, ...]:
        """The guidances that are measured; the first draws the previews."""
        given = self.eval_guidance
        return given if isinstance(given, tuple) else (given,)
