"""Encoded data: every picture and caption goes through its encoder once, and is then read from mapped files.

``shard-00000.safetensors``, ...: ``latents`` (n, C, h, w) and ``text.NAME`` (n, ...), float32, n <= 512 rows.
``empty.safetensors``: the empty caption's ``text.NAME``, one row. ``index.json``: written last.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from spin_engine.data import Row, fit, to_pixels
from spin_engine.families.family import Condition, Family
from spin_engine.files import write_whole
from spin_engine.reporter import Progress
from spin_engine.stopping import Stop

SHARD_ROWS = 512
BATCH = 8
TEXT = "text."


def encode(
    family: Family, found: Iterator[Row], out: Path, *, side: int, progress: Progress, stop: Stop
) -> int:
    """Encode rows into ``out`` and return how many there were; shards already there are kept.

    Args:
        family: whose encoders are used.
        found: the rows, always in the same order.
        out: an existing folder.
        side: of the square pictures, in pixels.
        progress: counts rows.
        stop: is asked between batches.
    """
    family.latent_shape(side, side)
    sizes: list[int] = []
    while part := list(islice(found, SHARD_ROWS)):
        path = out / f"shard-{len(sizes):05d}.safetensors"
        if not path.exists():
            write_whole(path, save(_encode_shard(family, part, side, progress, stop)))
        else:
            progress.advance(len(part))
        sizes.append(len(part))
    write_whole(out / "empty.safetensors", save(_named(family.encode_text([""]))))
    index = {
        "rows": sum(sizes),
        "shards": sizes,
        "resolution": side,
        "shape": family.latent_shape(side, side),
    }
    write_whole(out / "index.json", (json.dumps(index) + "\n").encode())
    return sum(sizes)


def _encode_shard(
    family: Family, part: list[Row], side: int, progress: Progress, stop: Stop
) -> dict[str, Tensor]:
    batches = []
    for start in range(0, len(part), BATCH):
        stop.check()
        some = part[start : start + BATCH]
        pixels = to_pixels([fit(row.picture(), side) for row in some])
        condition = family.encode_text([row.caption for row in some])
        batches.append({"latents": family.encode_images(pixels).cpu(), **_named(condition)})
        progress.advance(len(some))
    return {name: torch.cat([batch[name] for batch in batches]).contiguous() for name in batches[0]}


def _named(condition: Condition) -> dict[str, Tensor]:
    return {TEXT + name: tensor.cpu().contiguous() for name, tensor in condition.items()}


class Encoded:
    """A folder of encoded data, mapped into memory: a row costs the bytes of that row."""

    def __init__(self, folder: Path) -> None:
        """Map the shards of ``folder``; ValueError if it is not complete."""
        index = folder / "index.json"
        if not index.is_file():
            raise ValueError(f"{folder} holds no finished encoding: it has no index.json")
        settings = json.loads(index.read_text())
        self.rows: int = settings["rows"]
        self.resolution: int = settings["resolution"]
        c, h, w = settings["shape"]
        self.shape: tuple[int, int, int] = (c, h, w)
        self._shards = [
            load_file(folder / f"shard-{number:05d}.safetensors") for number in range(len(settings["shards"]))
        ]
        self._empty = load_file(folder / "empty.safetensors")

    def latents(self, pairs: Sequence[int]) -> Tensor:
        """Return the latents of the pairs' dataset pictures, (B, C, h, w) on the CPU."""
        return torch.stack([self._row(pair, "latents") for pair in pairs])

    def condition(self, pairs: Sequence[int], dropped: Sequence[bool]) -> Condition:
        """Return the encoded captions of the pairs, the empty one's where ``dropped``, on the CPU."""
        return {
            name.removeprefix(TEXT): torch.stack(
                [
                    empty[0] if drop else self._row(pair, name)
                    for pair, drop in zip(pairs, dropped, strict=True)
                ]
            )
            for name, empty in self._empty.items()
        }

    def empty(self, n: int) -> Condition:
        """Return the encoded empty caption, ``n`` times."""
        return {
            name.removeprefix(TEXT): tensor.expand(n, *tensor.shape[1:])
            for name, tensor in self._empty.items()
        }

    def _row(self, pair: int, name: str) -> Tensor:
        return self._shards[pair // SHARD_ROWS][name][pair % SHARD_ROWS]
