"""Which pipelines are taken from outside: known classes alone, and no config that would bring code."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from core.ingest.limits import BadArchive, printable

Classes = dict[str, tuple[str, ...]]

CLIP = ("CLIPTokenizer", "CLIPTokenizerFast")
T5 = ("T5Tokenizer", "T5TokenizerFast")
SCHEDULERS = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)
COMMON: dict[str, Classes] = {
    "vae": {"diffusers": ("AutoencoderKL",)},
    "scheduler": {"diffusers": SCHEDULERS},
    "tokenizer": {"transformers": CLIP},
    "feature_extractor": {"transformers": ("CLIPImageProcessor", "CLIPFeatureExtractor")},
    "image_encoder": {"transformers": ("CLIPVisionModelWithProjection",)},
}
PROJECTED: Classes = {"transformers": ("CLIPTextModelWithProjection",)}
SD: dict[str, Classes] = {
    "unet": {"diffusers": ("UNet2DConditionModel",)},
    "text_encoder": {"transformers": ("CLIPTextModel",)},
    "safety_checker": {"stable_diffusion": ("StableDiffusionSafetyChecker",)},
}
SDXL: dict[str, Classes] = {
    "unet": {"diffusers": ("UNet2DConditionModel",)},
    "text_encoder": {"transformers": ("CLIPTextModel",)},
    "text_encoder_2": PROJECTED,
    "tokenizer_2": {"transformers": CLIP},
}
SD3: dict[str, Classes] = {
    "transformer": {"diffusers": ("SD3Transformer2DModel",)},
    "text_encoder": PROJECTED,
    "text_encoder_2": PROJECTED,
    "text_encoder_3": {"transformers": ("T5EncoderModel",)},
    "tokenizer_2": {"transformers": CLIP},
    "tokenizer_3": {"transformers": T5},
}
FLUX: dict[str, Classes] = {
    "transformer": {"diffusers": ("FluxTransformer2DModel",)},
    "text_encoder": {"transformers": ("CLIPTextModel",)},
    "text_encoder_2": {"transformers": ("T5EncoderModel",)},
    "tokenizer_2": {"transformers": T5},
}
KNOWN = {
    "StableDiffusionPipeline": COMMON | SD,
    "StableDiffusionXLPipeline": COMMON | SDXL,
    "StableDiffusion3Pipeline": COMMON | SD3,
    "FluxPipeline": COMMON | FLUX,
}
"""By pipeline, part and library, the classes that a part may be of."""
HAVE_WEIGHTS = frozenset(
    ("vae", "unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3", "safety_checker")
)
LARGEST_NUMBER = 10_000_000
NEEDED = ("vae", "scheduler", "tokenizer", "text_encoder")
SETTINGS = frozenset(
    ("requires_safety_checker", "force_zeros_for_empty_prompt", "add_watermarker", "is_distilled")
)
TOLD = frozenset(("_class_name", "_diffusers_version", "_name_or_path"))
BRINGS_CODE = frozenset(
    ("auto_map", "trust_remote_code", "custom_pipeline", "custom_pipelines", "quantization_config")
)
"""What makes a library load other code than its own, or another library."""


def parts_of(index: Any) -> dict[str, tuple[str, str]]:
    """Return the parts that a ``model_index.json`` lists, each with its library and class.

    Raises:
        BadArchive: the pipeline, or a part of it, is none that is known.
    """
    if not isinstance(index, dict):
        raise BadArchive("model_index.json is no object")
    kind = index.get("_class_name")
    if not isinstance(kind, str) or kind not in KNOWN:
        raise BadArchive(f"model_index.json names a {_said(kind)}; supported: {', '.join(KNOWN)}")
    parts = {}
    for name, value in index.items():
        if name in TOLD:
            continue
        if not isinstance(value, list):
            if name not in SETTINGS or not isinstance(value, bool | None):
                raise BadArchive(f"model_index.json: {_said(name)} is no setting of a {kind}")
            continue
        part = _part(kind, name, value)
        if part is not None:
            parts[name] = part
    denoiser = "unet" if "unet" in KNOWN[kind] else "transformer"
    optional = ("text_encoder", "tokenizer") if kind == "StableDiffusionXLPipeline" else ()
    for name in (*NEEDED, denoiser):
        if name not in parts and name not in optional:
            raise BadArchive(f"model_index.json lists no {name}: the pipeline is not whole")
    return parts


def _part(kind: str, name: str, value: list[Any]) -> tuple[str, str] | None:
    if value == [None, None]:
        return None
    known = KNOWN[kind].get(name, {})
    match value:
        case [str(library), str(given)] if given in known.get(library, ()):
            return library, given
    wanted = " or ".join(each for classes in known.values() for each in classes) or "no such part"
    raise BadArchive(f"model_index.json: {_said(name)} is {_said(value)}; a {kind} has {wanted}")


def read_json(path: Path, name: str) -> Any:
    """Return a config; BadArchive when it is no JSON, or would bring code."""
    try:
        found = json.loads(path.read_bytes())
        _check_harmless(found, name)
    except (ValueError, RecursionError) as error:
        if isinstance(error, BadArchive):
            raise
        raise BadArchive(f"{name} is not JSON ({error})") from error
    return found


def _check_harmless(found: Any, name: str) -> None:
    if isinstance(found, Mapping):
        for key in found:
            if key in BRINGS_CODE:
                raise BadArchive(f"{name} has {key}: models that bring code of their own are not taken")
        for value in found.values():
            _check_harmless(value, name)
    elif isinstance(found, Iterable) and not isinstance(found, str):
        for value in found:
            _check_harmless(value, name)


def check_config(found: Any, name: str, kind: str) -> None:
    """Raise BadArchive unless a part's config is of the class that the index names."""
    if not isinstance(found, dict):
        raise BadArchive(f"{name} is no object")
    told = found.get("_class_name", kind)
    if told != kind:
        raise BadArchive(f"{name} is of a {_said(told)}, but model_index.json names a {kind}")


def check_size(found: Any, name: str, *, tensors: int) -> None:
    """Raise BadArchive for a config that asks for more than its weights can be: it would fill the memory.

    Args:
        found: the config.
        name: what to call it.
        tensors: how many its part has; a layer has one at least.
    """
    for key, value in _numbers(found):
        if abs(value) > LARGEST_NUMBER:
            raise BadArchive(f"{name}: {_said(key)} is {value:g}, which no network of these kinds has")
        if "layers" in key and value > tensors:
            raise BadArchive(f"{name}: {_said(key)} is {value:g}, but there are only {tensors} tensors")


def _numbers(found: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number of a config with the name of its field."""
    if isinstance(found, Mapping):
        for name, value in found.items():
            yield from _numbers(value, name)
    elif isinstance(found, list):
        for value in found:
            yield from _numbers(value, key)
    elif isinstance(found, int | float) and not isinstance(found, bool):
        yield key, found


def check_tokenizer(found: Any, name: str, kind: str) -> None:
    """Raise BadArchive unless a tokenizer's config is of its class, fast or not."""
    if not isinstance(found, dict):
        raise BadArchive(f"{name} is no object")
    told = found.get("tokenizer_class", kind)
    if str(told).removesuffix("Fast") != kind.removesuffix("Fast"):
        raise BadArchive(f"{name} is of a {_said(told)}, but model_index.json names a {kind}")


def check_shards(found: Any, name: str, there: Iterable[str]) -> None:
    """Raise BadArchive unless an index of shards names files that lie beside it."""
    places = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(places, dict):
        raise BadArchive(f"{name} has no weight_map")
    missing = {str(place) for place in places.values()} - set(there)
    if missing:
        raise BadArchive(f"{name} names {_said(min(missing))}, which does not lie beside it")


def _said(value: Any) -> str:
    return printable(str(value), at_most=100)
