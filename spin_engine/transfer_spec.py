"""A model that leaves the platform, or comes to it, as the engine's caller describes it. Torch-free."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from spin_engine.hyperparameters import Config

Format = Literal["diffusers", "lora", "comfyui", "a1111"]
Given = Literal["pipeline", "lora"]

FOUND = "found.json"
"""What an import turned out to be, beside what it left."""


class ExportSpec(Config):
    """``export``: a model becomes one file that other programs read."""

    kind: Literal["export"] = "export"
    format: Format
    base: Path = Field(description="Folder of the pipeline.")
    weights: Path | None = Field(None, description="Weights folder on top of it.")
    previews: Path | None = Field(None, description="Folder with the pictures that the card shows.")
    title: str = Field(description="What people call the model.")
    card: str = Field(description="The model card, in Markdown.")
    filename: str = Field(pattern=r"^[A-Za-z0-9._-]+$", description="Name of the file in ``out``.")
    out: Path


class ImportSpec(Config):
    """``import``: files that were checked from outside are loaded, and become a model."""

    kind: Literal["import"] = "import"
    given: Given = Field(description="What ``files`` holds: a pipeline folder, or one LoRA file.")
    files: Path
    base: Path | None = Field(None, description="Folder of the base model; a LoRA needs one.")
    alpha: float | None = Field(None, gt=0, description="Of a LoRA whose file does not tell it.")
    memory_bytes: int = Field(gt=0, description="Address space that loading may take beside what is there.")
    cpu_seconds: int = Field(gt=0)
    out: Path


TransferSpec = Annotated[ExportSpec | ImportSpec, Field(discriminator="kind")]
TRANSFER: TypeAdapter[ExportSpec | ImportSpec] = TypeAdapter(TransferSpec)
