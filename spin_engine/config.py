"""What can be asked of the engine: one frozen object for the YAML file, the HTTP body and the JSON column.

Torch-free, so that the API can validate a job without the engine's weight. A key that is not known, or
that the chosen method does not use, is an error. The value ``"auto"`` stands for the default: the one the
base model recommends (``spindle/defaults.json`` in its folder), else the one written here, which for
``spin`` are the paper's.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

Learning = Annotated[float, Field(gt=0, le=1)]
Steps = Annotated[int, Field(ge=1, le=1_000_000)]
Beta = Annotated[float, Field(gt=0, le=1e6)]
EachIteration = "one value, or a list with one value an iteration"


@dataclass(frozen=True)
class IterationPlan:
    """What one training unit does: which loss, for how many optimiser steps, how fast."""

    objective: Literal["sft", "spin"]
    steps: int
    learning_rate: float
    beta: float | None


def _at(value: Any, iteration: int) -> Any:
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
    eval_steps: int = Field(20, ge=1, le=1000, description="Sampler steps of previews and evaluation.")
    eval_guidance: float = Field(
        7.5, ge=1, le=50, description="Classifier-free guidance of previews and evaluation; 1: none."
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


class SftHyperparameters(Hyperparameters):
    """Supervised fine-tuning: denoise the data. The paper's baseline settings, at our batch size."""

    steps: Steps = Field(2000, description="Optimiser steps.")
    learning_rate: Learning = Field(1e-5, description="Peak learning rate.")

    @property
    def iterations(self) -> tuple[int, ...]:
        """The one iteration."""
        return (1,)

    def for_iteration(self, iteration: int) -> IterationPlan:
        """Return the plan of the only iteration, number 1."""
        assert iteration == 1, f"supervised fine-tuning has one iteration, not {iteration}"
        return IterationPlan("sft", self.steps, self.learning_rate, None)


class SpinHyperparameters(Hyperparameters):
    """Self-play (arXiv 2402.10210): the paper's learning rates, betas and steps by default."""

    n_iterations: int = Field(3, ge=1, le=100, description="Rounds of self-play.")
    steps: Steps | tuple[Steps, ...] = Field((50, 500, 200), description=f"Optimiser steps: {EachIteration}.")
    learning_rate: Learning | tuple[Learning, ...] = Field(
        (2e-5, 2e-5, 5e-8), description=f"Peak learning rate: {EachIteration}."
    )
    beta: Beta | tuple[Beta, ...] = Field(
        (2000.0, 5000.0, 5000.0),
        description=f"Weight on mean squared errors inside the sigmoid: {EachIteration}.",
    )
    sft_steps: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Supervised steps on the same data before the first round of self-play.",
    )
    sft_learning_rate: Learning | None = Field(
        None, description="Peak learning rate of those supervised steps, 1e-5 by default."
    )
    rival_steps: int = Field(20, ge=1, le=1000, description="DPM-Solver++ steps that draw a rival.")
    rival_guidance: float = Field(1.0, ge=1, le=50, description="Guidance that draws a rival; 1: none.")
    reference: Literal["cached", "online"] = Field(
        "cached", description="Reference errors computed with the rivals, or by a frozen model in training."
    )
    draws: int | None = Field(
        None,
        ge=1,
        description="Distinct (timestep, noise) draws for each pair; null: a fresh one every visit.",
    )
    safeguard: float | None = Field(
        None, ge=0, le=1, description="mu of Diffusion-SDPO, which tempers the rival's gradient; null: off."
    )
    anchor: float = Field(0.0, ge=0, description="Weight of the supervised loss added to the self-play loss.")

    @model_validator(mode="before")
    @classmethod
    def _fit_defaults(cls, data: Any) -> Any:
        """Cut or extend the default lists to the number of iterations asked for."""
        if not isinstance(data, dict):
            return data
        filled = {key: value for key, value in data.items() if value != "auto" or key not in cls.model_fields}
        n_iterations = filled.get("n_iterations", 3)
        if isinstance(n_iterations, int) and 1 <= n_iterations <= 100:
            for name in ("steps", "learning_rate", "beta"):
                default = cls.model_fields[name].default
                filled.setdefault(name, [_at(default, k) for k in range(1, n_iterations + 1)])
        if filled.get("sft_steps"):
            filled.setdefault("sft_learning_rate", 1e-5)
        return filled

    @model_validator(mode="after")
    def _one_value_each(self) -> Self:
        """Refuse a list whose length is not the number of iterations, and a rate that nothing uses."""
        for name in ("steps", "learning_rate", "beta"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != self.n_iterations:
                raise ValueError(
                    f"{name} has {len(value)} values for n_iterations={self.n_iterations}: "
                    "give one value, or one an iteration"
                )
        if self.sft_learning_rate is not None and not self.sft_steps:
            raise ValueError(
                "sft_learning_rate has no effect while sft_steps is 0: set sft_steps, or leave it out"
            )
        return self

    @property
    def iterations(self) -> tuple[int, ...]:
        """The iterations in order; 0 is the supervised start, if there is one."""
        return tuple(range(0 if self.sft_steps else 1, self.n_iterations + 1))

    def for_iteration(self, iteration: int) -> IterationPlan:
        """Return the plan of one iteration; 0 is the supervised start."""
        if iteration == 0:
            assert self.sft_learning_rate is not None, "iteration 0 exists only with sft_steps"
            return IterationPlan("sft", self.sft_steps, self.sft_learning_rate, None)
        return IterationPlan(
            "spin",
            _at(self.steps, iteration),
            _at(self.learning_rate, iteration),
            _at(self.beta, iteration),
        )


class SpinBody(Config):
    """The hyperparameters of ``spin``, in OpenAI's nesting."""

    hyperparameters: SpinHyperparameters = SpinHyperparameters()


class SftBody(Config):
    """The hyperparameters of ``sft``, in OpenAI's nesting."""

    hyperparameters: SftHyperparameters = SftHyperparameters()


class SpinMethod(Config):
    """``{"type": "spin", "spin": {"hyperparameters": {...}}}``."""

    type: Literal["spin"]
    spin: SpinBody = SpinBody()

    @property
    def hyperparameters(self) -> SpinHyperparameters:
        """What the method is run with."""
        return self.spin.hyperparameters


class SftMethod(Config):
    """``{"type": "sft", "sft": {"hyperparameters": {...}}}``."""

    type: Literal["sft"]
    sft: SftBody = SftBody()

    @property
    def hyperparameters(self) -> SftHyperparameters:
        """What the method is run with."""
        return self.sft.hyperparameters


Method = Annotated[SpinMethod | SftMethod, Field(discriminator="type")]
METHODS = ("spin", "sft")
HYPERPARAMETERS: dict[str, type[Hyperparameters]] = {"spin": SpinHyperparameters, "sft": SftHyperparameters}


class JobConfig(Config):
    """One fine-tuning job: the file that ``python -m spin_engine`` runs."""

    model: str = Field(min_length=1, description="Folder or hub id of a diffusers pipeline.")
    training_data: str = Field(min_length=1, description="Folder or zip of pictures with captions.")
    validation_data: str | None = Field(None, description="The same, held out: measured, never trained on.")
    method: Method
    seed: int = Field(0, ge=0, lt=2**31, description="Decides every random number of the job.")


def with_recommended(method: Any, recommended: dict[str, Any]) -> Any:
    """Fill a raw method's hyperparameters with the base model's recommended ones.

    Args:
        method: what the user gave, ``{"type": T, T: {"hyperparameters": {...}}}``; not yet validated.
        recommended: hyperparameters by method type, from ``spindle/defaults.json`` of the base model.

    What the user gave wins, except ``"auto"``, which means the recommendation. Lists given an iteration
    apply only while the user keeps the recommended number of iterations.
    """
    if not isinstance(method, dict) or method.get("type") not in METHODS:
        return method
    kind = method["type"]
    body = method.get(kind) or {}
    given = body.get("hyperparameters") or {} if isinstance(body, dict) else None
    if not isinstance(given, dict):
        return method
    known = HYPERPARAMETERS[kind].model_fields
    chosen = {key: value for key, value in given.items() if value != "auto" or key not in known}
    defaults = recommended.get(kind, {})
    if chosen.get("n_iterations", defaults.get("n_iterations")) != defaults.get("n_iterations"):
        defaults = {key: value[-1] if isinstance(value, list) else value for key, value in defaults.items()}
    if chosen.get("adapter") == "full":
        defaults = {key: value for key, value in defaults.items() if key != "rank"}
    if chosen.get("sft_steps") == 0:
        defaults = {key: value for key, value in defaults.items() if key != "sft_learning_rate"}
    return method | {kind: body | {"hyperparameters": defaults | chosen}}


def load(path: Path) -> JobConfig:
    """Read a job from a YAML file; ValueError names the key that is wrong."""
    text = yaml.safe_load(path.read_text())
    if not isinstance(text, dict):
        raise ValueError(f"{path} is not a mapping of settings")  # noqa: TRY004 (the file is wrong, not the call)
    return JobConfig.model_validate(text)
