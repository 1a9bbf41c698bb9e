"""Stable Diffusion 1.x and 2.x: a U-Net on an autoencoder's latents, conditioned on CLIP's text states."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from spin_engine import weights as weights_folder
from spin_engine.families import schedulers
from spin_engine.families.autoencoder import Autoencoder
from spin_engine.families.family import Condition, Guidance
from spin_engine.families.layout import UNET_ATTENTION, Layout
from spin_engine.families.text import TextEncoder
from spin_engine.processes.discrete import Discrete

PIPELINE = "StableDiffusionPipeline"
LAYOUT = Layout(StableDiffusionPipeline, UNet2DConditionModel, "unet", UNET_ATTENTION)


class StableDiffusion:
    """A family (see ``families.family.Family``) over a diffusers folder."""

    layout = LAYOUT
    guidance: Guidance = "classifier_free"

    def __init__(self, base: Path, weights: Path | None, device: torch.device) -> None:
        """Prepare to load ``base`` with ``weights`` (a weights folder, or None for the base itself)."""
        self.device = device
        self._base = base
        self._weights = weights
        self._denoiser: Any = None
        self._vae = Autoencoder(base, device)
        self._clip = TextEncoder(base, device, model=CLIPTextModel, tokenizer=CLIPTokenizer, suffix="")

    @property
    def denoiser(self) -> Any:
        """The U-Net, in float32; a LoRA adapter in ``weights`` stays beside the base's weights."""
        if self._denoiser is None:
            self._denoiser = weights_folder.load(LAYOUT, self._base, self._weights, self.device)
        return self._denoiser

    @denoiser.setter
    def denoiser(self, replacement: Any) -> None:
        self._denoiser = replacement

    @cached_property
    def _config(self) -> Any:
        return UNet2DConditionModel.load_config(self._base, subfolder="unet")

    @cached_property
    def _scheduler(self) -> dict[str, Any]:
        return schedulers.settings_of(self._base)

    @cached_property
    def process(self) -> Discrete:
        """The discrete process of the pipeline's scheduler."""
        return schedulers.discrete_process(self._scheduler, self.device)

    @property
    def resolution(self) -> int:
        """The native side of a picture in pixels."""
        return int(self._config["sample_size"]) * self._vae.factor

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return (C, H, W) of a picture's latents."""
        return (int(self._config["in_channels"]), *self._vae.grid(height, width, multiple=1))

    def solver(self, steps: int, shape: tuple[int, int, int]) -> Any:  # noqa: ARG002 (alike at every size)
        """Return DPM-Solver++."""
        return schedulers.discrete_solver(self._scheduler, steps, self.device)

    @torch.inference_mode()
    def encode_text(self, captions: Sequence[str]) -> Condition:
        """Return {"text": (B, L, D)}: the last hidden states, as StableDiffusionPipeline makes them."""
        masked = bool(getattr(self._clip.model.config, "use_attention_mask", False))
        return {"text": self._clip(captions, masked=masked)[0]}

    def encode_images(self, pixels: Tensor) -> Tensor:
        """Return latents, float32 (B, C, h, w)."""
        return self._vae.encode(pixels)

    def decode(self, latents: Tensor) -> list[Image.Image]:
        """Return pictures."""
        return self._vae.decode(latents)

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Return the U-Net's answer, (B, C, h, w)."""
        return self.denoiser(x_t, t, encoder_hidden_states=condition["text"], return_dict=False)[0]
