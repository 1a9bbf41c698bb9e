"""What methods understand, and what an iteration of any of them comes to. Torch-free.

A method (``objectives/NAME.py``) takes the class that has the settings it uses, and adds its own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from spin_engine.metrics.choice import MetricChoice, distinct
from spin_engine.watch import NO_LIMITS, Limits

if TYPE_CHECKING:
    from torch import Tensor

Learning = Annotated[float, Field(gt=0, le=1)]
Steps = Annotated[int, Field(ge=1, le=1_000_000)]
Beta = Annotated[float, Field(gt=0, le=1e6)]
Safeguard = Annotated[
    float | None,
    Field(ge=0, le=1, description="mu of Diffusion-SDPO, which tempers the rival's gradient; null: off."),
]
Guidance = Annotated[float, Field(ge=1, le=50)]
EACH_ITERATION = "one value, or a list with one value an iteration"


@dataclass(frozen=True)
class IterationPlan:
    """What one training unit does: which loss, for how many optimiser steps, how fast, against what."""

    objective: str
    """The method's type, or sft for a supervised start."""
    steps: int
    learning_rate: float
    loss: Callable[..., Tensor]
    """From ``objectives.errors.Errors`` of B pairs, and ``constants``, to their losses, float32 (B,)."""
    constants: Mapping[str, float | None]
    """What the loss takes beside the errors, by name."""
    rivals: Literal["none", "drawn", "given"] = "none"
    """What a winner is compared with: nothing, a picture the opponent draws, or the dataset's loser."""
    reference: Literal["none", "errors", "answers"] = "none"
    """What the loss needs of the reference: nothing, r_w and r_l, or its answer on the winner as well."""
    judge: Literal["opponent", "base"] = "opponent"
    """Who the reference is: the opponent (see ``Hyperparameters.opponent``), or what the job started from."""
    cached: bool = False
    """Whether the reference is asked by ``generate``, else in training."""
    sampler_steps: int | None = None
    """S, if rivals are met where a sampler of so many steps passed; None: they are noised afresh."""
    draws: int | None = None
    """Distinct draws of timestep and noise a pair; None: a fresh one each visit."""
    safeguard: float | None = None
    """mu of the safeguard; None: off."""
    limits: Limits = NO_LIMITS
    """When to warn, and when to end early."""
    gated: bool = False
    """Whether the start is kept when what comes out loses against it (``gate``)."""

    @property
    def generates(self) -> bool:
        """Whether training needs what ``generate`` makes."""
        return self.rivals == "drawn" or self.cached


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
    aspect_buckets: bool = Field(
        default=False,
        description="Cut pictures to the nearest of a few aspect ratios of the same area, not to squares.",
    )
    shuffle_window: int = Field(
        64,
        ge=1,
        le=100_000,
        description="Shards of 512 rows that are open at a time; larger data is shuffled window by window.",
    )
    optimizer: Literal["adamw", "adamw8bit"] = Field(
        "adamw", description="AdamW with float32 moments, or with 8-bit ones of the bitsandbytes package."
    )
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Keep a running mean of the weights, of this decay a step, and publish it; null: off.",
    )
    gradient_checkpointing: bool = Field(
        default=False, description="Compute activations twice to hold few: less memory, a third more time."
    )
    compile: bool = Field(
        default=False, description="Compile the denoiser for the shapes it sees (torch.compile)."
    )
    max_skipped: int = Field(
        10, ge=0, description="Steps an iteration may skip because loss or gradients were not finite."
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
    metrics: Annotated[tuple[MetricChoice, ...], AfterValidator(distinct)] | None = Field(
        None,
        description="What is measured, names or {name, model}; null: what the base model's judge says.",
    )

    @property
    def iterations(self) -> tuple[int, ...]:
        """The iterations in order: one, unless the method plays rounds."""
        return (1,)

    @property
    def eval_guidances(self) -> tuple[float, ...]:
        """The guidances that are measured; the first draws the previews."""
        given = self.eval_guidance
        return given if isinstance(given, tuple) else (given,)

    @abstractmethod
    def for_iteration(self, iteration: int) -> IterationPlan:
        """Return the plan of one iteration; 0 is a supervised start."""

    def opponent(self, iteration: int, *, seed: int) -> int:  # noqa: ARG002  # of methods that draw lots
        """Return whose weights draw and judge in an iteration: the last one's, below the first the base's."""
        return iteration - 1

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
    def _micro_batches_are_of_one_bucket(self) -> Self:
        if self.aspect_buckets and self.batch_size % (self.micro_batch_size or self.batch_size):
            raise ValueError("with aspect_buckets, batch_size must be a multiple of micro_batch_size")
        return self

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


class ComparedHyperparameters(Hyperparameters):
    """What methods understand that compare a winner with a rival."""

    winner_drift_limit: float | None = Field(
        None,
        description="Warn once an iteration when m_w - r_w, averaged over steps, exceeds this; null: no.",
    )
    stop_at_accuracy: float | None = Field(
        None,
        ge=0.5,
        le=1,
        description="End an iteration once this share of pairs, averaged over steps, is right; null: no.",
    )
    saturation: int | None = Field(
        None,
        ge=1,
        description="End an iteration after so many steps without a new highest average margin; null: off.",
    )

    @property
    def limits(self) -> Limits:
        """When to warn, and when to end an iteration early."""
        return Limits(self.winner_drift_limit, self.stop_at_accuracy, self.saturation)


class ReferencedHyperparameters(ComparedHyperparameters):
    """What methods understand whose loss asks a frozen reference as well."""

    reference: Literal["cached", "online"] = Field(
        "cached", description="Reference computed before training, or by frozen weights during it."
    )
    draws: int | None = Field(
        None,
        ge=1,
        description="Distinct (timestep, noise) draws for each pair; null: a fresh one every visit.",
    )


class RoundsHyperparameters(ReferencedHyperparameters):
    """What methods understand that draw their own rivals, round after round."""

    each_iteration: ClassVar[tuple[str, ...]] = ("steps", "learning_rate")
    """The fields that may be a list with one value an iteration."""

    n_iterations: int = Field(3, ge=1, le=100, description="Rounds of self-play.")
    steps: Steps | tuple[Steps, ...] = Field(100, description=f"Optimiser steps: {EACH_ITERATION}.")
    learning_rate: Learning | tuple[Learning, ...] = Field(
        1e-5, description=f"Peak learning rate: {EACH_ITERATION}."
    )
    rival_steps: int = Field(20, ge=1, le=1000, description="Solver steps that draw a rival.")
    rival_guidance: float = Field(1.0, ge=1, le=50, description="Guidance that draws a rival; 1: none.")
    gate: bool = Field(
        default=False,
        description="Keep the last weights when the new ones draw pictures farther from the data, for the "
        "same eval_samples captions and seeds.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fit_defaults(cls, data: Any) -> Any:
        """Cut or extend the default lists to the number of iterations asked for."""
        if not isinstance(data, dict):
            return data
        filled = {key: value for key, value in data.items() if value != "auto" or key not in cls.model_fields}
        n_iterations = filled.get("n_iterations", cls.model_fields["n_iterations"].default)
        if isinstance(n_iterations, int) and 1 <= n_iterations <= 100:
            for name in cls.each_iteration:
                default = cls.model_fields[name].default
                if isinstance(default, tuple):
                    filled.setdefault(name, [at(default, k) for k in range(1, n_iterations + 1)])
        return filled

    @model_validator(mode="after")
    def _one_value_each(self) -> Self:
        """Refuse a list whose length is not the number of iterations."""
        for name in self.each_iteration:
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != self.n_iterations:
                raise ValueError(
                    f"{name} has {len(value)} values for n_iterations={self.n_iterations}: "
                    "give one value, or one an iteration"
                )
        return self

    @property
    def iterations(self) -> tuple[int, ...]:
        """The rounds in order, from 1."""
        return tuple(range(1, self.n_iterations + 1))
