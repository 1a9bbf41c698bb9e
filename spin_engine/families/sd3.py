"""Stable Diffusion 3.x (arXiv 2403.03206): a flow transformer on the text states of two CLIPs and a T5."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers import (  # type: ignore[attr-defined]  # T5TokenizerFast: a second name, untyped
    CLIPTextModelWithProjection,
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
from spin_engine.processes.flow import Flow

PIPELINE = "StableDiffusion3Pipeline"
LAYOUT = Layout(StableDiffusion3Pipeline, SD3Transformer2DModel, "transformer", JOINT_ATTENTION)
T5_TOKENS = 256


class StableDiffusion3:
    """A family (see ``families.family.Family``) over a diffusers folder; its T5 may be missing."""

    layout = LAYOUT
    guidance: Guidance = "classifier_free"

    def __init__(self, base: Path, weights: Path | None, device: torch.device) -> None:
        """Prepare to load ``base`` with ``weights`` (a weights folder, or None for the base itself)."""
        self.device = device
        self._base = base
        self._weights = weights
        self._denoiser: Any = None
        self._vae = Autoencoder(base, device)
        self._clips = tuple(
            TextEncoder(
                base, device, model=CLIPTextModelWithProjection, tokenizer=CLIPTokenizer, suffix=suffix
            )
            for suffix in ("", "_2")
        )
        index = json.loads((base / "model_index.json").read_text())
        self._t5 = None
        if index.get("text_encoder_3", [None])[0] is not None:
            self._t5 = TextEncoder(base, device, model=T5EncoderModel, tokenizer=T5TokenizerFast, suffix="_3")

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
        return SD3Transformer2DModel.load_config(self._base, subfolder="transformer")

    @cached_property
    def _scheduler(self) -> dict[str, Any]:
        return schedulers.settings_of(self._base)

    @cached_property
    def process(self) -> Flow:
        """The flow, its times shifted as the pipeline's scheduler says."""
        return schedulers.flow_process(self._scheduler, self._tokens)

    def _tokens(self, shape: tuple[int, ...]) -> int:
        patch = int(self._config["patch_size"])
        return (shape[1] // patch) * (shape[2] // patch)

    @property
    def resolution(self) -> int:
        """The native side of a picture in pixels."""
        return int(self._config["sample_size"]) * self._vae.factor

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return (C, H, W) of a picture's latents."""
        grid = self._vae.grid(height, width, multiple=int(self._config["patch_size"]))
        return (int(self._config["in_channels"]), *grid)

    def solver(self, steps: int, shape: tuple[int, int, int]) -> Any:
        """Return Euler's method."""
        return schedulers.flow_solver(self._scheduler, steps, self._tokens(shape), self.device)

    @torch.inference_mode()
    def encode_text(self, captions: Sequence[str]) -> Condition:
        """Return {"clip": (B, L, D1 + D2), "pooled": (B, P1 + P2), "t5": (B, M, D)}, without "t5" if absent.

        The pieces of what StableDiffusion3Pipeline makes, not yet padded and joined: ``text`` does that.
        """
        length = self._clips[0].tokenizer.model_max_length
        outputs = [clip(captions, longest=length, output_hidden_states=True) for clip in self._clips]
        found = {
            "clip": torch.cat([output.hidden_states[-2] for output in outputs], dim=-1),
            "pooled": torch.cat([output.text_embeds for output in outputs], dim=-1),
        }
        if self._t5 is not None:
            found["t5"] = self._t5(captions, longest=T5_TOKENS)[0]
        return found

    def text(self, condition: Condition) -> Tensor:
        """Return what the transformer reads, (B, L + M, D): CLIP's states, padded, then T5's, or zeros."""
        clip = condition["clip"]
        width = int(self._config["joint_attention_dim"])
        t5 = condition.get("t5")
        if t5 is None:
            t5 = clip.new_zeros(len(clip), T5_TOKENS, width)
        return torch.cat([functional.pad(clip, (0, width - clip.shape[-1])), t5], dim=1)

    def encode_images(self, pixels: Tensor) -> Tensor:
        """Return latents, float32 (B, C, h, w)."""
        return self._vae.encode(pixels)

    def decode(self, latents: Tensor) -> list[Image.Image]:
        """Return pictures."""
        return self._vae.decode(latents)

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Return the transformer's velocity, (B, C, h, w)."""
        return self.denoiser(
            hidden_states=x_t,
            timestep=t,
            encoder_hidden_states=self.text(condition),
            pooled_projections=condition["pooled"],
            return_dict=False,
        )[0]
