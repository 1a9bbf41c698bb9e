"""How large a pipeline is, from the headers of its files: no weights are read, and no library reads them."""

import json
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any, Self

MOST_HEADER_BYTES = 100 << 20  # safetensors' own limit
WEIGHTS = "diffusion_pytorch_model.safetensors"
# As spin_engine.weights has them; tests/core/test_sizes.py holds this file against the engine.
ADAPTED = (".to_q.weight", ".to_k.weight", ".to_v.weight", ".to_out.0.weight")
LEFT_OUT = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl", ".msgpack"})


@dataclass(frozen=True)
class PipelineSize:
    """What decides the memory and disk of training a pipeline. Numbers of values, but for ``other_bytes``.

    Attributes:
        parameters: of the denoiser.
        per_rank: trainable parameters of a LoRA adapter, for each rank.
        channels: of a latent.
        factor: pixels of a picture's side for each value of a latent's side.
        side: of a latent at the model's own resolution.
        text: of one caption's encoding.
        other_bytes: the files beside the denoiser that a published model has too.
    """

    parameters: int
    per_rank: int
    channels: int
    factor: int
    side: int
    text: int
    other_bytes: int

    def as_json(self) -> dict[str, int]:
        """Return a column's value."""
        return asdict(self)

    @classmethod
    def of_json(cls, found: dict[str, Any]) -> Self:
        """Return what ``as_json`` gave."""
        return cls(**found)


def of_pipeline(folder: Path) -> PipelineSize | None:
    """Return the size of a Stable Diffusion pipeline; None when the folder does not hold one."""
    try:
        unet, vae, text = (
            json.loads((folder / part / "config.json").read_text())
            for part in ("unet", "vae", "text_encoder")
        )
        shapes = _shapes(folder / "unet")
        return PipelineSize(
            parameters=sum(prod(shape) for shape in shapes.values()),
            per_rank=sum(sum(shape) for name, shape in shapes.items() if name.endswith(ADAPTED)),
            channels=int(unet["in_channels"]),
            factor=2 ** (len(vae["block_out_channels"]) - 1),
            side=int(unet["sample_size"]),
            text=int(text["max_position_embeddings"]) * int(text["hidden_size"]),
            other_bytes=_other_bytes(folder),
        )
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return None


def _shapes(folder: Path) -> dict[str, list[int]]:
    """Return the shape of each tensor of a denoiser, in one file or in the parts that an index names."""
    index = folder / f"{WEIGHTS}.index.json"
    names = (
        sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.is_file() else [WEIGHTS]
    )
    shapes: dict[str, list[int]] = {}
    for name in names:
        with (folder / name).open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > MOST_HEADER_BYTES:
                raise ValueError(f"{name} is no safetensors file")
            header = json.loads(stream.read(length))
        shapes |= {tensor: about["shape"] for tensor, about in header.items() if tensor != "__metadata__"}
    return shapes


def _other_bytes(folder: Path) -> int:
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    kept = [
        path
        for path in found
        if path.parts[0] != "unet"
        and path.suffix not in LEFT_OUT
        and not (len(path.parts) == 1 and path.suffix == ".safetensors")
    ]
    return sum((folder / path).stat().st_size for path in kept)
