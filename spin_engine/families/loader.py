"""From a folder to a family."""

import json
from pathlib import Path

import torch

from spin_engine.families.family import Family
from spin_engine.families.stable_diffusion import PIPELINES, StableDiffusion


def load(base: Path, weights: Path | None = None, device: torch.device | str = "cpu") -> Family:
    """Return the family of the pipeline in ``base``, with the trained ``weights`` on top.

    Args:
        base: a folder as diffusers saves a pipeline, with safetensors only.
        weights: a ``weights/`` folder of a training unit or checkpoint; None for the base itself.
        device: where the model runs.

    Raises:
        ValueError: the folder is no pipeline, or of a kind that cannot be trained.
    """
    index = base / "model_index.json"
    if not index.is_file():
        raise ValueError(f"{base} is not a diffusers pipeline: it has no model_index.json")
    kind = json.loads(index.read_text()).get("_class_name")
    if kind not in PIPELINES:
        raise ValueError(f"{base} holds a {kind}; supported: {', '.join(PIPELINES)}")
    return StableDiffusion(base, weights, torch.device(device))
