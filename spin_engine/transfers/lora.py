"""LoRA files of other programs: written as they read them, read as they write them.

Inside, a LoRA is a file in diffusers' layout whose alpha is its rank everywhere, so that a layer's change is
up @ down (Hu et al., arXiv 2106.09685, with alpha / r = 1). Names are converted by diffusers alone.
"""

import inspect
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from diffusers.utils.state_dict_utils import (
    StateDictType,
    convert_state_dict_to_kohya,
    convert_state_dict_to_peft,
    convert_unet_state_dict_to_peft,
)
from safetensors import safe_open
from torch import Tensor, nn

from spin_engine.families.layout import Layout

PEFT_PREFIX = "base_model.model."
TEXT = ("text_encoder.", "text_encoder_2.")
MATRIX = 2
SD2_WIDTH = 1024
KNOWN_AS = {
    "StableDiffusionPipeline": ("stable-diffusion-v1", "sd_v1"),
    "StableDiffusionXLPipeline": ("stable-diffusion-xl-v1-base", "sdxl_base_v1-0"),
    "StableDiffusion3Pipeline": ("stable-diffusion-3-medium", "sd3_m"),
    "FluxPipeline": ("flux-1-dev", "flux1"),
}
"""What Stability's modelspec, and kohya's scripts, call the base model of a pipeline."""
UNSUPPORTED = {
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    "hada_": "LoHa",
    "lokr_": "LoKr",
    "lora_mid": "LoCon with a core tensor",
    "glora": "GLoRA",
    "oft_": "OFT",
    "lora_embedding": "LoRA of embeddings",
}
TOLD = frozenset({"r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "target_modules"})
HARMLESS: dict[str, Any] = {"use_dora": False, "lora_bias": False, "bias": "none", "fan_in_fan_out": False}
"""What else peft's settings may say without a meaning that we would miss."""

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Pair:
    """One layer's change: ``up`` (out, r, ...) @ ``down`` (r, in, ...)."""

    down: Tensor
    up: Tensor

    @property
    def rank(self) -> int:
        """The inner dimension."""
        return int(self.down.shape[0])


def to_kohya(layers: Mapping[str, Tensor], *, one_text_encoder: bool) -> Tensors:
    """Return a U-Net's LoRA as kohya's scripts write it, and ComfyUI and AUTOMATIC1111 read it.

    Args:
        layers: in diffusers' layout.
        one_text_encoder: the pipeline has one, whose layers these programs know by another name.
    """
    written = convert_state_dict_to_kohya(convert_unet_state_dict_to_peft(dict(layers)))
    renamed = {
        name.replace("lora_te1_", "lora_te_", 1) if one_text_encoder else name: value
        for name, value in written.items()
    }
    return {
        name: (value.float() if name.endswith(".alpha") else value).contiguous()
        for name, value in renamed.items()
    }


def described(
    layout: Layout, config: Mapping[str, Any], layers: Mapping[str, Tensor], title: str
) -> dict[str, str]:
    """Return what a LoRA file's header tells: Stability's modelspec, and kohya's words for the same."""
    ranks = {int(value.shape[0]) for name, value in layers.items() if "down" in name or "lora_A" in name}
    name = layout.pipeline.__name__
    second = name == "StableDiffusionPipeline" and config.get("cross_attention_dim") == SD2_WIDTH
    architecture, version = ("stable-diffusion-v2-512", "sd_v2") if second else KNOWN_AS[name]
    rank = str(max(ranks))
    return {
        "format": "pt",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{architecture}/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.title": title,
        "ss_base_model_version": version,
        "ss_v2": str(second),
        "ss_network_module": "networks.lora",
        "ss_network_dim": rank,
        "ss_network_alpha": rank,
    }


def read(path: Path) -> tuple[Tensors, dict[str, str]]:
    """Return the tensors of a safetensors file, and what its header tells."""
    with safe_open(path, framework="pt", device="cpu") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}, dict(opened.metadata() or {})  # noqa: SIM118  no mapping


def inside(
    tensors: Tensors,
    metadata: Mapping[str, str],
    layout: Layout,
    config: Mapping[str, Any],
    alpha: float | None,
) -> tuple[dict[str, Tensors], str]:
    """Return the layers of a LoRA file, named as peft does, by what they are of: ``unet``, ``text_encoder``.

    Args:
        tensors: of the file, in the layout of diffusers, of kohya, ComfyUI or AUTOMATIC1111, or of peft.
        metadata: of the file.
        layout: of the base model's family.
        config: of its denoiser.
        alpha: of all layers, if the file does not tell it; None: each layer's rank.

    Returns:
        The layers, scaled so that alpha is the rank, and the name of the layout.

    Raises:
        ValueError: it is no LoRA, or none for this family.
    """
    for mark, kind in UNSUPPORTED.items():
        if any(mark in name for name in tensors):
            raise ValueError(f"the file is a {kind}, which is not supported: only plain LoRA is")
    named, alphas, written = _converted(tensors, layout, config)
    scales = _scales(metadata, layout)
    parts: dict[str, Tensors] = defaultdict(dict)
    for module, pair in _pairs(named).items():
        told = alphas.get(module)
        if told is not None:
            scale = told / pair.rank
        elif scales is not None:
            scale = scales(module, pair.rank)
        else:
            scale = 1.0 if alpha is None else alpha / pair.rank
        part, _, layer = module.partition(".")
        parts[part][f"{layer}.lora_A.weight"] = pair.down.float()
        parts[part][f"{layer}.lora_B.weight"] = pair.up.float() * scale
    return dict(parts), written


def _converted(
    tensors: Tensors, layout: Layout, config: Mapping[str, Any]
) -> tuple[Tensors, dict[str, float], str]:
    """Return tensors under diffusers' names, alphas by module, and the layout they were in."""
    prefixes = (f"{layout.subfolder}.", *TEXT)
    if all(name.startswith(PEFT_PREFIX) for name in tensors):
        inner = {name.removeprefix(PEFT_PREFIX): value for name, value in tensors.items()}
        named = {
            name if name.startswith(prefixes) else f"{layout.subfolder}.{name}": value
            for name, value in inner.items()
        }
        return named, {}, "peft"
    written = "kohya" if any(".lora_down." in name for name in tensors) else "diffusers"
    more: dict[str, Any] = {}
    if layout.subfolder == "unet":
        more = {"unet_config": _Config(config)}
    elif "return_alphas" in inspect.signature(layout.pipeline.lora_state_dict).parameters:
        more = {"return_alphas": True}
    kind = layout.pipeline.__name__
    try:
        found: Any = layout.pipeline.lora_state_dict(dict(tensors), return_lora_metadata=False, **more)
    except (ValueError, KeyError, IndexError, AttributeError, RuntimeError) as error:
        raise ValueError(f"the file is no LoRA for {kind}: {error}"[:500]) from error
    named, raw = found if isinstance(found, tuple) else (found, {})
    told = _as_peft({name.removesuffix(".alpha"): value for name, value in (raw or {}).items()})
    alphas = {_split(name)[0]: float(value) for name, value in told.items()}
    strange = sorted(name for name in named if not name.startswith(prefixes) or "lora" not in name)
    if strange or not named:
        shown = ", ".join(strange[:3]) or "none at all"
        raise ValueError(f"the file is no LoRA for {kind}: its tensors are {shown}"[:500])
    return named, alphas, written


class _Config:
    """A config whose entries are attributes, as diffusers' loaders ask for them."""

    def __init__(self, entries: Mapping[str, Any]) -> None:
        self.__dict__.update(entries)


def _scales(metadata: Mapping[str, str], layout: Layout) -> Callable[[str, int], float] | None:
    """Return how diffusers' own metadata scales a layer; None when the file has none."""
    raw = metadata.get(LORA_ADAPTER_METADATA_KEY)
    if raw is None:
        return None
    told = json.loads(raw)
    prefix = f"{layout.subfolder}."
    found = {name.removeprefix(prefix): value for name, value in told.items() if name.startswith(prefix)}
    strange = [
        name
        for name, value in found.items()
        if name not in TOLD and value not in (None, HARMLESS.get(name), False, "", [], {})
    ]
    if strange or not isinstance(found.get("lora_alpha"), int | float):
        shown = ", ".join(sorted(strange)) or "no lora_alpha"
        raise ValueError(f"the file's settings of peft are not understood: {shown}")
    patterns = found.get("alpha_pattern") or {}
    root = bool(found.get("use_rslora"))

    def scale(module: str, rank: int) -> float:
        layer = module.partition(".")[2]
        alpha = float(patterns.get(layer, patterns.get(f"^{layer}", found["lora_alpha"])))
        return alpha / (math.sqrt(rank) if root else rank)

    return scale


def _pairs(named: Mapping[str, Tensor]) -> dict[str, Pair]:
    """Return each layer's two factors; ValueError when one is missing or they do not fit each other."""
    halves: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, value in _as_peft(named).items():
        module, half, end = _split(name)
        if not half or end != ".weight" or half in halves[module]:
            raise ValueError(f"the tensor {name[:200]} is no part of a plain LoRA")
        halves[module][half] = value
    pairs = {}
    for module, found in halves.items():
        if set(found) != {"A", "B"}:
            raise ValueError(f"{module[:200]} has one factor of two")
        pair = Pair(found["A"], found["B"])
        if pair.down.ndim < MATRIX or pair.up.ndim != pair.down.ndim or pair.up.shape[1] != pair.rank:
            raise ValueError(
                f"{module[:200]}: factors of {tuple(pair.up.shape)} and {tuple(pair.down.shape)} do not fit"
            )
        if not (bool(torch.isfinite(pair.down).all()) and bool(torch.isfinite(pair.up).all())):
            raise ValueError(f"{module[:200]} holds numbers that are not finite")
        pairs[module] = pair
    return pairs


def _as_peft(named: Mapping[str, Any]) -> dict[str, Any]:
    """Return things named by layers under peft's names; text encoders have other ones than denoisers."""
    texts = {name: value for name, value in named.items() if name.startswith(TEXT)}
    rest = {name: value for name, value in named.items() if name not in texts}
    old = any(f"_lora.{half}" in name for name in texts for half in ("up", "down"))
    kind = StateDictType.DIFFUSERS_OLD if old else StateDictType.DIFFUSERS
    return convert_unet_state_dict_to_peft(rest) | convert_state_dict_to_peft(texts, original_type=kind)


def _split(name: str) -> tuple[str, str, str]:
    """Return the layer of a factor, which one it is, and what follows its name."""
    for half in ("A", "B"):
        module, found, end = name.partition(f".lora_{half}")
        if found:
            return module, half, end
    return name, "", ""


def uniform(layers: Mapping[str, Tensor]) -> Tensors:
    """Return layers of one rank: zeros are added to the others, which change nothing."""
    rank = max(int(value.shape[0]) for name, value in layers.items() if ".lora_A." in name)

    def padded(name: str, value: Tensor) -> Tensor:
        axis = 0 if ".lora_A." in name else 1
        missing = rank - value.shape[axis]
        shape = list(value.shape)
        shape[axis] = missing
        return torch.cat([value, value.new_zeros(shape)], dim=axis).contiguous()

    return {name: padded(name, value) for name, value in layers.items()}


def require_places(layers: Mapping[str, Tensor], denoiser: nn.Module) -> None:
    """Raise ValueError unless each layer stands beside one of the denoiser, and has its sizes."""
    there = dict(denoiser.named_modules())
    for name in _modules(layers):
        place = there.get(name)
        if not isinstance(place, nn.Linear | nn.Conv2d):
            raise ValueError(  # noqa: TRY004  the file's fault
                f"the base model has no layer {name[:200]} that a LoRA could stand beside"
            )
        down, up = layers[f"{name}.lora_A.weight"], layers[f"{name}.lora_B.weight"]
        shape = place.weight.shape
        fits = down.shape[1:] == shape[1:] if isinstance(place, nn.Linear) else _conv_fits(down, up, shape)
        if not fits or up.shape[0] != shape[0]:
            raise ValueError(
                f"{name[:200]} has {tuple(shape)} in the base model, which factors of {tuple(up.shape)} and "
                f"{tuple(down.shape)} do not fit: it is a LoRA for another model"
            )


def _conv_fits(down: Tensor, up: Tensor, shape: torch.Size) -> bool:
    return down.shape[1:] == shape[1:] and tuple(up.shape[2:]) == (1, 1)


def _modules(layers: Iterable[str]) -> list[str]:
    return sorted({name.partition(".lora_")[0] for name in layers})
