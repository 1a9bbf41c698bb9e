"""Where a kind of pipeline keeps its denoiser, and which of diffusers' classes load and save it."""

from dataclasses import dataclass
from typing import Any, Literal

Subfolder = Literal["unet", "transformer"]


UNET_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
JOINT_ATTENTION = (*UNET_ATTENTION, "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")


@dataclass(frozen=True)
class Layout:
    """What weights folders and publishing need to know of a family."""

    pipeline: Any
    """diffusers' pipeline class: its ``save_lora_weights`` writes the adapter."""
    denoiser: Any
    """diffusers' model class of the denoiser."""
    subfolder: Subfolder
    """The denoiser's folder in a pipeline, and the prefix of its layers in a file of LoRA weights."""
    lora_targets: tuple[str, ...]
    """Ends of the names of the layers that an adapter stands beside."""
