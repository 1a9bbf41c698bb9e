"""Draw the starter's pictures from four emoji packs and write its data files.

The packs are npm packages, fetched with ``npm pack`` into the build folder. Every vendor's picture of a
smiley, an animal or a food becomes 64 x 64 pixels on white, captioned with its name. One vendor,
``fluent-emoji-flat``, is the style to learn: its pictures are split by caption into the three zips that
Spindle uploads (train, validation, test). All vendors' pictures, less the held-out ones of that vendor,
train the base model and go to ``BUILD/pictures.npz``.
"""

import argparse
import hashlib
import io
import json
import subprocess
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

PACKS = {
    "fluent-emoji-flat": "1.2.6",
    "noto": "1.2.9",
    "noto-v1": "1.2.5",
    "twemoji": "1.2.5",
}
STYLE = "fluent-emoji-flat"
CATEGORIES = ("Smileys & Emotion", "Animals & Nature", "Food & Drink")
SIZE = 64
HELD_OUT = {"validation": 48, "test": 64}
EPOCH = (2026, 1, 1, 0, 0, 0)
DATA = Path(__file__).resolve().parents[1] / "data"


@dataclass(frozen=True)
class Picture:
    """One vendor's drawing of one name. ``pixels`` is uint8 [64, 64, 3]."""

    name: str
    vendor: str
    category: str
    split: str
    pixels: np.ndarray

    @property
    def caption(self) -> str:
        """The name in words: ``red-apple`` reads ``red apple``."""
        return self.name.replace("-", " ")


def fetch(vendor: str, build: Path) -> tuple[dict, dict]:
    """Return (icons.json, metadata.json) of a pack, downloading its npm package once."""
    package = f"@iconify-json/{vendor}@{PACKS[vendor]}"
    archive = build / f"iconify-json-{vendor}-{PACKS[vendor]}.tgz"
    if not archive.exists():
        subprocess.run(["npm", "pack", "--silent", package], cwd=build, check=True)
    with tarfile.open(archive) as tar:
        read = [json.load(tar.extractfile(f"package/{name}.json")) for name in ("icons", "metadata")]
    return read[0], read[1]


def draw(icons: dict, name: str) -> np.ndarray:
    """Rasterise one icon at four times the size, on white, and shrink it with Lanczos."""
    icon = icons["icons"][name]
    width = icon.get("width", icons.get("width", 16))
    height = icon.get("height", icons.get("height", 16))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}">{icon["body"]}</svg>'
    )
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=4 * SIZE, height=4 * SIZE))
    drawn = Image.open(io.BytesIO(png)).convert("RGBA")
    page = Image.new("RGBA", drawn.size, "white")
    page.alpha_composite(drawn)
    return np.asarray(page.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS))


def splits(names: list[str]) -> dict[str, str]:
    """Assign names to splits by the order of their hashes: stable when a pack gains a name."""
    ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    cut = HELD_OUT["validation"], HELD_OUT["validation"] + HELD_OUT["test"]
    return {
        name: "validation" if rank < cut[0] else "test" if rank < cut[1] else "train"
        for rank, name in enumerate(ranked)
    }


def collect(build: Path) -> list[Picture]:
    """Draw every vendor's picture of every name, in a fixed order."""
    packs = {vendor: fetch(vendor, build) for vendor in PACKS}
    category = {
        name: kind
        for _, metadata in packs.values()
        for kind in CATEGORIES
        for name in metadata["categories"][kind]
    }
    split = splits([name for kind in CATEGORIES for name in packs[STYLE][1]["categories"][kind]])
    return [
        Picture(name, vendor, category[name], split.get(name, "train"), draw(icons, name))
        for vendor, (icons, _) in packs.items()
        for name in sorted(category)
        if name in icons["icons"]
    ]


def write_zip(pictures: list[Picture], path: Path) -> None:
    """Write PNGs and metadata.jsonl, with fixed dates so that the same pictures give the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as bundle:
        rows = []
        for picture in pictures:
            buffer = io.BytesIO()
            Image.fromarray(picture.pixels).save(buffer, "PNG", optimize=True)
            bundle.writestr(zipfile.ZipInfo(f"{picture.name}.png", EPOCH), buffer.getvalue())
            rows.append({"file_name": f"{picture.name}.png", "text": picture.caption})
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        bundle.writestr(zipfile.ZipInfo("metadata.jsonl", EPOCH), lines)


def main() -> None:
    """Draw, split, write; print what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=Path, help="folder for downloads and the training arrays")
    build = parser.parse_args().build
    build.mkdir(parents=True, exist_ok=True)
    pictures = collect(build)
    for split in ("train", "validation", "test"):
        chosen = [p for p in pictures if p.vendor == STYLE and p.split == split]
        write_zip(chosen, DATA / f"{split}.zip")
        print(f"{split}.zip: {len(chosen)} pictures, {(DATA / f'{split}.zip').stat().st_size:,} bytes")
    np.savez_compressed(
        build / "pictures.npz",
        pixels=np.stack([p.pixels for p in pictures]),
        caption=[p.caption for p in pictures],
        vendor=[p.vendor for p in pictures],
        category=[p.category for p in pictures],
        split=[p.split for p in pictures],
    )
    for vendor in PACKS:
        print(f"{vendor}: {sum(p.vendor == vendor for p in pictures)} pictures")


if __name__ == "__main__":
    main()
