"""Diffusion-DPO's training step (arXiv 2311.12908, eq. 14), written plainly, as a baseline.

As the public scripts do it: a second, frozen U-Net stays in memory and answers at every step, both pictures
go through the autoencoder and the caption through the text encoder each time. Decoding files is left out, and
the optimiser is the same fused AdamW as ours, so that the difference is what is computed.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from spin_engine.families.family import Family

BETA = 2000.0


class DiffusionDpo:
    """The baseline on one model."""

    def __init__(self, family: Family) -> None:
        """Take a model whose denoiser is to be trained, and keep a frozen copy of that."""
        self._family = family
        self._reference = copy.deepcopy(family.denoiser).requires_grad_(requires_grad=False)
        self._optimizer = torch.optim.AdamW(family.denoiser.parameters(), lr=1e-6, fused=True)

    def step(self, winners: Tensor, losers: Tensor, captions: Sequence[str]) -> float:
        """Do one optimiser step and return its loss.

        Args:
            winners: pixels, (B, 3, H, W) in -1..1.
            losers: likewise.
            captions: B of them.
        """
        family, b = self._family, len(captions)
        with torch.no_grad():
            x_0 = family.encode_images(torch.cat([winners, losers]))
            text = family.encode_text(captions)["text"].repeat(2, 1, 1)
            noise = torch.randn_like(x_0[:b]).repeat(2, 1, 1, 1)
            t = torch.randint(0, family.process.timesteps, (b,), device=x_0.device).repeat(2)
            x_t, target = family.process.add_noise(x_0, noise, t), family.process.target(x_0, noise, t)
            answer = self._reference(x_t, t, encoder_hidden_states=text, return_dict=False)[0]
            reference = (answer - target).square().mean(dim=(1, 2, 3))
        answer = family.denoiser(x_t, t, encoder_hidden_states=text, return_dict=False)[0]
        model = (answer - target).square().mean(dim=(1, 2, 3))
        better = (model[:b] - reference[:b]) - (model[b:] - reference[b:])
        loss = -functional.logsigmoid(-0.5 * BETA * better).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(family.denoiser.parameters(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())
