"""Encoded data: every picture and caption goes through its encoder once, and is then read from mapped files.

``shard-00000.safetensors``, ...: ``latents`` (n, C, h, w), ``losers`` likewise if the data has them, and
``text.NAME`` (n, ...), float32, n <= 512 rows. ``empty.safetensors``: the empty caption's ``text.NAME``, one
row. ``index.json``: written last, with the sha256 of each shard, so that its own tells encodings apart. With
aspect-ratio buckets all rows of a shard are of one bucket. Rows are numbered as they lie in the shards: that
is the order of the data, within each bucket at least.

An encoding may be made in n parts, shard s by part s mod n. Each has an ``index-00000-of-0000n.json`` that
knows only its own sums; together they mean the ``index.json`` of an encoding made at once.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from spin_engine import buckets
from spin_engine.buckets import Size
from spin_engine.data import Row, fit, to_pixels
from spin_engine.families.family import Condition, Family
from spin_engine.order import Layout
from spin_engine.reporter import Progress
from spin_engine.shards import Shards, shard_name
from spin_engine.stopping import Stop
from spin_engine.store import Store

SHARD_ROWS = 512  # encode units take multiples of it: Settings.encode_shard_rows
BATCH = 8
TEXT = "text."
INDEX = "index.json"
PART = re.compile(r"index-\d{5}-of-\d{5}\.json")
LATENTS_TO_A_STEP = 8
"""A bucket's sides in latents are multiples of this: every denoiser here halves at most three times."""

Shape = tuple[int, int, int]


def encode(
    family: Family,
    found: Iterator[Row],
    out: Path | str,
    *,
    side: int,
    aspect_buckets: bool = False,
    part: int = 0,
    parts: int = 1,
    progress: Progress,
    stop: Stop,
) -> int:
    """Encode rows into ``out`` and return how many there were; shards already there are kept.

    Args:
        family: whose encoders are used.
        found: the rows, always in the same order; all with a loser, or none.
        out: an existing folder, or a URI.
        side: of the square pictures, in pixels.
        aspect_buckets: whether pictures keep about their aspect ratio (``buckets``) at the square's area.
        part: which shards to encode, of ``parts``; the others' rows are only counted.
        parts: in how many the encoding is made.
        progress: counts rows.
        stop: is asked between batches.

    Raises:
        ValueError: a size that the family cannot take, or losers for some rows only.
    """
    store = Store(out)
    shape = family.latent_shape(side, side)
    allowed = [Size(side, side)]
    if aspect_buckets:
        allowed = buckets.sizes(side, LATENTS_TO_A_STEP * side // shape[1])
    counts: list[int] = []
    shapes: list[Shape] = []
    sums: list[str | None] = []
    losers = False
    for number, (size, some) in enumerate(_shards(found, allowed)):
        losers = some[0].read_loser is not None
        name = shard_name(number)
        if number % parts != part or store.exists(name):
            data = store.read(name) if number % parts == part else None
            progress.advance(len(some))
        else:
            data = save(_encode_shard(family, some, size, progress, stop))
            store.write(name, data)
        sums.append(None if data is None else hashlib.sha256(data).hexdigest())
        counts.append(len(some))
        shapes.append(family.latent_shape(size.height, size.width))
    if part == 0:
        store.write("empty.safetensors", save(_named(family.encode_text([""]))))
    index = {"rows": sum(counts), "shards": counts, "resolution": side, "shape": shape, "sha256": sums}
    if aspect_buckets:
        index["shapes"] = shapes
    if losers:
        index["losers"] = True
    store.write(INDEX if parts == 1 else f"index-{part:05d}-of-{parts:05d}.json", _written(index))
    return sum(counts)


def _written(index: dict[str, Any]) -> bytes:
    return (json.dumps(index) + "\n").encode()


def _index(store: Store) -> bytes:
    """Return the index of an encoding, made of its parts' if there are parts; ValueError if it lacks one."""
    if store.exists(INDEX):
        return store.read(INDEX)
    names = [name for name in store.names() if PART.fullmatch(name)]
    lacking = ValueError(f"{store.place} holds no finished encoding: it has no {INDEX}, or not all its parts")
    if not names or len(names) != int(names[0][-10:-5]):
        raise lacking
    parts = [json.loads(store.read(name)) for name in names]
    sums = [next(filter(None, known), None) for known in zip(*(one["sha256"] for one in parts), strict=True)]
    together: dict[str, Any] = parts[0] | {"sha256": sums}
    if None in sums or any(one | {"sha256": sums} != together for one in parts):
        raise lacking
    return _written(together)


def _shards(found: Iterator[Row], allowed: list[Size]) -> Iterator[tuple[Size, list[Row]]]:
    """Yield the rows shard by shard, each of one size; what is left of each size comes last."""
    waiting: dict[Size, list[Row]] = {size: [] for size in allowed}
    losers: bool | None = None
    for row in found:
        if losers is not None and losers != (row.read_loser is not None):
            raise ValueError(
                f"{row.name} {'lacks' if losers else 'has'} a loser picture, unlike the rows before it"
            )
        losers = row.read_loser is not None
        size = allowed[0] if len(allowed) == 1 else buckets.nearest(allowed, *row.size())
        waiting[size].append(row)
        if len(waiting[size]) == SHARD_ROWS:
            yield size, waiting[size]
            waiting[size] = []
    for size, part in waiting.items():
        if part:
            yield size, part


def _encode_shard(
    family: Family, part: list[Row], size: Size, progress: Progress, stop: Stop
) -> dict[str, Tensor]:
    batches = []
    for start in range(0, len(part), BATCH):
        stop.check()
        some = part[start : start + BATCH]
        pixels = to_pixels([fit(row.picture(), size.height, size.width) for row in some])
        condition = family.encode_text([row.caption for row in some])
        batch = {"latents": family.encode_images(pixels).cpu(), **_named(condition)}
        if some[0].read_loser is not None:
            worse = to_pixels([fit(row.loser(), size.height, size.width) for row in some])
            batch["losers"] = family.encode_images(worse).cpu()
        batches.append(batch)
        progress.advance(len(some))
    return {name: torch.cat([batch[name] for batch in batches]).contiguous() for name in batches[0]}


def _named(condition: Condition) -> dict[str, Tensor]:
    return {TEXT + name: tensor.cpu().contiguous() for name, tensor in condition.items()}


class Encoded:
    """Encoded data, mapped into memory: a row costs the bytes of that row."""

    def __init__(self, place: Path | str, *, open_shards: int = 64) -> None:
        """Read the index; ValueError if the encoding is not complete.

        Args:
            place: a folder, or a URI.
            open_shards: how many shards may be open at a time.
        """
        store = Store(place)
        index = _index(store)
        settings = json.loads(index)
        self.key = hashlib.sha256(index).hexdigest()
        """What tells this encoding from any other."""
        self.rows: int = settings["rows"]
        self.resolution: int = settings["resolution"]
        c, h, w = settings["shape"]
        self.shape: Shape = (c, h, w)
        """(C, h, w) of the latents of a square picture."""
        self.has_losers: bool = settings.get("losers", False)
        shapes = [(c, h, w) for c, h, w in settings.get("shapes", [])]
        self._shapes: list[Shape] = shapes or [self.shape] * len(settings["shards"])
        different = sorted(set(self._shapes))
        self.layout = Layout(
            tuple(settings["shards"]), tuple(different.index(shape) for shape in self._shapes)
        )
        self.shards = Shards(store, most=open_shards)
        self._empty = load(store.read("empty.safetensors"))

    def shape_of(self, pair: int) -> Shape:
        """Return (C, h, w) of a pair's latents: of its bucket."""
        return self._shapes[self.layout.shard_of(pair)]

    def latents(self, pairs: Sequence[int]) -> Tensor:
        """Return the latents of the pairs' dataset pictures, all of one bucket, (B, C, h, w) on the CPU."""
        return torch.stack([self._row(pair, "latents") for pair in pairs])

    def losers(self, pairs: Sequence[int]) -> Tensor:
        """Return the latents of the pairs' loser pictures, (B, C, h, w) on the CPU, if the data has them."""
        assert self.has_losers, "the data names no losers"
        return torch.stack([self._row(pair, "losers") for pair in pairs])

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
        shard = self.layout.shard_of(pair)
        return self.shards[shard][name][pair - self.layout.starts[shard]]
