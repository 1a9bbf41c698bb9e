"""Weights for tests: adapters that change something, and whole denoisers."""

from pathlib import Path

import torch

from spin_engine import weights as weights_folder
from spin_engine.families.loader import load


def adapter(base: Path, folder: Path, *, seed: int, rank: int = 2) -> Path:
    """Write an adapter whose layers are drawn anew, both halves of them, and return its folder."""
    family = load(base)
    weights_folder.add_adapter(family.layout, family.denoiser, rank=rank, seed=seed)
    source = torch.Generator().manual_seed(seed)
    for name, value in family.denoiser.named_parameters():
        if ".lora_" in name:
            value.data = 0.3 * torch.randn(value.shape, generator=source)
    weights_folder.save(family.layout, family.denoiser, folder, kind="lora", about={})
    return folder


def whole(base: Path, folder: Path, *, seed: int) -> Path:
    """Write a denoiser that differs from the base's, and return its folder."""
    family = load(base)
    source = torch.Generator().manual_seed(seed)
    for value in family.denoiser.parameters():
        value.data = value.data + 0.05 * torch.randn(value.shape, generator=source)
    weights_folder.save(family.layout, family.denoiser, folder, kind="full", about={})
    return folder
