"""What can be asked of the engine: one frozen object for the YAML file, the HTTP body and the JSON column.

Torch-free, so that the API can validate a job without the engine's weight. A key that is not known, or
that the chosen method does not use, is an error. The value ``"auto"`` stands for the default: the one the
base model recommends (``spindle/defaults.json`` in its folder), else the one written here, which for
``spin`` are the paper's.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, model_validator

from spin_engine.hyperparameters import (
    Beta,
    Config,
    EachIteration,
    Hyperparameters,
    IterationPlan,
    Learning,
    Steps,
    at,
)


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
                filled.setdefault(name, [at(default, k) for k in range(1, n_iterations + 1)])
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
            at(self.steps, iteration),
            at(self.learning_rate, iteration),
            at(self.beta, iteration),
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
