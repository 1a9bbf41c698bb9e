"""FLUX.1: a flow transformer on T5's text states and CLIP's pooled one, over latents packed 2 x 2.

"dev" is distilled from guided pictures and takes the guidance as an input, 1 in training; "schnell" knows
none. Neither is guided classifier-free. Latents are packed inside ``predict`` only: everywhere else they are
as the autoencoder makes them, (B, C, h, w).
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from PIL import Image
from torch import Tensor
from transformers import (  # type: ignore[attr-defined]  # T5TokenizerFast: a second name, untyped
    CLIPTextModel,
    CLIPTokenizer,
    T5EncoderModel,
    T5TokenizerFast,
)

from spin_engine import weights as weights_folder
from spin_engine.families import schedulers
from spin_engine.families.autoencoder import Autoencoder
from spin_engine.families.family import Condition, Guidance
from spin_engine.families.layout import JOINT_ATTENTION, Layout
from spin_engine.families.text import TextEncoder
from spin_engine.processes.flow import TIMESTEPS, Flow

PIPELINE = "FluxPipeline"
LAYOUT = Layout(FluxPipeline, FluxTransformer2DModel, "transformer", JOINT_ATTENTION)
PATCH = 2
NATIVE_LATENTS = 128
T5_TOKENS_DEV, T5_TOKENS_SCHNELL = 512, 256


class Flux:
    """A family (see ``families.family.Family``) over a diffusers folder."""

    layout = LAYOUT

    def __init__(self, base: Path, weights: Path | None, device: torch.device) -> None:
        """Prepare to load ``base`` with ``weights`` (a weights folder, or None for the base itself)."""
        self.device = device
        self._base = base
        self._weights = weights
        self._denoiser: Any = None
        self._vae = Autoencoder(base, device)
        self._clip = TextEncoder(base, device, model=CLIPTextModel, tokenizer=CLIPTokenizer, suffix="")
        self._t5 = TextEncoder(base, device, model=T5EncoderModel, tokenizer=T5TokenizerFast, suffix="_2")

    @property
    def denoiser(self) -> Any:
        """The transformer, in float32; a LoRA adapter in ``weights`` stays beside the base's weights."""
        if self._denoiser is None:
            self._denoiser = weights_folder.load(LAYOUT, self._base, self._weights, self.device)
        return self._denoiser

    @denoiser.setter
    def denoiser(self, replacement: Any) -> None:
        self._denoiser = replacement

    @cached_property
    def _config(self) -> Any:
        return FluxTransformer2DModel.load_config(self._base, subfolder="transformer")

    @cached_property
    def _scheduler(self) -> dict[str, Any]:
        return schedulers.settings_of(self._base)

    @property
    def guidance(self) -> Guidance:
        """Embedded in "dev", none in "schnell"."""
        return "embedded" if self._config.get("guidance_embeds", False) else "none"

    @cached_property
    def process(self) -> Flow:
        """The flow, its times shifted as the pipeline's scheduler says."""
        return schedulers.flow_process(self._scheduler, _tokens)

    @property
    def resolution(self) -> int:
        """The native side of a picture in pixels."""
        return NATIVE_LATENTS * self._vae.factor

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return (C, H, W) of a picture's latents, not packed."""
        channels = int(self._config["in_channels"]) // PATCH**2
        return (channels, *self._vae.grid(height, width, multiple=PATCH))

    def solver(self, steps: int, shape: tuple[int, int, int]) -> Any:
        """Return Euler's method."""
        return schedulers.flow_solver(self._scheduler, steps, _tokens(shape), self.device, even=True)

    @torch.inference_mode()
    def encode_text(self, captions: Sequence[str]) -> Condition:
        """Return {"text": (B, L, D), "pooled": (B, P)}, as FluxPipeline makes them.

        L is at most 512 for "dev" and 256 for "schnell", the length it was trained with.
        """
        longest = T5_TOKENS_DEV if self.guidance == "embedded" else T5_TOKENS_SCHNELL
        return {
            "text": self._t5(captions, longest=longest)[0],
            "pooled": self._clip(captions).pooler_output,
        }

    def encode_images(self, pixels: Tensor) -> Tensor:
        """Return latents, float32 (B, C, h, w)."""
        return self._vae.encode(pixels)

    def decode(self, latents: Tensor) -> list[Image.Image]:
        """Return pictures."""
        return self._vae.decode(latents)

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Return the transformer's velocity, (B, C, h, w)."""
        guidance = condition.get("guidance", x_t.new_ones(len(x_t)))
        answer = self.denoiser(
            hidden_states=pack(x_t),
            timestep=t / TIMESTEPS,
            guidance=guidance if self.guidance == "embedded" else None,
            pooled_projections=condition["pooled"],
            encoder_hidden_states=condition["text"],
            txt_ids=x_t.new_zeros(condition["text"].shape[1], 3),
            img_ids=_places(x_t),
            return_dict=False,
        )[0]
        return unpack(answer, *x_t.shape[2:])


def pack(latents: Tensor) -> Tensor:
    """Return tokens (B, h/2 * w/2, 4C) of latents (B, C, h, w): each is a square of 2 x 2."""
    b, c, h, w = latents.shape
    squares = latents.view(b, c, h // PATCH, PATCH, w // PATCH, PATCH).permute(0, 2, 4, 1, 3, 5)
    return squares.reshape(b, (h // PATCH) * (w // PATCH), c * PATCH**2)


def unpack(tokens: Tensor, h: int, w: int) -> Tensor:
    """Return latents (B, C, h, w) of tokens (B, h/2 * w/2, 4C): the inverse of ``pack``."""
    b, _, c = tokens.shape
    squares = tokens.view(b, h // PATCH, w // PATCH, c // PATCH**2, PATCH, PATCH).permute(0, 3, 1, 4, 2, 5)
    return squares.reshape(b, c // PATCH**2, h, w)


def _tokens(shape: tuple[int, ...]) -> int:
    return (shape[1] // PATCH) * (shape[2] // PATCH)


def _places(latents: Tensor) -> Tensor:
    """Return (0, row, column) of each token, (h/2 * w/2, 3), for the rotary embedding."""
    rows, columns = (torch.arange(side // PATCH, dtype=latents.dtype) for side in latents.shape[2:])
    grid = torch.cartesian_prod(rows, columns)
    return torch.cat([torch.zeros(len(grid), 1), grid], dim=1).to(latents.device, latents.dtype)
