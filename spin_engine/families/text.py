"""Captions to tensors: a frozen text encoder of a pipeline with its tokenizer."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch


class TextEncoder:
    """``text_encoder[_N]`` and ``tokenizer[_N]`` of a pipeline, in float32, loaded at their first use."""

    def __init__(self, base: Path, device: torch.device, *, model: Any, tokenizer: Any, suffix: str) -> None:
        """Prepare.

        Args:
            base: folder of the pipeline.
            device: where the encoder runs.
            model: transformers' class of the encoder.
            tokenizer: transformers' class of the tokenizer.
            suffix: of both folders: "", "_2" or "_3".
        """
        self._base = base
        self._device = device
        self._classes = (model, tokenizer)
        self._suffix = suffix

    @cached_property
    def model(self) -> Any:
        """The encoder, frozen."""
        loaded = self._classes[0].from_pretrained(
            self._base, subfolder=f"text_encoder{self._suffix}", use_safetensors=True, dtype=torch.float32
        )
        return loaded.requires_grad_(requires_grad=False).eval().to(self._device)

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer."""
        return self._classes[1].from_pretrained(self._base, subfolder=f"tokenizer{self._suffix}")

    def __call__(
        self, captions: Sequence[str], *, longest: int | None = None, masked: bool = False, **options: Any
    ) -> Any:
        """Return the encoder's output for B captions, padded or cut to a common length of L tokens.

        Args:
            captions: B of them.
            longest: L is the tokenizer's own length, but no more than this.
            masked: whether the encoder is told which tokens are padding.
            options: more for the encoder's call.
        """
        length = self.tokenizer.model_max_length
        tokens = self.tokenizer(
            list(captions),
            padding="max_length",
            max_length=length if longest is None else min(length, longest),
            truncation=True,
            return_tensors="pt",
        )
        if masked:
            options["attention_mask"] = tokens.attention_mask.to(self._device)
        return self.model(tokens.input_ids.to(self._device), **options)
