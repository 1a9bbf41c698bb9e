"""What the engine asks of one kind of pipeline. Everything that differs between kinds stays behind this."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import torch
from PIL import Image
from torch import Tensor

from spin_engine.families.layout import Layout
from spin_engine.processes.process import Process

Condition = dict[str, Tensor]
"""A batch of encoded captions: named tensors, each with the batch as its first axis. Families name them, but
for ``guidance``, float32 (B,), which the sampler adds where guidance is "embedded"."""

Guidance = Literal["classifier_free", "embedded", "none"]
"""How guidance is had: by a second pass with the negative prompt; as an input of the denoiser, which then
knows no negative prompt; or not at all."""


class Family(Protocol):
    """A loaded pipeline: its parts are loaded when they are first used, in float32."""

    device: torch.device
    denoiser: Any
    """The network that training changes: a torch module, or its wrapped self in several processes."""

    @property
    def layout(self) -> Layout:
        """Where the denoiser is kept, and its classes."""

    @property
    def process(self) -> Process:
        """The forward process and the prediction the denoiser was trained with."""

    @property
    def guidance(self) -> Guidance:
        """How guidance is had."""

    @property
    def resolution(self) -> int:
        """The native side of a picture in pixels."""

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return (C, H, W) of the latents of a picture; ValueError if it does not fit the grid."""

    def solver(self, steps: int, shape: tuple[int, int, int]) -> Any:
        """Return a diffusers scheduler with ``timesteps`` set and a deterministic ``step``.

        Args:
            steps: forward passes.
            shape: (C, H, W) of the latents.
        """

    def encode_text(self, captions: Sequence[str]) -> Condition:
        """Return the encoded captions; the negative prompt and the empty caption go the same way."""

    def encode_images(self, pixels: Tensor) -> Tensor:
        """Return latents (B, C, h, w) of pixels (B, 3, H, W) in -1..1; the same for the same pixels."""

    def decode(self, latents: Tensor) -> list[Image.Image]:
        """Return the pictures of latents (B, C, h, w)."""

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Return the denoiser's answer (B, C, h, w) for x_t (B, C, h, w) at t (B,)."""
