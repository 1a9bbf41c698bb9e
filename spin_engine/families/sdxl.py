"""Stable Diffusion XL (arXiv 2307.01952): a U-Net on the text states of two CLIPs, told the picture's size.

The U-Net's time ids (original height and width, crop's top and left, target height and width) follow from the
latents: every picture is trained, as the pipeline draws it, as one of exactly its size and not cropped.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from PIL import Image
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from spin_engine import weights as weights_folder
from spin_engine.families import schedulers
from spin_engine.families.autoencoder import Autoencoder
from spin_engine.families.family import Condition, Guidance
from spin_engine.families.layout import UNET_ATTENTION, Layout
from spin_engine.families.text import TextEncoder
from spin_engine.processes.discrete import Discrete

PIPELINE = "StableDiffusionXLPipeline"
LAYOUT = Layout(StableDiffusionXLPipeline, UNet2DConditionModel, "unet", UNET_ATTENTION)


class StableDiffusionXL:
    """A family (see ``families.family.Family``) over a diffusers folder."""

    layout = LAYOUT
    guidance: Guidance = "classifier_free"

    def __init__(self, base: Path, weights: Path | None, device: torch.device) -> None:
        """Prepare to load ``base`` with ``weights`` (a weights folder, or None for the base itself)."""
        self.device = device
        self._base = base
        self._weights = weights
        self._denoiser: Any = None
        self._index = json.loads((base / "model_index.json").read_text())
        self._vae = Autoencoder(base, device)
        self._first = TextEncoder(base, device, model=CLIPTextModel, tokenizer=CLIPTokenizer, suffix="")
        self._second = TextEncoder(
            base, device, model=CLIPTextModelWithProjection, tokenizer=CLIPTokenizer, suffix="_2"
        )

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
        """Return {"text": (B, L, D1 + D2), "pooled": (B, P)}, as StableDiffusionXLPipeline makes them.

        The last hidden states but one of both encoders side by side, and the second's projection. The empty
        caption is zeros where the pipeline says ``force_zeros_for_empty_prompt``: what the pipeline is guided
        away from when it is given no negative prompt.
        """
        outputs = [encoder(captions, output_hidden_states=True) for encoder in self._encoders]
        text = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
        pooled = outputs[-1].text_embeds
        if self._index.get("force_zeros_for_empty_prompt", True):
            said = torch.tensor([bool(caption) for caption in captions], device=self.device)
            text, pooled = text * said[:, None, None], pooled * said[:, None]
        return {"text": text, "pooled": pooled}

    @property
    def _encoders(self) -> tuple[TextEncoder, ...]:
        """Both encoders, or the second alone where the pipeline has no first."""
        absent = self._index.get("text_encoder", [None])[0] is None
        return (self._second,) if absent else (self._first, self._second)

    def encode_images(self, pixels: Tensor) -> Tensor:
        """Return latents, float32 (B, C, h, w)."""
        return self._vae.encode(pixels)

    def decode(self, latents: Tensor) -> list[Image.Image]:
        """Return pictures."""
        return self._vae.decode(latents)

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Return the U-Net's answer, (B, C, h, w)."""
        height, width = (side * self._vae.factor for side in x_t.shape[2:])
        size = torch.tensor([[height, width, 0, 0, height, width]], dtype=x_t.dtype, device=x_t.device)
        return self.denoiser(
            x_t,
            t,
            encoder_hidden_states=condition["text"],
            added_cond_kwargs={"text_embeds": condition["pooled"], "time_ids": size.expand(len(x_t), -1)},
            return_dict=False,
        )[0]
