"""The starter: small, licensed, split without overlap, and an ordinary diffusers pipeline."""

import json
import subprocess
import sys
from pathlib import Path

from pydantic import TypeAdapter

from spin_engine.config import Method, SpinHyperparameters, with_recommended
from spin_engine.data import rows

EMOJI = Path(__file__).resolve().parents[1] / "examples" / "emoji"
MODEL = EMOJI / "model"
LARGEST = 30_000_000
DRAW = """
import sys, warnings
warnings.simplefilter("ignore")
import torch
from diffusers import DiffusionPipeline
pipeline = DiffusionPipeline.from_pretrained(sys.argv[1])
pipeline.set_progress_bar_config(disable=True)
seed = torch.Generator().manual_seed(0)
picture = pipeline("red heart", num_inference_steps=12, guidance_scale=2.0, generator=seed).images[0]
middle, corner = picture.getpixel((32, 28)), picture.getpixel((1, 62))
print(type(pipeline).__name__, *picture.size, *middle, *corner, any("spin_engine" in m for m in sys.modules))
"""


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in EMOJI.rglob("*") if path.is_file()) <= LARGEST


def test_nothing_pickled_lies_in_it() -> None:
    kinds = {path.suffix for path in MODEL.rglob("*") if path.is_file()}
    assert kinds <= {".json", ".safetensors", ".txt"}


def test_the_licence_lies_beside_the_data() -> None:
    assert "MIT License" in (EMOJI / "data" / "LICENSE").read_text()


def test_the_splits_do_not_overlap() -> None:
    captions = {
        split: [row.caption for row in rows(EMOJI / "data" / f"{split}.zip")]
        for split in ("train", "validation", "test")
    }
    assert {split: len(found) for split, found in captions.items()} == {
        "train": 345,
        "validation": 48,
        "test": 64,
    }
    assert len(set().union(*captions.values())) == 345 + 48 + 64


def test_the_recommended_settings_are_a_fair_match() -> None:
    """SFT takes as many optimiser steps, of as many pictures, as self-play does in all."""
    defaults = json.loads((MODEL / "spindle" / "defaults.json").read_text())
    sft, spin = (
        TypeAdapter(Method).validate_python(with_recommended({"type": kind}, defaults)).hyperparameters
        for kind in ("sft", "spin")
    )
    assert isinstance(spin, SpinHyperparameters)
    assert spin.n_iterations >= 2
    assert sft.batch_size == spin.batch_size
    assert sft.for_iteration(1).steps == sum(spin.for_iteration(k).steps for k in spin.iterations)
    assert (sft.eval_guidance, sft.eval_steps) == (spin.eval_guidance, spin.eval_steps)
    assert (sft.eval_samples, sft.eval_seeds) == (spin.eval_samples, spin.eval_seeds)


def test_plain_diffusers_draws_a_red_heart() -> None:
    """Red in the middle, white in the corner, and no Spindle code in the process."""
    ran = subprocess.run(
        [sys.executable, "-c", DRAW, str(MODEL)], capture_output=True, text=True, check=False, cwd="/"
    )
    assert ran.returncode == 0, ran.stderr
    name, width, height, *numbers, spindle = (
        ran.stdout.replace("(", "").replace(")", "").replace(",", "").split()
    )
    red, green, blue, *corner = map(int, numbers)
    assert (name, width, height, spindle) == ("StableDiffusionPipeline", "64", "64", "False")
    assert red > 150
    assert max(green, blue) < 110
    assert min(corner) > 220
