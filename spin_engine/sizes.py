"""How large a pipeline is, from its configs and the headers of its files: no weights are read. Torch-free."""

import json
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any, Self

from spin_engine.families.layout import JOINT_ATTENTION, UNET_ATTENTION

MOST_HEADER_BYTES = 100 << 20  # safetensors' own limit
WEIGHTS = "diffusion_pytorch_model.safetensors"
LEFT_OUT = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl", ".msgpack"})
DENOISERS = {
    "StableDiffusionPipeline": "unet",
    "StableDiffusionXLPipeline": "unet",
    "StableDiffusion3Pipeline": "transformer",
    "FluxPipeline": "transformer",
}
FLUX_SIDE, FLUX_PATCH = 128, 2
T5_TOKENS = {"StableDiffusion3Pipeline": 256, "FluxPipeline": 512}
"""At most; "schnell" of FLUX was trained with half of them."""

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class PipelineSize:
    """What decides the memory and disk of training a pipeline. Numbers of values, but for ``other_bytes``.

    Attributes:
        parameters: of the denoiser, with the buffers that are saved beside them.
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

    def latent_side(self, resolution: int | None) -> int:
        """Return the side of a square picture's latent; ``resolution`` in pixels, None: the model's own."""
        return self.side if resolution is None else resolution // self.factor


def of_pipeline(folder: Path) -> PipelineSize | None:
    """Return the size of a pipeline; None when the folder does not hold one that can be trained."""
    try:
        kind = json.loads((folder / "model_index.json").read_text())["_class_name"]
        part = DENOISERS[kind]
        denoiser, vae = _config(folder, part), _config(folder, "vae")
        shapes = _shapes(folder / part)
        targets = UNET_ATTENTION if part == "unet" else JOINT_ATTENTION
        adapted = tuple(f".{target}.weight" for target in targets)
        flux = kind == "FluxPipeline"
        return PipelineSize(
            parameters=sum(prod(shape) for shape in shapes.values()),
            per_rank=sum(sum(shape) for name, shape in shapes.items() if name.endswith(adapted)),
            channels=int(denoiser["in_channels"]) // (FLUX_PATCH**2 if flux else 1),
            factor=2 ** (len(vae["block_out_channels"]) - 1),
            side=FLUX_SIDE if flux else int(denoiser["sample_size"]),
            text=sum(prod(shape) for shape in text_shapes(folder).values()),
            other_bytes=_other_bytes(folder, part),
        )
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return None


def text_shapes(folder: Path) -> Shapes:
    """Return the shape of each tensor of one encoded caption, as the pipeline's family names them."""
    index = json.loads((folder / "model_index.json").read_text())
    kind = index["_class_name"]
    there = [
        suffix for suffix in ("", "_2", "_3") if index.get(f"text_encoder{suffix}", [None])[0] is not None
    ]
    configs = {suffix: _config(folder, f"text_encoder{suffix}") for suffix in there}
    if kind == "StableDiffusionPipeline":
        return {"text": (_length(folder, ""), int(configs[""]["hidden_size"]))}
    if kind == "FluxPipeline":
        longest = T5_TOKENS[kind] // (1 if _config(folder, "transformer").get("guidance_embeds") else 2)
        tokens = min(longest, _length(folder, "_2"))
        return {"text": (tokens, configs["_2"]["d_model"]), "pooled": (configs[""]["hidden_size"],)}
    clips = [suffix for suffix in ("", "_2") if suffix in configs]
    wide = sum(int(configs[suffix]["hidden_size"]) for suffix in clips)
    projected = [int(configs[suffix]["projection_dim"]) for suffix in clips]
    length = _length(folder, clips[0])
    if kind == "StableDiffusionXLPipeline":
        return {"text": (length, wide), "pooled": (projected[-1],)}
    shapes: Shapes = {"clip": (length, wide), "pooled": (sum(projected),)}
    if "_3" in configs:
        shapes["t5"] = (min(T5_TOKENS[kind], _length(folder, "_3")), int(configs["_3"]["d_model"]))
    return shapes


def _config(folder: Path, part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / part / "config.json").read_text())
    return found


def _length(folder: Path, suffix: str) -> int:
    """Return how many tokens a caption is padded or cut to."""
    settings = folder / f"tokenizer{suffix}" / "tokenizer_config.json"
    return int(json.loads(settings.read_text())["model_max_length"])


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


def _other_bytes(folder: Path, denoiser: str) -> int:
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    kept = [
        path
        for path in found
        if path.parts[0] != denoiser
        and path.suffix not in LEFT_OUT
        and not (len(path.parts) == 1 and path.suffix == ".safetensors")
    ]
    return sum((folder / path).stat().st_size for path in kept)
