"""How much a training step holds beside weights and moments, worked out on tensors that have no memory.

The step runs on torch's fake tensors: shapes, dtypes and kernels are those of the target device, the numbers
do not exist. So what one step of any model at any size needs is known in seconds, on any machine.
"""

import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from spin_engine.families.family import Condition, Family
from spin_engine.families.loader import load
from spin_engine.hyperparameters import Hyperparameters
from spin_engine.sizes import Shapes
from spin_engine.weights import add_adapter

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Ledger(TorchDispatchMode):
    """Counts the bytes of what is made while it is in force and still lives."""

    def __init__(self) -> None:
        """Start at nothing."""
        super().__init__()
        self.bytes = 0
        self.peak = 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation and note what it made."""
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self._note(leaf.untyped_storage())
        return made

    def _note(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        self._known.add(storage)
        size = storage.nbytes()
        self.bytes += size
        self.peak = max(self.peak, self.bytes)
        weakref.finalize(storage, self._drop, size)

    def _drop(self, size: int) -> None:
        self.bytes -= size


@dataclass(frozen=True)
class Pass:
    """One forward and backward pass."""

    samples: int
    """Two for each pair."""
    shape: tuple[int, int, int]
    """(C, h, w) of a latent."""
    text: Shapes
    """Of one encoded caption, by name."""

    def tensors(self, device: torch.device) -> tuple[Tensor, Tensor, Condition]:
        """Return x_t (N, C, h, w), t (N,) and the condition, whose values mean nothing."""
        condition = {
            name: torch.zeros(self.samples, *shape, device=device) for name, shape in self.text.items()
        }
        x_t = torch.zeros(self.samples, *self.shape, device=device)
        return x_t, torch.ones(self.samples, device=device), condition


def step_bytes(
    base: Path,
    device: torch.device,
    settings: Hyperparameters,
    each: Pass,
    *,
    passes: int,
    precision: str = "no",
) -> int:
    """Return the most that a step's passes hold at one time: batch, activations, gradients, transients.

    Args:
        base: folder of the pipeline; no weights are read.
        device: where it would train.
        settings: adapter, rank and gradient_checkpointing count.
        each: pass of a step.
        passes: in a step; from the second on the gradients of the first are there already.
        precision: "no", "bf16" or "fp16", as accelerate names them.
    """
    family = load(base, None, device)
    layout, cls = family.layout, family.layout.denoiser
    with torch.device("meta"):
        denoiser = cls.from_config(cls.load_config(base, subfolder=layout.subfolder))
        if settings.rank is not None:
            add_adapter(layout, denoiser, rank=settings.rank, seed=0)
    for name, value in denoiser.named_parameters():
        value.requires_grad_(settings.rank is None or "lora_" in name)
    denoiser.train()
    if settings.gradient_checkpointing:
        denoiser.enable_gradient_checkpointing()
    ledger = Ledger()
    with FakeTensorMode(allow_non_fake_inputs=True):
        family.denoiser = denoiser.to_empty(device=device)
        with ledger:
            for _ in range(min(passes, 2)):
                forward_backward(family, each, precision=precision)
    return ledger.peak


def forward_backward(family: Family, each: Pass, *, precision: str = "no") -> None:
    """Do what a step does with the denoiser for one micro-batch, and leave the gradients."""
    x_t, t, condition = each.tensors(family.device)
    noise, target = torch.zeros_like(x_t), torch.ones_like(x_t)
    dtype = PRECISIONS.get(precision)
    with torch.autocast(family.device.type, dtype=dtype, enabled=dtype is not None):
        answer = family.predict(x_t + noise, t, condition)
    (answer.float() - target).square().mean(dim=(1, 2, 3)).mean().backward()
