"""Train the starter's judge: style, category and caption of a 64 x 64 picture.

Reads ``BUILD/pictures.npz`` and ``BUILD/vae``, writes ``BUILD/judge``. Pictures of the target style whose
captions are held out are never trained on, nor are forty of each other style: they measure the judge. The
pictures it will judge come out of the autoencoder and are imperfect, so it also learns from pictures that
went through the autoencoder, clean and with noise on their latents. A style must not be told by sharpness.
Run it at the top of the repository, with ``PYTHONPATH=.``.
"""

import argparse
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from pictures import CATEGORIES, PACKS, STYLE
from torch import Tensor
from torch.nn import functional

from spin_engine.metrics.judge import Judge, JudgeConfig

LATENT_NOISE = (0.0, 0.2, 0.4)
TEMPERATURE = 0.07
RETRIEVED = 10
HELD_OUT_EACH = 40


@torch.no_grad()
def through(vae: AutoencoderKL, pixels: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    """Return pictures encoded and decoded, with noise of that share of the latents' deviation."""
    decoded = []
    for part in pixels.split(32):
        latents = vae.encode(part).latent_dist.mean
        noisy = latents + noise * latents.std() * torch.randn(latents.shape, generator=generator)
        decoded.append(vae.decode(noisy).sample.clamp(-1, 1))
    return torch.cat(decoded)


def shifted(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Move each picture by up to five pixels over the white page and resize it by up to 12%."""
    count = len(pixels)
    scale = 1 + 0.12 * (2 * torch.rand(count, generator=generator) - 1)
    flip = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    move = (2 * torch.rand(count, 2, generator=generator) - 1) * 5 / 32
    affine = torch.zeros(count, 2, 3)
    affine[:, 0, 0], affine[:, 1, 1] = scale * flip, scale
    affine[:, :, 2] = move
    grid = functional.affine_grid(affine, list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels - 1, grid, mode="bilinear", align_corners=False) + 1


def covered(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Paint a white square of up to half the side over each picture, wherever it falls."""
    side = pixels.shape[-1]
    middle = torch.rand(len(pixels), 2, 1, generator=generator) * side
    reach = torch.rand(len(pixels), 1, 1, generator=generator) * side / 4
    near = (torch.arange(side) - middle).abs() < reach
    return pixels.masked_fill((near[:, 0, :, None] & near[:, 1, None, :])[:, None], 1.0)


def augment(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Move, cover a patch, soften some pictures; add a little noise and a slight change of brightness."""
    pixels = covered(shifted(pixels, generator), generator)
    soft = functional.avg_pool2d(functional.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, 1)
    share = torch.rand(len(pixels), 1, 1, 1, generator=generator) * 0.6
    share = share * (torch.rand(len(pixels), 1, 1, 1, generator=generator) < 0.5)
    mixed = torch.lerp(pixels, soft, share)
    loud = 0.08 * torch.rand(len(pixels), 1, 1, 1, generator=generator)
    bright = 1 + 0.03 * torch.randn(len(pixels), 1, 1, 1, generator=generator)
    return ((mixed - 1) * bright + 1 + loud * torch.randn(pixels.shape, generator=generator)).clamp(-1, 1)


def loss_of(judge: Judge, pixels: Tensor, labels: Tensor) -> Tensor:
    """Return the summed cross-entropies; ``labels`` is [N, 3]: style, category, caption."""
    opinion = judge(pixels)
    return (
        functional.cross_entropy(opinion.style, labels[:, 0], label_smoothing=0.05)
        + functional.cross_entropy(opinion.category, labels[:, 1], label_smoothing=0.05)
        + functional.cross_entropy(opinion.captions / TEMPERATURE, labels[:, 2], label_smoothing=0.1)
    )


def held_out_of(data: Mapping[str, np.ndarray], generator: torch.Generator) -> Tensor:
    """Return the rows to measure on, [N] bool: the target's held-out captions, some of each other style."""
    held_out = torch.from_numpy((data["split"] != "train") & (data["vendor"] == STYLE))
    for vendor in PACKS:
        rows = torch.from_numpy(np.flatnonzero((data["vendor"] == vendor) & (data["split"] == "train")))
        if vendor != STYLE:
            held_out[rows[torch.randperm(len(rows), generator=generator)[:HELD_OUT_EACH]]] = True
    return held_out


@torch.no_grad()
def measure(judge: Judge, pixels: Tensor, labels: Tensor) -> dict[str, float]:
    """Return accuracies on pictures the judge never saw, and the target style's recall and false alarms."""
    judge.eval()
    opinion = judge(pixels)
    judge.train()
    own = opinion.captions.gather(1, labels[:, 2:])
    target = judge.config.styles.index(judge.config.target_style)
    style, is_target = opinion.style.argmax(1), labels[:, 0] == target
    found = {
        "style_accuracy": (style == labels[:, 0]).float().mean(),
        "target_recall": (style[is_target] == target).float().mean(),
        "target_false_alarms": (style[~is_target] == target).float().mean(),
        "category_accuracy": (opinion.category.argmax(1) == labels[:, 1]).float().mean(),
        "retrieval_at_10": ((opinion.captions > own).sum(1) < RETRIEVED).float().mean(),
        "caption_cosine": own.mean(),
    }
    return {name: round(value.item(), 3) for name, value in found.items()}


def main() -> None:
    """Train, measure, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=Path)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=3e-3)
    args = parser.parse_args()
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    data = np.load(args.build / "pictures.npz")
    config = JudgeConfig(tuple(PACKS), CATEGORIES, tuple(sorted(set(data["caption"].tolist()))), STYLE)
    pixels = torch.from_numpy(data["pixels"]).permute(0, 3, 1, 2).float() / 127.5 - 1
    columns = (("vendor", config.styles), ("category", config.categories), ("caption", config.captions))
    labels = torch.tensor([[names.index(name) for name in data[key].tolist()] for key, names in columns]).T
    held_out = held_out_of(data, generator)
    vae = AutoencoderKL.from_pretrained(args.build / "vae").eval()
    started = time.monotonic()
    versions = torch.stack([pixels] + [through(vae, pixels, noise, generator) for noise in LATENT_NOISE])
    print(json.dumps({"through_the_autoencoder_seconds": round(time.monotonic() - started)}), flush=True)
    train = torch.nonzero(~held_out)[:, 0]
    judge = Judge(config)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=args.lr, weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / 100) * (1 + math.cos(math.pi * step / args.steps)) / 2
    )
    for step in range(1, args.steps + 1):
        rows = train[torch.randint(len(train), (args.batch,), generator=generator)]
        chosen = versions[torch.randint(len(versions), rows.shape, generator=generator), rows]
        loss = loss_of(judge, augment(chosen, generator), labels[rows])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(judge.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 100 == 0:
            row = {"step": step, "loss": round(loss.item(), 3)} | measure(
                judge, pixels[held_out], labels[held_out]
            )
            print(json.dumps(row | {"seconds": round(time.monotonic() - started)}), flush=True)
    judge.save(args.build / "judge")
    report = {
        "held_out_pictures": int(held_out.sum()),
        "captions": len(config.captions),
        "parameters": sum(value.numel() for value in judge.parameters()),
        "clean": measure(judge, pixels[held_out], labels[held_out]),
        "through_the_autoencoder": measure(judge, versions[1, held_out], labels[held_out]),
    }
    (args.build / "judge" / "metrics.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
