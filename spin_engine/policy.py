"""theta: the model that an iteration trains, and the frozen copy of it that ``online`` references use."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from spin_engine import weights as weights_folder
from spin_engine.families.family import Family
from spin_engine.families.loader import load


def trainable(
    base: Path,
    weights: Path | None,
    device: torch.device,
    *,
    adapter: Literal["lora", "full"],
    rank: int | None,
    seed: int,
) -> Family:
    """Return a family whose trainable parameters require gradients.

    Args:
        base: a diffusers folder.
        weights: where the last iteration, or a checkpoint of this one, got to; None for the base.
        device: where to train.
        adapter: ``lora`` trains an adapter, the one in ``weights`` if there is one; ``full`` all weights of
            the denoiser.
        rank: of the adapter.
        seed: of a fresh adapter's weights.

    Raises:
        ValueError: ``weights`` cannot be trained on in this way.
    """
    family = load(base, weights, device)
    denoiser = family.denoiser
    if adapter == "full":
        weights_folder.merge_adapter(denoiser)
        denoiser.requires_grad_(requires_grad=True)
        return family
    assert rank is not None, "an adapter has a rank"
    if weights is not None and weights_folder.kind_of(weights) == "full":
        raise ValueError(
            "these weights are a whole model, so an adapter would not be relative to the base: "
            'use adapter="full"'
        )
    if weights is None:
        weights_folder.add_adapter(family.layout, denoiser, rank=rank, seed=seed)
    elif (found := weights_folder.adapter_rank(denoiser)) != rank:
        raise ValueError(f"the adapter to go on from has rank {found}, not {rank}")
    for name, value in denoiser.named_parameters():
        value.requires_grad_("lora_" in name)
    return family


def trained(denoiser: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that training changes, by name."""
    return {name: value for name, value in denoiser.named_parameters() if value.requires_grad}


def snapshot(denoiser: nn.Module) -> dict[str, Tensor]:
    """Return copies of the trainable parameters, by name."""
    return {name: value.detach().clone() for name, value in trained(denoiser).items()}


@contextmanager
def swapped(parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> Iterator[None]:
    """Let the parameters be ``values`` for a while: another model on the same module and kernels.

    The others are not copied, so a frozen reference of an adapter costs the adapter alone. Only without
    gradients.
    """
    assert not torch.is_grad_enabled(), "gradients would be of the wrong weights"
    own = {name: parameter.data for name, parameter in parameters.items()}
    try:
        for name, parameter in parameters.items():
            parameter.data = values[name]
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data = own[name]
