"""Stable Diffusion 1.x and 2.x: a U-Net on an autoencoder's latents, conditioned on CLIP's text states."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from PIL import Image
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from spin_engine import weights as weights_folder
from spin_engine.families.family import Condition
from spin_engine.processes.discrete import Discrete

PIPELINES = ("StableDiffusionPipeline",)


class StableDiffusion:
    """A family (see ``families.family.Family``) over a diffusers folder."""

    def __init__(self, base: Path, weights: Path | None, device: torch.device) -> None:
        """Prepare to load ``base`` with ``weights`` (a weights folder, or None for the base itself)."""
        self.base = base
        self.weights = weights
        self.device = device
        self._denoiser: Any = None

    @property
    def denoiser(self) -> Any:
        """The U-Net, in float32; a LoRA adapter in ``weights`` stays beside the base's weights."""
        if self._denoiser is None:
            self._denoiser = self._load_denoiser()
        return self._denoiser

    @denoiser.setter
    def denoiser(self, replacement: Any) -> None:
        self._denoiser = replacement

    def _load_denoiser(self) -> Any:
        source = weights_folder.denoiser_source(self.base, self.weights)
        unet = UNet2DConditionModel.from_pretrained(source, subfolder="unet", use_safetensors=True)
        if self.weights is not None:
            weights_folder.attach_adapter(unet, self.weights)
        return unet.requires_grad_(requires_grad=False).to(self.device)

    @cached_property
    def autoencoder(self) -> Any:
        """The autoencoder, frozen."""
        vae = AutoencoderKL.from_pretrained(self.base, subfolder="vae", use_safetensors=True)
        return vae.requires_grad_(requires_grad=False).eval().to(self.device)

    @cached_property
    def text_encoder(self) -> CLIPTextModel:
        """The text encoder, frozen."""
        encoder = CLIPTextModel.from_pretrained(self.base, subfolder="text_encoder", use_safetensors=True)
        return encoder.requires_grad_(requires_grad=False).eval().to(self.device)

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer."""
        return CLIPTokenizer.from_pretrained(self.base, subfolder="tokenizer")

    @cached_property
    def solver_settings(self) -> Mapping[str, Any]:
        """The config of the pipeline's scheduler."""
        return dict(DDPMScheduler.load_config(self.base, subfolder="scheduler"))

    @cached_property
    def process(self) -> Discrete:
        """The noise schedule of the pipeline's scheduler."""
        scheduler = DDPMScheduler.from_config(self.solver_settings)
        prediction = scheduler.config.prediction_type
        if prediction not in ("epsilon", "v_prediction"):
            raise ValueError(
                f"the model predicts {prediction!r}; only epsilon and v_prediction can be trained"
            )
        return Discrete(scheduler.alphas_cumprod.float().to(self.device), prediction)

    @cached_property
    def resolution(self) -> int:
        """The native side of a picture in pixels."""
        return (
            int(UNet2DConditionModel.load_config(self.base, subfolder="unet")["sample_size"]) * self._factor
        )

    @cached_property
    def _factor(self) -> int:
        """Pixels of a picture to one of its latents."""
        channels = AutoencoderKL.load_config(self.base, subfolder="vae")["block_out_channels"]
        return int(2 ** (len(channels) - 1))

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return (C, H, W) of a picture's latents."""
        if height % self._factor or width % self._factor or min(height, width) <= 0:
            raise ValueError(f"{width}x{height} is not a multiple of {self._factor} pixels each way")
        channels = UNet2DConditionModel.load_config(self.base, subfolder="unet")["in_channels"]
        return int(channels), height // self._factor, width // self._factor

    @torch.inference_mode()
    def encode_text(self, captions: Sequence[str]) -> Condition:
        """Return {"text": (B, L, D)}: the last hidden states, as StableDiffusionPipeline makes them."""
        tokens = self.tokenizer(
            list(captions),
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        masked = getattr(self.text_encoder.config, "use_attention_mask", False)
        mask = tokens.attention_mask.to(self.device) if masked else None
        return {"text": self.text_encoder(tokens.input_ids.to(self.device), attention_mask=mask)[0]}

    @torch.inference_mode()
    def encode_images(self, pixels: Tensor) -> Tensor:
        """Return the mode of the posterior, scaled, float32 (B, C, h, w)."""
        posterior = self.autoencoder.encode(pixels.to(self.device)).latent_dist
        return posterior.mode() * self.autoencoder.config.scaling_factor

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> list[Image.Image]:
        """Return the pictures, rounded as diffusers rounds them."""
        pixels = self.autoencoder.decode(latents / self.autoencoder.config.scaling_factor, return_dict=False)[
            0
        ]
        scaled = (pixels * 0.5 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).float().cpu().numpy()
        return [Image.fromarray(picture) for picture in (scaled * 255).round().astype(np.uint8)]

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Return the U-Net's answer, (B, C, h, w)."""
        return self.denoiser(x_t, t, encoder_hidden_states=condition["text"], return_dict=False)[0]
