"""What can be asked of the engine: one frozen object for the YAML file, the HTTP body and the JSON column.

Torch-free, so that the API can validate a job without the engine's weight. A key that is not known, or
that the chosen method does not use, is an error. The value ``"auto"`` stands for the default: the one the
base model recommends (``spindle/defaults.json`` in its folder), else the one written here, which for
``spin`` are the paper's.
"""

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field

from spin_engine.hyperparameters import Config, Hyperparameters
from spin_engine.objectives.dpo import DpoHyperparameters, DpoMethod
from spin_engine.objectives.dro import DroHyperparameters, DroMethod
from spin_engine.objectives.dspo import DspoHyperparameters, DspoMethod
from spin_engine.objectives.kto import KtoHyperparameters, KtoMethod
from spin_engine.objectives.mapo import MapoHyperparameters, MapoMethod
from spin_engine.objectives.seppo import SeppoHyperparameters, SeppoMethod
from spin_engine.objectives.sft import SftHyperparameters, SftMethod
from spin_engine.objectives.spin import SpinHyperparameters, SpinMethod

Method = Annotated[
    SpinMethod | SftMethod | DpoMethod | MapoMethod | DspoMethod | KtoMethod | SeppoMethod | DroMethod,
    Field(discriminator="type"),
]
HYPERPARAMETERS: dict[str, type[Hyperparameters]] = {
    "spin": SpinHyperparameters,
    "sft": SftHyperparameters,
    "dpo": DpoHyperparameters,
    "mapo": MapoHyperparameters,
    "dspo": DspoHyperparameters,
    "kto": KtoHyperparameters,
    "seppo": SeppoHyperparameters,
    "dro": DroHyperparameters,
}
METHODS = tuple(HYPERPARAMETERS)


class JobConfig(Config):
    """One fine-tuning job: the file that ``python -m spin_engine`` runs."""

    model: str = Field(
        min_length=1, description="Folder, hub id (ORG/NAME@REVISION) or URI of a diffusers pipeline."
    )
    training_data: str = Field(min_length=1, description="Folder, zip or URI of pictures with captions.")
    validation_data: str | None = Field(None, description="The same, held out: measured, never trained on.")
    encoded_data: str | None = Field(
        None,
        pattern="://",
        description="URI of the encoded data, for more than the disk holds; null: the job's own folder.",
    )
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
