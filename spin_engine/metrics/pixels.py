"""Pictures as CLIP and its kin see them."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

BATCH = 32
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def to_clip_pixels(pictures: Sequence[Image.Image], size: int) -> Tensor:
    """Return float32 (B, 3, size, size): the short side scaled bicubically, the middle, CLIP's spread.

    What ``CLIPImageProcessor`` does with the settings of every CLIP, PickScore, HPSv2 and ImageReward.
    """
    arrays = [np.asarray(_middle(picture.convert("RGB"), size), dtype=np.float32) for picture in pictures]
    scaled = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2) / 255
    return (scaled - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def in_batches(count: int) -> Iterator[slice]:
    """Yield slices that cover ``count`` pictures."""
    for start in range(0, count, BATCH):
        yield slice(start, min(start + BATCH, count))


def _middle(picture: Image.Image, size: int) -> Image.Image:
    short = min(picture.size)
    width, height = (int(size * side / short) for side in picture.size)
    scaled = picture.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return scaled.crop((left, top, left + size, top + size))
