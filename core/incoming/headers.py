"""The header of a safetensors file, held against the file: nothing in it is taken on trust.

The format (https://huggingface.co/docs/safetensors): eight bytes with the header's length, the header as
JSON, then the tensors' bytes, each where the header says, without gaps.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.ingest.limits import BadArchive, size_in_words

LARGEST_HEADER = 32 << 20
MOST_TENSORS = 200_000
MOST_AXES = 8
LENGTH_BYTES = 8
WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""Bytes of one value, by type: those that networks are published in."""


@dataclass(frozen=True)
class Header:
    """What a file holds: tensors' shapes by name, and the bytes of all of them."""

    shapes: dict[str, tuple[int, ...]]
    bytes: int


def header_of(path: Path, name: str) -> Header:
    """Return a file's header.

    Args:
        path: of the file.
        name: what to call it in messages.

    Raises:
        BadArchive: the file is no safetensors file, or its header lies about it.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(LENGTH_BYTES)
        if len(start) < LENGTH_BYTES:
            raise BadArchive(f"{name} is no safetensors file: it has {size} bytes")
        length = int.from_bytes(start, "little")
        if length > LARGEST_HEADER:
            raise BadArchive(
                f"{name} is no safetensors file, or its header is larger than {size_in_words(LARGEST_HEADER)}"
            )
        if length + LENGTH_BYTES > size:
            raise BadArchive(f"{name} is cut off: its header alone has {length} bytes, the file {size}")
        raw = stream.read(length)
    try:
        told = json.loads(raw, parse_constant=_no_constant, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise BadArchive(f"{name} is no safetensors file: its header is not JSON ({error})") from error
    if not isinstance(told, dict):
        raise BadArchive(f"{name}: the header is no object")
    about = told.pop("__metadata__", {})
    if not isinstance(about, dict) or not all(isinstance(value, str) for value in about.values()):
        raise BadArchive(f"{name}: what the header tells beside tensors must be texts")
    if not told:
        raise BadArchive(f"{name} holds no tensors")
    if len(told) > MOST_TENSORS:
        raise BadArchive(f"{name} has more than {MOST_TENSORS} tensors")
    return _held_against(told, size - LENGTH_BYTES - length, name)


def _held_against(told: dict[str, Any], data: int, name: str) -> Header:
    """Return the header's shapes; the tensors' bytes must fill what follows it, one after the other."""
    spans = []
    shapes = {}
    for tensor, entry in told.items():
        shapes[tensor], begin, end = _entry(tensor, entry, name)
        spans.append((begin, end, tensor))
    at = 0
    for begin, end, tensor in sorted(spans):
        if begin != at:
            what = "overlaps another" if begin < at else "leaves a gap before it"
            raise BadArchive(f"{name}: the tensor {tensor} {what}, as no writer of safetensors does")
        at = end
    if at != data:
        raise BadArchive(f"{name}: the header tells of {at} bytes of tensors, but {data} follow it")
    return Header(shapes, data)


def _entry(tensor: str, entry: Any, name: str) -> tuple[tuple[int, ...], int, int]:
    """Return the shape, begin and end of a tensor."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise BadArchive(f"{name}: {tensor} must have a dtype, a shape and data_offsets")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in WIDTHS:
        raise BadArchive(f"{name}: {tensor} is of type {kind}; save it as one of {', '.join(WIDTHS)}")
    if not _are_sizes(shape) or len(shape) > MOST_AXES:
        raise BadArchive(f"{name}: {tensor} has a shape that is none: {shape}")
    if not _are_sizes(offsets) or len(offsets) != len(("begin", "end")):
        raise BadArchive(f"{name}: {tensor} has offsets that are none: {offsets}")
    begin, end = offsets
    if end - begin != math.prod(shape) * WIDTHS[kind]:
        raise BadArchive(f"{name}: {tensor} of {kind} and shape {shape} cannot have {end - begin} bytes")
    return tuple(shape), begin, end


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(each) is int and 0 <= each < 1 << 62 for each in values)


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found
