"""Train the starter's base model: a StableDiffusionPipeline of the classes of SD 1.5 at tiny sizes.

Reads ``BUILD/pictures.npz`` and ``BUILD/vae``. The captions name no vendor, so the model learns to draw a
mixture of all vendors' styles; the held-out captions in the style to learn are never shown to it. Text
encoder and U-Net train together on the velocity loss. Writes the pipeline with the moving average of the
weights to ``BUILD/model``, every ``--save-every`` steps and at the end.
"""

import argparse
import copy
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

TOKENS = 16
VOCABULARY = 1024
PROMPT_DROPOUT = 0.1
STYLE = "fluent-emoji-flat"


@dataclass
class Batch:
    """Latents [B, 16, 8, 8] and token ids [B, 16]."""

    latents: torch.Tensor
    tokens: torch.Tensor


def build_tokenizer(captions: list[str], folder: Path) -> CLIPTokenizer:
    """Learn byte-pair merges from the captions and return them as a CLIP tokenizer."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.pre_tokenizer = pre_tokenizers.Whitespace()
    alphabet = sorted({letter for caption in captions for letter in caption if letter != " "})
    bpe.train_from_iterator(
        captions,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY, end_of_word_suffix="</w>", initial_alphabet=alphabet, show_progress=False
        ),
    )
    learned = json.loads(bpe.to_str())["model"]
    pieces = alphabet + [f"{letter}</w>" for letter in alphabet]
    pieces += [piece for piece in learned["vocab"] if piece not in set(pieces)]
    vocabulary = {piece: index for index, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    merges = [tuple(merge) for merge in learned["merges"]]
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TOKENS)
    tokenizer.save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Return an untrained CLIP text encoder: 2 layers of width 128."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=2,
            num_attention_heads=4,
            projection_dim=128,
            max_position_embeddings=TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_unet(widths: tuple[int, int]) -> UNet2DConditionModel:
    """Return an untrained U-Net on 16 x 8 x 8 latents, with cross-attention on its lower level."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=16,
        out_channels=16,
        block_out_channels=widths,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=128,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def noise_scheduler() -> DDPMScheduler:
    """Return Stable Diffusion's noise schedule with velocity prediction."""
    return DDPMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        clip_sample=False,
        steps_offset=1,
    )


@torch.no_grad()
def encode(vae: AutoencoderKL, pixels: torch.Tensor, shifts: list[tuple[int, int]]) -> torch.Tensor:
    """Return scaled latents [S, N, 16, 8, 8] of the pictures under each shift over the white page."""
    variants = []
    for down, right in shifts:
        padded = functional.pad(pixels, (4, 4, 4, 4), value=1.0)
        moved = padded[:, :, 4 + down : 68 + down, 4 + right : 68 + right]
        latents = [vae.encode(part).latent_dist.mean for part in moved.split(32)]
        variants.append(torch.cat(latents) * vae.config.scaling_factor)
    return torch.stack(variants)


class Sampler:
    """Draws batches: a random picture, unshifted half of the time, its caption dropped now and then."""

    def __init__(self, latents: torch.Tensor, tokens: torch.Tensor, empty: torch.Tensor) -> None:
        self.latents, self.tokens, self.empty = latents, tokens, empty
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, size: int) -> Batch:
        """Return a batch of ``size`` pictures."""
        rows = torch.randint(self.latents.shape[1], (size,), generator=self.generator)
        shift = torch.randint(2 * len(self.latents) - 2, (size,), generator=self.generator)
        shift = torch.where(shift < len(self.latents), shift, torch.zeros_like(shift))
        drop = torch.rand(size, generator=self.generator) < PROMPT_DROPOUT
        tokens = torch.where(drop[:, None], self.empty, self.tokens[rows])
        return Batch(self.latents[shift, rows], tokens)


def velocity_loss(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    scheduler: DDPMScheduler,
    batch: Batch,
    generator: torch.Generator,
) -> torch.Tensor:
    """Return the mean squared error of the predicted velocity at uniform timesteps."""
    noise = torch.randn(batch.latents.shape, generator=generator)
    timesteps = torch.randint(1000, (len(noise),), generator=generator)
    noisy = scheduler.add_noise(batch.latents, noise, timesteps)
    target = scheduler.get_velocity(batch.latents, noise, timesteps)
    text = text_encoder(batch.tokens).last_hidden_state
    return functional.mse_loss(unet(noisy, timesteps, text).sample, target)


def save(
    folder: Path,
    vae: AutoencoderKL,
    parts: torch.nn.ModuleDict,
    tokenizer: CLIPTokenizer,
    train: DDPMScheduler,
) -> None:
    """Write a StableDiffusionPipeline that plain diffusers loads; it samples with DPM-Solver++."""
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=parts["text_encoder"],
        tokenizer=tokenizer,
        unet=parts["unet"],
        scheduler=DPMSolverMultistepScheduler.from_config(train.config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


@torch.no_grad()
def average(mean: torch.nn.Module, live: torch.nn.Module, step: int) -> None:
    """Move the average towards the live weights; its memory grows from 10 to 1000 steps."""
    decay = min(0.999, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(mean.parameters()), list(live.parameters()), 1 - decay)


def load_data(build: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer) -> Sampler:
    """Return the sampler over every picture but the held-out ones in the style to learn."""
    data = np.load(build / "pictures.npz")
    shown = (data["split"] == "train") | (data["vendor"] != STYLE)
    pixels = torch.from_numpy(data["pixels"][shown]).permute(0, 3, 1, 2).float() / 127.5 - 1
    captions = [str(caption) for caption in data["caption"][shown]]

    def tokenize(texts: list[str]) -> torch.Tensor:
        return tokenizer(
            texts, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt"
        ).input_ids

    latents = encode(vae, pixels, [(0, 0), (-2, 0), (2, 0), (0, -2), (0, 2)])
    print(json.dumps({"pictures": len(captions), "latent_std": round(float(latents.std()), 3)}), flush=True)
    return Sampler(latents, tokenize(captions), tokenize([""])[0])


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=Path)
    parser.add_argument("--steps", type=int, default=10000, help="length of the learning rate's schedule")
    parser.add_argument("--stop", type=int, default=7000, help="last step: that of the shipped weights")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--widths", type=int, nargs=2, default=(64, 128))
    parser.add_argument("--save-every", type=int, default=500)
    args = parser.parse_args()
    torch.manual_seed(0)
    vae = AutoencoderKL.from_pretrained(args.build / "vae").eval()
    captions = sorted({str(caption) for caption in np.load(args.build / "pictures.npz")["caption"]})
    tokenizer = build_tokenizer(captions, args.build / "tokenizer")
    live = torch.nn.ModuleDict(
        {"unet": build_unet(tuple(args.widths)), "text_encoder": build_text_encoder(tokenizer)}
    )
    mean = copy.deepcopy(live).requires_grad_(requires_grad=False)
    sampler, scheduler = load_data(args.build, vae, tokenizer), noise_scheduler()
    print(json.dumps({"parameters": {k: sum(p.numel() for p in m.parameters()) for k, m in live.items()}}))
    optimizer = torch.optim.AdamW(
        live.parameters(), lr=args.lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1, step / 200) * (0.01 + 0.99 * (1 + math.cos(math.pi * step / args.steps)) / 2),
    )
    generator = torch.Generator().manual_seed(1)
    started, losses = time.monotonic(), []
    for step in range(1, args.stop + 1):
        loss = velocity_loss(live["unet"], live["text_encoder"], scheduler, sampler(args.batch), generator)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(live.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        average(mean, live, step)
        losses.append(loss.item())
        if step % 100 == 0:
            row = {"step": step, "loss": round(sum(losses[-100:]) / 100, 4)}
            print(json.dumps(row | {"seconds": round(time.monotonic() - started)}), flush=True)
        if step % args.save_every == 0 or step == args.stop:
            save(args.build / "model", vae, mean, tokenizer, scheduler)


if __name__ == "__main__":
    main()
