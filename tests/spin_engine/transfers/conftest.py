"""Tiny pipelines of each family, with and without a LoRA that changes every picture."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image

from spin_engine import weights
from spin_engine.families.loader import load
from tests.spin_engine.families.conftest import base as base  # noqa: PLC0414  the fixture, for here too
from tests.tiny_families import SIDE

RANK = 3
FAMILIES = ("sd-epsilon", "sdxl", "sd3", "flux-dev")


@dataclass(frozen=True)
class Tuned:
    """A base model and weights folders on top of it."""

    base: Path
    lora: Path
    full: Path


@pytest.fixture(scope="session")
def tuned(base: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Tuned]:
    """Return a function from a family's name to its tiny pipeline with a LoRA, and with whole weights."""
    known: dict[str, Tuned] = {}

    def make(name: str) -> Tuned:
        if name not in known:
            root = tmp_path_factory.mktemp(name)
            known[name] = Tuned(base(name), root / "lora", root / "full")
            _train(known[name])
        return known[name]

    return make


def _train(made: Tuned) -> None:
    family = load(made.base)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        weights.save(family.layout, family.denoiser, made.full, kind="full", about={})
        weights.add_adapter(family.layout, family.denoiser, rank=RANK, seed=3)
        for name, value in family.denoiser.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(value, std=0.3)
    weights.save(family.layout, family.denoiser, made.lora, kind="lora", about={})


def plain(folder: Path) -> Any:
    """Return a pipeline as plain diffusers loads it."""
    pipeline: Any = DiffusionPipeline.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def picture(pipeline: Any) -> Any:
    """Return one small picture by a pipeline, as numbers from 0 to 255."""
    told: dict[str, Any] = {"num_inference_steps": 2, "height": SIDE, "width": SIDE, "guidance_scale": 2.0}
    generator = torch.Generator().manual_seed(7)
    drawn: Image.Image = pipeline("a red fox", generator=generator, **told).images[0]
    return np.asarray(drawn).astype(int)


def distance(one: Any, other: Any) -> int:
    """Return the largest difference of two pictures in any channel of any pixel."""
    return int(np.abs(one - other).max())
