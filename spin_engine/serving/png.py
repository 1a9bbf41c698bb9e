"""Pictures as PNG files that say how they were drawn."""

from importlib.metadata import version
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from spin_engine.serving.requests import Batch, Wish

SOFTWARE = f"Spindle {version('spindle')}"


def save(picture: Image.Image, path: Path, wish: Wish, batch: Batch, seed: int) -> None:
    """Write a picture and what it was drawn from, as international text: prompts are in any script."""
    told = {
        "Software": SOFTWARE,
        "prompt": wish.prompt,
        "negative_prompt": wish.negative_prompt,
        "model": wish.model or None,
        "seed": seed,
        "steps": batch.steps,
        "guidance_scale": f"{batch.guidance_scale:g}",
        "size": f"{picture.width}x{picture.height}",
    }
    info = PngInfo()
    for name, value in told.items():
        if value is not None:
            info.add_itxt(name, str(value))
    picture.save(path, "PNG", pnginfo=info)
