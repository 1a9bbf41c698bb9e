"""The models used last, loaded: parts that several share are there once, and what is unused longest goes."""

import copy
import logging
from collections import OrderedDict
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from spin_engine import weights as weights_folder
from spin_engine.families.family import Family
from spin_engine.families.loader import load
from spin_engine.serving import memory

log = logging.getLogger(__name__)

Key = tuple[Path, Path | None]
"""A base, and the weights on top of it, or None."""


@dataclass(frozen=True)
class Loaded:
    """A model that is in memory.

    A base holds text encoders and the autoencoder for all weights on top of it. Weights that are an adapter
    stand beside the base's own denoiser, under the name ``adapter``; others are a denoiser of their own.
    """

    family: Family
    adapter: str | None = None


class Warm:
    """Keeps models in memory, up to so many bytes; the one that is asked for stays whatever it takes."""

    def __init__(self, *, limit: int, device: torch.device) -> None:
        """Hold at most ``limit`` bytes on ``device``; 0: what is reasonable there."""
        self.device = device
        self.limit = limit or memory.allowed(device)
        self._loaded: OrderedDict[Key, Loaded] = OrderedDict()
        self._names = count(1)

    def __contains__(self, key: Key) -> bool:
        return key in self._loaded

    def __len__(self) -> int:
        return len(self._loaded)

    @property
    def bytes(self) -> int:
        """What all of them take."""
        return memory.size_of(tensor for each in self._loaded.values() for _, tensor in _tensors(each))

    def family(self, base: Path, weights: Path | None) -> Family:
        """Return the family of ``base`` with ``weights``, loading what of it is not there."""
        wanted: list[Key] = [(base, None)] + ([] if weights is None else [(base, weights)])
        missing = [key for key in wanted if key not in self._loaded]
        if missing:
            self._make_room(sum(memory.size_of_files(key[1] or key[0]) for key in missing), wanted)
        for key in missing:
            self._loaded[key] = self._load(*key)
        for key in wanted:
            self._loaded.move_to_end(key)
        chosen = self._loaded[wanted[-1]]
        if chosen.adapter is not None or weights is None:
            weights_folder.use_adapter(chosen.family.denoiser, chosen.adapter)
        return chosen.family

    def settle(self, base: Path, weights: Path | None) -> None:
        """Let go of what is too much, now that all parts of what was used are loaded and measured."""
        self._make_room(0, [(base, None), (base, weights)])

    def forget(self, base: Path, weights: Path | None) -> None:
        """Drop a model, so that its next use loads it again; of a base, all that stands on it too."""
        for key in [key for key in self._loaded if key[0] == base and weights in (None, key[1])]:
            self._drop(key)

    def alone(self, base: Path, weights: Path | None) -> None:
        """Drop every model but one, and give their memory back."""
        for key in reversed(list(self._loaded)):  # adapters are younger than their base
            if key not in ((base, None), (base, weights)):
                self._drop(key)
        memory.give_back()

    def _load(self, base: Path, weights: Path | None) -> Loaded:
        if weights is None:
            return Loaded(load(base, None, self.device))
        shared = self._loaded[base, None].family
        if weights_folder.kind_of(weights) == "lora":
            name = f"adapter{next(self._names)}"
            try:
                weights_folder.load_adapter(shared.layout, shared.denoiser, weights, self.device, name=name)
            except Exception:
                self.forget(base, None)  # half of an adapter may stand beside it
                raise
            return Loaded(shared, name)
        own = copy.copy(shared)  # its encoders are the very same
        own.denoiser = weights_folder.load(shared.layout, base, weights, self.device)
        return Loaded(own)

    def _make_room(self, coming: int, wanted: list[Key]) -> None:
        dropped = False
        while self._loaded and self.bytes + coming > self.limit:
            standing = {base for base, weights in self._loaded if weights is not None}
            idle = (
                key
                for key in self._loaded
                if key not in wanted and (key[1] is not None or key[0] not in standing)
            )
            oldest = next(idle, None)
            if oldest is None:
                break
            self._drop(oldest)
            dropped = True
        if dropped:
            memory.give_back()

    def _drop(self, key: Key) -> None:
        gone = self._loaded.pop(key, None)
        if gone is None:
            return
        log.info("dropped %s", key[1] or key[0])
        if gone.adapter is not None and (key[0], None) in self._loaded:
            weights_folder.drop_adapter(gone.family.denoiser, gone.adapter)


def _tensors(loaded: Loaded) -> list[tuple[str, Tensor]]:
    return list(memory.tensors_of(loaded.family))
