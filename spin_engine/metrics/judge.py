"""The judge: a small network that says how a picture is drawn and what it shows.

It is trained apart from every generator (``examples/emoji/recipe/train_judge.py`` trains the starter's) and
travels with a model in ``spindle/judge``: ``judge.safetensors`` and ``judge.json``. It is the ruler of the
metrics, so it is never a part of a loss.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional

FEATURES = 64
BATCH = 64


@dataclass(frozen=True)
class JudgeConfig:
    """What a judge can tell apart; stored as ``judge.json``.

    Attributes:
        styles: names of the drawing styles.
        categories: names of the kinds of things.
        captions: every caption that can be retrieved.
        target_style: the style whose share is measured, one of ``styles``.
        size: side in pixels of the pictures it looks at.
    """

    styles: tuple[str, ...]
    categories: tuple[str, ...]
    captions: tuple[str, ...]
    target_style: str
    size: int = 64

    def __post_init__(self) -> None:
        """Refuse a target style that the judge does not know."""
        if self.target_style not in self.styles:
            raise ValueError(f"target_style {self.target_style!r} is not one of {list(self.styles)}")

    @classmethod
    def read(cls, path: Path) -> "JudgeConfig":
        """Read ``judge.json``; ValueError when it is not one."""
        raw = json.loads(path.read_text())
        if not isinstance(raw, dict) or raw.keys() != {field.name for field in dataclasses.fields(cls)}:
            raise ValueError(f"{path} does not describe a judge")
        return cls(
            styles=tuple(raw["styles"]),
            categories=tuple(raw["categories"]),
            captions=tuple(raw["captions"]),
            target_style=raw["target_style"],
            size=raw["size"],
        )


@dataclass(frozen=True)
class Opinion:
    """What the judge makes of N pictures.

    Attributes:
        features: [N, 64], the space of the Frechet distance.
        style: [N, styles], logits.
        category: [N, categories], logits.
        captions: [N, captions], the cosine of each picture with each caption, in [-1, 1].
    """

    features: Tensor
    style: Tensor
    category: Tensor
    captions: Tensor


class Block(nn.Module):
    """Two 3 x 3 convolutions around a skip; the first may halve the side."""

    def __init__(self, inner: int, outer: int, *, stride: int) -> None:
        """Build a block from ``inner`` to ``outer`` channels."""
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inner, outer, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outer),
            nn.ReLU(),
            nn.Conv2d(outer, outer, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outer),
        )
        self.skip = nn.Sequential(
            nn.AvgPool2d(stride), nn.Conv2d(inner, outer, 1, bias=False), nn.BatchNorm2d(outer)
        )

    def forward(self, picture: Tensor) -> Tensor:
        """Map [N, inner, H, W] to [N, outer, H / stride, W / stride]."""
        return functional.relu(self.body(picture) + self.skip(picture))


class Judge(nn.Module):
    """A residual network of 0.9 million parameters with three heads on 64 shared features.

    The features see the average of every stage, not of the last alone: a style shows in flat fills, edges
    and shades, which are small, and the thing itself in what is large.
    """

    def __init__(self, config: JudgeConfig) -> None:
        """Build the network, untrained."""
        super().__init__()
        self.config = config
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 5, 2, 2, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.stages = nn.ModuleList(
            [Block(32, 64, stride=2), Block(64, 128, stride=2), Block(128, 192, stride=2)]
        )
        self.narrow = nn.Sequential(
            nn.Dropout(0.2), nn.Linear(32 + 64 + 128 + 192, FEATURES, bias=False), nn.BatchNorm1d(FEATURES)
        )
        self.style = nn.Linear(FEATURES, len(config.styles))
        self.category = nn.Linear(FEATURES, len(config.categories))
        self.describe = nn.Linear(FEATURES, FEATURES, bias=False)
        self.captions = nn.Parameter(torch.randn(len(config.captions), FEATURES) / FEATURES**0.5)

    def forward(self, pixels: Tensor) -> Opinion:
        """Judge pictures. ``pixels`` is [N, 3, size, size] in [-1, 1]."""
        seen = [self.stem(pixels)]
        for stage in self.stages:
            seen.append(stage(seen[-1]))
        features = self.narrow(torch.cat([part.mean(dim=(2, 3)) for part in seen], dim=1))
        described = functional.normalize(self.describe(features), dim=-1)
        return Opinion(
            features=features,
            style=self.style(features),
            category=self.category(features),
            captions=described @ functional.normalize(self.captions, dim=-1).T,
        )

    @torch.no_grad()
    def look(self, pictures: Sequence[Image.Image]) -> Opinion:
        """Judge pictures of any size, in batches, without training anything."""
        assert not self.training, "a judge in training mode gives different answers each time"
        if not len(pictures):
            raise ValueError("the judge was given no pictures")
        parts = [
            self(to_pixels(pictures[start : start + BATCH], self.config.size))
            for start in range(0, len(pictures), BATCH)
        ]
        return Opinion(
            *(
                torch.cat([getattr(part, field.name) for part in parts])
                for field in dataclasses.fields(Opinion)
            )
        )

    def save(self, folder: Path) -> None:
        """Write ``judge.safetensors``, its floats in half precision, and ``judge.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {
            name: (value.half() if value.is_floating_point() else value).contiguous()
            for name, value in self.state_dict().items()
        }
        (folder / "judge.safetensors").write_bytes(save(weights))
        (folder / "judge.json").write_text(json.dumps(dataclasses.asdict(self.config), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Judge":
        """Read a judge that ``save`` wrote, ready to look; its weights become float32 again."""
        judge = cls(JudgeConfig.read(folder / "judge.json"))
        judge.load_state_dict(load_file(folder / "judge.safetensors"))
        return judge.eval()


def to_pixels(pictures: Sequence[Image.Image], size: int) -> Tensor:
    """Return pictures as float32 [N, 3, size, size] in [-1, 1]; transparency is laid on white."""
    arrays = []
    for picture in pictures:
        page = Image.new("RGBA", picture.size, "white")
        page.alpha_composite(picture.convert("RGBA"))
        resized = page.convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
        arrays.append(np.asarray(resized, dtype=np.float32))
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous() / 127.5 - 1
