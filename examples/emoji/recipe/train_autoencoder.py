"""Train the starter's AutoencoderKL: 64 x 64 pictures to 16 x 8 x 8 latents and back.

Reads ``BUILD/pictures.npz``, never looks at the held-out pictures except to measure, and writes a
diffusers ``vae`` folder whose ``scaling_factor`` gives latents of unit variance.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch.nn import functional

CHANNELS = (16, 32, 64, 96)
LATENT_CHANNELS = 16
KL_WEIGHT = 1e-6
EDGE_WEIGHT = 0.5


def build() -> AutoencoderKL:
    """Return the autoencoder, untrained: three halvings, one residual layer a block, no attention."""
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * len(CHANNELS),
        up_block_types=["UpDecoderBlock2D"] * len(CHANNELS),
        block_out_channels=CHANNELS,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=64,
    )


def augment(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror half of the pictures and shift all by up to four pixels over the white page."""
    flip = torch.rand(len(pixels), generator=generator) < 0.5
    pixels = torch.where(flip[:, None, None, None], pixels.flip(-1), pixels)
    down, right = torch.randint(-4, 5, (2,), generator=generator).tolist()
    padded = functional.pad(pixels, (4, 4, 4, 4), value=1.0)
    return padded[:, :, 4 + down : 68 + down, 4 + right : 68 + right]


def loss_of(vae: AutoencoderKL, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return absolute + squared error of pixels, absolute error of their edges, and a small KL term."""
    posterior = vae.encode(pixels).latent_dist
    drawn = vae.decode(posterior.sample(generator=generator)).sample
    error = drawn - pixels
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return (
        error.abs().mean() + error.square().mean() + EDGE_WEIGHT * edges + KL_WEIGHT * posterior.kl().mean()
    )


@torch.no_grad()
def psnr(vae: AutoencoderKL, pixels: torch.Tensor) -> float:
    """Return the mean peak signal-to-noise ratio in dB of reconstructed pictures in [-1, 1]."""
    drawn = vae(pixels).sample.clamp(-1, 1)
    return float((10 * torch.log10(4 / (drawn - pixels).square().mean(dim=(1, 2, 3)))).mean())


@torch.no_grad()
def latent_std(vae: AutoencoderKL, pixels: torch.Tensor) -> float:
    """Return the standard deviation over all latent values of the given pictures."""
    return float(torch.cat([vae.encode(part).latent_dist.mean for part in pixels.split(64)]).std())


def main() -> None:
    """Train, measure, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=Path)
    parser.add_argument("--steps", type=int, default=6500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    args = parser.parse_args()
    torch.manual_seed(0)
    data = np.load(args.build / "pictures.npz")
    pixels = torch.from_numpy(data["pixels"]).permute(0, 3, 1, 2).float() / 127.5 - 1
    held_out = torch.from_numpy((data["split"] != "train") & (data["vendor"] == "fluent-emoji-flat"))
    train, test = pixels[~held_out], pixels[held_out]
    vae = build()
    optimizer = torch.optim.AdamW(vae.parameters(), lr=args.lr, weight_decay=1e-4, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1, step / 100) * (0.01 + 0.99 * (1 + math.cos(math.pi * step / args.steps)) / 2),
    )
    generator = torch.Generator().manual_seed(0)
    started = time.monotonic()
    for step in range(1, args.steps + 1):
        rows = torch.randint(len(train), (args.batch,), generator=generator)
        loss = loss_of(vae, augment(train[rows], generator), generator)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 250 == 0:
            row = {"step": step, "loss": round(float(loss), 4), "psnr": round(psnr(vae, test), 2)}
            print(json.dumps(row | {"seconds": round(time.monotonic() - started)}), flush=True)
            vae.save_pretrained(args.build / "vae")
    vae.register_to_config(scaling_factor=round(1 / latent_std(vae, train), 5))
    vae.save_pretrained(args.build / "vae")
    print(
        json.dumps({"held_out_psnr": round(psnr(vae, test), 2), "scaling_factor": vae.config.scaling_factor})
    )


if __name__ == "__main__":
    main()
