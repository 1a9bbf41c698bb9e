"""The LAION aesthetic predictor, sac+logos+ava1-l14-linearMSE: how much people would like a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from spin_engine.metrics.checkpoints import weights
from spin_engine.metrics.choice import MetricChoice
from spin_engine.metrics.clip import embedded, frozen, pretrained_clip
from spin_engine.metrics.head import Head
from spin_engine.metrics.metric import Values
from spin_engine.metrics.pixels import in_batches

FIRST = "layers.0.weight"


@dataclass(frozen=True)
class Aesthetic:
    """A score from 1 to 10 that no caption changes: a linear head on CLIP ViT-L/14's normalised vector."""

    clip: Any
    """A CLIPModel, frozen, on its device."""
    head: Head

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[Image.Image], captions: Sequence[str]) -> Values:
        """Return [N]."""
        assert len(pictures) == len(captions), "a caption a picture"
        found = [
            self.head(functional.normalize(embedded(self.clip, pictures[part])))
            for part in in_batches(len(pictures))
        ]
        return np.concatenate([values.double().cpu().numpy() for values in found])


def aesthetic(choice: MetricChoice, device: torch.device) -> Aesthetic:
    """Read the head from ``model`` and its CLIP from ``base``."""
    assert choice.network is not None, "the head needs weights"
    head = head_of(weights(choice.network, choice.revision), choice.network)
    clip = pretrained_clip(choice.foundation, choice.base_revision, device)
    if clip.config.projection_dim != head.layers[0].in_features:
        raise ValueError(f"{choice.network} is a head for another CLIP than {choice.foundation}")
    return Aesthetic(clip, frozen(head, device))


def head_of(found: dict[str, torch.Tensor], origin: str) -> Head:
    """Return the head with these weights; ValueError if they are of something else."""
    if FIRST not in found:
        raise ValueError(f"{origin} is not an aesthetic head: it has no {FIRST}")
    head = Head(found[FIRST].shape[1])
    try:
        head.load_state_dict(found)
    except RuntimeError as error:
        raise ValueError(f"{origin} is not an aesthetic head: {error}") from error
    return head
