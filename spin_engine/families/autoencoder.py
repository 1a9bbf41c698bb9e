"""Pictures to latents and back, with diffusers' AutoencoderKL: alike for every family but for its numbers."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor


class Autoencoder:
    """The ``vae`` of a pipeline, frozen, loaded when it is first used.

    Always in float32, whatever it is stored in and whatever the denoiser runs in: SDXL's overflows float16
    (its config says ``force_upcast``), and pictures go through it once.
    """

    def __init__(self, base: Path, device: torch.device) -> None:
        """Prepare to load the autoencoder of the pipeline in ``base``."""
        self._base = base
        self._device = device

    @cached_property
    def _config(self) -> Any:
        return AutoencoderKL.load_config(self._base, subfolder="vae")

    @cached_property
    def _model(self) -> Any:
        vae = AutoencoderKL.from_pretrained(
            self._base, subfolder="vae", use_safetensors=True, torch_dtype=torch.float32
        )
        return vae.requires_grad_(requires_grad=False).eval().to(self._device)

    @property
    def factor(self) -> int:
        """Pixels of a picture to one of its latents, each way."""
        return int(2 ** (len(self._config["block_out_channels"]) - 1))

    def grid(self, height: int, width: int, *, multiple: int) -> tuple[int, int]:
        """Return (h, w) of a picture's latents.

        Args:
            height: of the picture in pixels.
            width: likewise.
            multiple: of how many latents each side must be.

        Raises:
            ValueError: the picture does not fit the grid.
        """
        step = self.factor * multiple
        if height % step or width % step or min(height, width) <= 0:
            raise ValueError(f"{width}x{height} is not a multiple of {step} pixels each way")
        return height // self.factor, width // self.factor

    @torch.inference_mode()
    def encode(self, pixels: Tensor) -> Tensor:
        """Return (mode of the posterior - shift) x scale, float32 (B, C, h, w), of pixels (B, 3, H, W)."""
        config = self._model.config
        posterior = self._model.encode(pixels.to(self._device)).latent_dist
        return (posterior.mode() - (config.shift_factor or 0.0)) * config.scaling_factor

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> list[Image.Image]:
        """Return the pictures of latents / scale + shift, rounded as diffusers rounds them."""
        config = self._model.config
        unscaled = latents / config.scaling_factor + (config.shift_factor or 0.0)
        pixels = self._model.decode(unscaled, return_dict=False)[0]
        scaled = (pixels * 0.5 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).float().cpu().numpy()
        return [Image.fromarray(picture) for picture in (scaled * 255).round().astype(np.uint8)]
