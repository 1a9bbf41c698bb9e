"""From a name to a family."""

import json
from collections.abc import Callable
from pathlib import Path

import torch

from spin_engine.families import flux, sd3, sdxl, stable_diffusion
from spin_engine.families.family import Family
from spin_engine.pipelines import folder_of

FAMILIES: dict[str, Callable[[Path, Path | None, torch.device], Family]] = {
    stable_diffusion.PIPELINE: stable_diffusion.StableDiffusion,
    sdxl.PIPELINE: sdxl.StableDiffusionXL,
    sd3.PIPELINE: sd3.StableDiffusion3,
    flux.PIPELINE: flux.Flux,
}


def load(base: Path | str, weights: Path | None = None, device: torch.device | str = "cpu") -> Family:
    """Return the family of the pipeline in ``base``, with the trained ``weights`` on top.

    Args:
        base: a folder as diffusers saves a pipeline, with safetensors only; or, as a string, a hub id or an
            object store's address too (see ``pipelines.folder_of``).
        weights: a ``weights/`` folder of a training unit or checkpoint; None for the base itself.
        device: where the model runs.

    Raises:
        ValueError: there is no pipeline, or one of a kind that cannot be trained.
    """
    folder = folder_of(base) if isinstance(base, str) else base
    index = folder / "model_index.json"
    if not index.is_file():
        raise ValueError(f"{folder} is not a diffusers pipeline: it has no model_index.json")
    kind = json.loads(index.read_text()).get("_class_name")
    if kind not in FAMILIES:
        raise ValueError(f"{folder} holds a {kind}; supported: {', '.join(FAMILIES)}")
    return FAMILIES[kind](folder, weights, torch.device(device))
