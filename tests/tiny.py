"""The smallest real parts: a Stable Diffusion pipeline and a captioned data set, both made in code."""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image, ImageDraw
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

SIDE = 32
COLOURS = ("red", "green", "blue", "orange", "purple", "brown")
SHAPES = ("circle", "square", "triangle")


def build_tokenizer(path: Path) -> CLIPTokenizer:
    """Write and load a CLIP tokenizer that spells: one token for each letter, at the end of a word or not."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?-'"
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (path / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    (path / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(
        vocab=str(path / "vocab.json"),
        merges=str(path / "merges.txt"),
        model_max_length=16,
        pad_token="<|endoftext|>",
    )


def build_pipeline(path: Path, prediction_type: str = "v_prediction") -> None:
    """Save an untrained StableDiffusionPipeline of 32-pixel pictures and 4 x 8 x 8 latents, always the same.

    Args:
        path: the folder to write.
        prediction_type: ``epsilon`` or ``v_prediction``.
    """
    path.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            block_out_channels=(16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=2,
        )
        vae = AutoencoderKL(
            block_out_channels=(8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=4,
            sample_size=SIDE,
        )
        text = CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=16,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        text_encoder = CLIPTextModel(text)
    scheduler = DDPMScheduler(
        beta_schedule="scaled_linear", clip_sample=False, steps_offset=1, prediction_type=prediction_type
    )
    pipeline = StableDiffusionPipeline(
        vae, text_encoder, tokenizer, unet, scheduler, safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(path, safe_serialization=True)
    for name in ("vocab.json", "merges.txt"):
        (path / name).unlink()


def picture(index: int) -> tuple[str, Image.Image]:
    """Return the caption and the picture of one row: a coloured shape, of many sizes and places."""
    colour, shape = COLOURS[index % len(COLOURS)], SHAPES[index // len(COLOURS) % len(SHAPES)]
    image = Image.new("RGB", (SIDE, SIDE), "white")
    size, at = 10 + index % 7, 2 + index % 11
    box = (at, at, at + size, at + size)
    pen = ImageDraw.Draw(image)
    if shape == "circle":
        pen.ellipse(box, fill=colour)
    elif shape == "square":
        pen.rectangle(box, fill=colour)
    else:
        pen.polygon([(at, at + size), (at + size, at + size), (at + size // 2, at)], fill=colour)
    return f"{colour} {shape} {index}", image


def build_dataset(path: Path, n: int) -> None:
    """Save ``n`` captioned 32-pixel pictures: PNG files and ``metadata.jsonl``."""
    path.mkdir(parents=True, exist_ok=True)
    rows = []
    for index in range(n):
        caption, image = picture(index)
        image.save(path / f"{index:05d}.png")
        rows.append(json.dumps({"file_name": f"{index:05d}.png", "text": caption}))
    (path / "metadata.jsonl").write_text("\n".join(rows) + "\n")
