"""CLIP and its fine-tunings as scores: CLIP score, PickScore and HPSv2; and CLIP's pictures as features."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers import AutoConfig, CLIPConfig, CLIPModel, CLIPTokenizer, CLIPVisionModelWithProjection

from spin_engine.metrics.checkpoints import MAIN, place, reasons, weights
from spin_engine.metrics.choice import MetricChoice
from spin_engine.metrics.metric import Values
from spin_engine.metrics.open_clip import renamed
from spin_engine.metrics.pixels import in_batches, to_clip_pixels


@dataclass(frozen=True)
class Cosine:
    """A score: ``scale`` times the cosine of picture and caption in a CLIP's space (arXiv 2103.00020)."""

    model: Any
    """A CLIPModel, frozen, on its device."""
    tokenizer: Any
    """A CLIPTokenizer."""
    scale: float

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[Image.Image], captions: Sequence[str]) -> Values:
        """Return [N]."""
        found = []
        for part in in_batches(len(pictures)):
            image = embedded(self.model, pictures[part])
            text = self._texts(list(captions[part]))
            found.append((self.scale * functional.cosine_similarity(image, text)).double().cpu().numpy())
        return np.concatenate(found)

    def _texts(self, captions: list[str]) -> Tensor:
        """Return (B, D), not normalised; a caption longer than CLIP's window is cut."""
        tokens = self.tokenizer(
            captions,
            padding=True,
            truncation=True,
            max_length=self.model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        ).to(self.model.device)
        seen = self.model.text_model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
        return self.model.text_projection(seen.pooler_output)


def clip_score(choice: MetricChoice, device: torch.device) -> Cosine:
    """Return the CLIP score (arXiv 2104.08718 without its floor at 0): 100 cos."""
    return Cosine(_pretrained(choice, device), _tokenizer(choice), 100.0)


def pick_score(choice: MetricChoice, device: torch.device) -> Cosine:
    """Return PickScore (arXiv 2305.01569): the fine-tuned CLIP's own scale, about 100, times cos."""
    model = _pretrained(choice, device)
    return Cosine(model, _tokenizer(choice), float(model.logit_scale.exp()))


def human_preference(choice: MetricChoice, device: torch.device) -> Cosine:
    """Return HPSv2 (arXiv 2306.09341): cos in a fine-tuned CLIP ViT-H/14. Papers often report 100 times that.

    v2.0 and v2.1 are two checkpoints of one network, and their numbers do not compare. The weights may
    have the names of open_clip, as published, or those of transformers.
    """
    assert choice.network is not None, "HPSv2 needs weights"
    with reasons(choice.foundation):
        config = CLIPConfig.from_pretrained(place(choice.foundation), revision=choice.base_revision or MAIN)
    return Cosine(
        frozen(_filled(config, weights(choice.network, choice.revision), choice.network), device),
        _tokenizer(choice),
        1.0,
    )


def _filled(config: CLIPConfig, found: dict[str, Tensor], origin: str) -> CLIPModel:
    """Return the network with these weights; ValueError if they are of another."""
    if any(name.startswith("visual.") for name in found):
        found = renamed(found)
    model = CLIPModel(config)
    try:
        model.load_state_dict(
            {name: value for name, value in found.items() if not name.endswith("position_ids")}
        )
    except RuntimeError as error:
        raise ValueError(f"{origin} does not hold the weights of this CLIP: {error}") from error
    return model


@dataclass(frozen=True)
class ClipFeatures:
    """Features: a CLIP's projected picture vectors, not normalised; its vision part is enough."""

    model: Any
    """A CLIPModel or CLIPVisionModelWithProjection, frozen, on its device."""

    @classmethod
    def load(cls, model: str, revision: str | None, device: torch.device) -> "ClipFeatures":
        """Read ``model``, a folder or hub id."""
        with reasons(model):
            whole = AutoConfig.from_pretrained(place(model), revision=revision or MAIN).model_type == "clip"
            kind = CLIPModel if whole else CLIPVisionModelWithProjection
            loaded = kind.from_pretrained(place(model), revision=revision or MAIN, use_safetensors=True)
        return cls(frozen(loaded, device))

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[Image.Image]) -> Values:
        """Return [N, D]."""
        parts = [embedded(self.model, pictures[part]) for part in in_batches(len(pictures))]
        return torch.cat(parts).double().cpu().numpy()


def embedded(model: Any, pictures: Sequence[Image.Image]) -> Tensor:
    """Return the projected vectors (B, D) of one batch of pictures, not normalised."""
    vision = model.vision_model
    pixels = to_clip_pixels(pictures, vision.config.image_size).to(model.device)
    return model.visual_projection(vision(pixel_values=pixels).pooler_output)


def frozen(model: Any, device: torch.device) -> Any:
    """Return a network in float32, without gradients, on its device."""
    return model.requires_grad_(requires_grad=False).eval().float().to(device)


def pretrained_clip(model: str, revision: str | None, device: torch.device) -> Any:
    """Return the CLIPModel of a folder or hub id, frozen."""
    with reasons(model):
        return frozen(
            CLIPModel.from_pretrained(place(model), revision=revision or MAIN, use_safetensors=True), device
        )


def _pretrained(choice: MetricChoice, device: torch.device) -> Any:
    assert choice.network is not None, "a score needs a network"
    return pretrained_clip(choice.network, choice.revision, device)


def _tokenizer(choice: MetricChoice) -> Any:
    own = choice.foundation == choice.network
    revision = choice.revision if own else choice.base_revision
    with reasons(choice.foundation):
        return CLIPTokenizer.from_pretrained(place(choice.foundation), revision=revision or MAIN)
