"""Draw 32 training captions with plain diffusers into one labelled picture: what does this model know?

Run it at the top of the repository: ``PYTHONPATH=. python examples/emoji/recipe/sheet.py MODEL SHEET.png``.
The captions and seeds are always the same, so that the sheets of two models can be laid side by side.
"""

import argparse
import json
import zipfile
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from spin_engine.previews import write_grid

DATA = Path(__file__).resolve().parents[1] / "data" / "train.zip"
PICTURES = 32


def captions() -> list[str]:
    """Return 32 training captions, evenly spaced over their alphabet."""
    with zipfile.ZipFile(DATA) as bundle:
        rows = [json.loads(line) for line in bundle.read("metadata.jsonl").decode().splitlines()]
    found = sorted(row["text"] for row in rows)
    return [found[index * len(found) // PICTURES] for index in range(PICTURES)]


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="folder of a StableDiffusionPipeline")
    parser.add_argument("sheet", type=Path, help="PNG to write")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=3.5)
    args = parser.parse_args()
    pipeline = StableDiffusionPipeline.from_pretrained(args.model, safety_checker=None, use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    drawn = pipeline(
        captions(),
        num_inference_steps=args.steps,
        guidance_scale=args.guidance,
        generator=[torch.Generator().manual_seed(seed) for seed in range(PICTURES)],
    ).images
    write_grid(drawn, captions(), args.sheet)


if __name__ == "__main__":
    main()
