"""ImageReward v1.0 (arXiv 2304.05977): a BLIP that reads the caption while looking at the picture.

The text encoder attends to the picture's patches; the first token's state goes through a linear head, and
the result is centred and scaled to the spread of the authors' training pictures.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import BertTokenizer, BlipTextConfig, BlipVisionConfig
from transformers.models.blip.modeling_blip import BlipVisionModel
from transformers.models.blip.modeling_blip_text import BlipTextModel

from spin_engine.metrics.checkpoints import MAIN, place, reasons, weights
from spin_engine.metrics.choice import MetricChoice
from spin_engine.metrics.clip import frozen
from spin_engine.metrics.head import Head
from spin_engine.metrics.metric import Values
from spin_engine.metrics.pixels import in_batches, to_clip_pixels

MEAN, STD = 0.16717362830052426, 1.0333394966054072
TOKENS = 35
HEAD_WIDTH = 64
"""Of every attention head, in the ViT and in BERT: the checkpoint does not say how many heads there are."""
UNUSED = ("vision_proj.", "text_proj.")
"""Projections of BLIP's contrastive training, which the reward does not use."""
VISION = (
    (r"cls_token", "embeddings.class_embedding"),
    (r"pos_embed", "embeddings.position_embedding"),
    (r"patch_embed\.proj\.", "embeddings.patch_embedding."),
    (r"blocks\.(\d+)\.norm([12])\.", r"encoder.layers.\1.layer_norm\2."),
    (r"blocks\.(\d+)\.attn\.qkv\.", r"encoder.layers.\1.self_attn.qkv."),
    (r"blocks\.(\d+)\.attn\.proj\.", r"encoder.layers.\1.self_attn.projection."),
    (r"blocks\.(\d+)\.mlp\.", r"encoder.layers.\1.mlp."),
    (r"norm\.", "post_layernorm."),
)


class Network(nn.Module):
    """The picture's ViT, the text encoder that attends to it, and the head."""

    def __init__(self, vision: BlipVisionConfig, text: BlipTextConfig) -> None:
        """Build the network, untrained."""
        super().__init__()
        self.vision = BlipVisionModel(vision)
        self.text = BlipTextModel(text, add_pooling_layer=False)
        self.head = Head(text.hidden_size)

    def forward(self, pixels: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return rewards (B,) of pixels (B, 3, H, W) and tokens with their mask, both int64 (B, L)."""
        patches = self.vision(pixel_values=pixels).last_hidden_state
        seen = torch.ones(patches.shape[:2], dtype=torch.long, device=patches.device)
        read = self.text(
            input_ids=tokens,
            attention_mask=mask,
            encoder_hidden_states=patches,
            encoder_attention_mask=seen,
        )
        return (self.head(read.last_hidden_state[:, 0]) - MEAN) / STD


@dataclass(frozen=True)
class ImageReward:
    """A score: about 0 for the average of the authors' training pictures, with a spread of about 1."""

    network: Any
    tokenizer: Any
    device: torch.device

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[Image.Image], captions: Sequence[str]) -> Values:
        """Return [N]; captions are cut after 35 tokens, as the authors do."""
        found = []
        for part in in_batches(len(pictures)):
            tokens = self.tokenizer(
                list(captions[part]),
                padding="max_length",
                truncation=True,
                max_length=TOKENS,
                return_tensors="pt",
            ).to(self.device)
            pixels = to_clip_pixels(pictures[part], self.network.vision.config.image_size).to(self.device)
            rewards = self.network(pixels, tokens.input_ids, tokens.attention_mask)
            found.append(rewards.double().cpu().numpy())
        return np.concatenate(found)


def image_reward(choice: MetricChoice, device: torch.device) -> ImageReward:
    """Read the network from ``model``, with the names of ImageReward.pt, and the tokenizer from ``base``."""
    assert choice.network is not None, "ImageReward needs weights"
    found = weights(choice.network, choice.revision)
    try:
        renamed = _renamed(found)
        network = Network(*_shapes(renamed))
        network.load_state_dict(renamed)
    except (RuntimeError, KeyError) as error:
        raise ValueError(f"{choice.network} does not hold the weights of ImageReward: {error}") from error
    with reasons(choice.foundation):
        tokenizer = BertTokenizer.from_pretrained(
            place(choice.foundation), revision=choice.base_revision or MAIN
        )
    return ImageReward(frozen(network, device), tokenizer, device)


def _renamed(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights as ``Network`` names them."""
    given = {}
    for name, value in found.items():
        plain = name.removeprefix("blip.")
        if plain.startswith(UNUSED) or plain.endswith("position_ids"):
            continue
        if plain.startswith("visual_encoder."):
            given["vision." + _vision(plain.removeprefix("visual_encoder."))] = value
        elif plain.startswith("text_encoder."):
            given["text." + plain.removeprefix("text_encoder.")] = value
        else:
            given["head." + plain.removeprefix("mlp.")] = value
    return given


def _vision(name: str) -> str:
    for pattern, replacement in VISION:
        if re.match(pattern, name):
            return re.sub(f"^{pattern}", replacement, name)
    raise KeyError(f"visual_encoder.{name}")


def _shapes(found: dict[str, Tensor]) -> tuple[BlipVisionConfig, BlipTextConfig]:
    """Return the two configs that weights of these shapes belong to; KeyError if one is missing."""
    patch = found["vision.embeddings.patch_embedding.weight"]
    places = found["vision.embeddings.position_embedding"].shape[1] - 1
    words, width = found["text.embeddings.word_embeddings.weight"].shape
    vision = BlipVisionConfig(
        hidden_size=patch.shape[0],
        intermediate_size=found["vision.encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=_layers(found, r"vision\.encoder\.layers\.(\d+)\."),
        num_attention_heads=patch.shape[0] // HEAD_WIDTH,
        image_size=round(places**0.5) * patch.shape[2],
        patch_size=patch.shape[2],
        layer_norm_eps=1e-6,
    )
    text = BlipTextConfig(
        vocab_size=words,
        hidden_size=width,
        encoder_hidden_size=patch.shape[0],
        intermediate_size=found["text.encoder.layer.0.intermediate.dense.weight"].shape[0],
        num_hidden_layers=_layers(found, r"text\.encoder\.layer\.(\d+)\."),
        num_attention_heads=width // HEAD_WIDTH,
        max_position_embeddings=found["text.embeddings.position_embeddings.weight"].shape[0],
    )
    return vision, text


def _layers(found: dict[str, Tensor], pattern: str) -> int:
    return 1 + max(int(match[1]) for name in found if (match := re.match(pattern, name)))
