"""A CLIP's weights under open_clip's names, as HPSv2 is published, under those of transformers."""

import re

import torch
from torch import Tensor

WHOLE = {
    "logit_scale": "logit_scale",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
}
TURNED = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}
"""Matrices that open_clip multiplies from the other side."""
PREFIXES = {
    "visual.ln_pre.": "vision_model.pre_layrnorm.",
    "visual.ln_post.": "vision_model.post_layernorm.",
    "ln_final.": "text_model.final_layer_norm.",
}
BLOCK = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+)")
PARTS = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def renamed(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the same weights as a ``CLIPModel`` names them; ValueError for one that no CLIP has."""
    given: dict[str, Tensor] = {}
    for name, value in found.items():
        if name == "attn_mask":
            continue
        if name in WHOLE:
            given[WHOLE[name]] = value
        elif name in TURNED:
            given[TURNED[name]] = value.T.contiguous()
        elif block := BLOCK.fullmatch(name):
            given |= _block(block, value)
        else:
            given[_prefixed(name)] = value
    return given


def _block(block: re.Match[str], value: Tensor) -> dict[str, Tensor]:
    """Return the weights of one part of a transformer block; the fused attention input becomes three."""
    side = "vision_model" if block[1] else "text_model"
    stem = f"{side}.encoder.layers.{block[2]}"
    part, _, kind = block[3].rpartition(".")
    if block[3] in ("attn.in_proj_weight", "attn.in_proj_bias"):
        kind = block[3].removeprefix("attn.in_proj_")
        return {
            f"{stem}.self_attn.{letter}_proj.{kind}": third.contiguous()
            for letter, third in zip("qkv", torch.chunk(value, 3), strict=True)
        }
    if part not in PARTS:
        raise ValueError(f"{block[0]} is not a weight of a CLIP")
    return {f"{stem}.{PARTS[part]}.{kind}": value}


def _prefixed(name: str) -> str:
    for prefix, replacement in PREFIXES.items():
        if name.startswith(prefix):
            return replacement + name.removeprefix(prefix)
    raise ValueError(f"{name} is not a weight of a CLIP")
