"""Several processes that train one set of weights: who looks at what, and where they meet.

Where each process holds all weights, gradients are averaged by one all-reduce behind the last micro-batch,
not inside the backward pass. So nobody waits in a collective while another runs out of memory, and the sum is
one process's up to rounding. Where accelerate's configuration splits the weights (``sharding``), every
pass is a collective, and gradients arrive averaged.
"""

from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import Tensor

from spin_engine.itinerary import Look
from spin_engine.optimizer import Optimizer
from spin_engine.policy import trained
from spin_engine.sharing import uneven

PIECE = 2**24
"""Numbers in one all-reduce: 64 MiB of float32."""
FOREIGN = (DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM)


class Processes:
    """The processes of this training, seen from one of them."""

    def __init__(self, accelerator: Accelerator) -> None:
        """Wrap accelerate's view; ValueError for an engine that has a training loop of its own."""
        kind = accelerator.distributed_type
        if kind in FOREIGN or (kind is DistributedType.FSDP and not accelerator.is_fsdp2):
            raise ValueError(
                f"accelerate is configured for {kind.value}; weights are split by use_fsdp with "
                "fsdp_version 2 (docs/distributed.md)"
            )
        self._accelerator = accelerator
        self.splits = splits(accelerator)
        self.device: torch.device = accelerator.device
        self.count: int = accelerator.num_processes
        self.is_main: bool = accelerator.is_main_process

    def prepare(self, denoiser: Any, optimizer: Optimizer) -> Any:
        """Return the denoiser as accelerate runs it: device, precision, split if so configured."""
        if self.splits:
            denoiser = _split(self._accelerator, denoiser, optimizer)
        return self._accelerator.prepare_model(denoiser, evaluation_mode=True)

    def check(self, batch_size: int, chunk: int | None) -> None:
        """Raise ValueError if the batch cannot be shared out evenly.

        Args:
            batch_size: looks in a step.
            chunk: looks that are of one bucket; None without buckets.
        """
        why = uneven(batch_size, chunk, self.count)
        if why is not None:
            raise ValueError(why)

    def share(self, looks: Sequence[Look], chunk: int | None) -> list[Sequence[Look]]:
        """Return what this process looks at, in groups of one bucket (one group without buckets)."""
        rank, count = self._accelerator.process_index, self.count
        if chunk is None:
            return [looks[rank::count]]
        chunks = [looks[start : start + chunk] for start in range(0, len(looks), chunk)]
        if len(chunks) % count == 0:
            return chunks[rank::count]
        return [one[rank::count] for one in chunks]

    def gather(self, row: Tensor) -> Tensor:
        """Return every process's row (K,), together (N, K) on the CPU."""
        if self.count == 1:
            return row[None].cpu()
        return self._accelerator.gather(row[None]).cpu()

    def any(self, *, flag: bool) -> bool:
        """Return whether the flag is up in any process."""
        if self.count == 1:
            return flag
        return bool(self.gather(torch.tensor([float(flag)], device=self.device)).any())

    def average(self, gradients: Sequence[Tensor]) -> None:
        """Replace gradients by their mean over the processes, alike in all of them."""
        if self.count == 1 or self.splits:
            return
        for piece in _pieces(gradients):
            flat = torch.cat([gradient.flatten() for gradient in piece])
            mean = self._accelerator.reduce(flat, reduction="mean")
            for gradient, part in zip(piece, mean.split([one.numel() for one in piece]), strict=True):
                gradient.copy_(part.view_as(gradient))

    def wait(self) -> None:
        """Wait until every process is here."""
        self._accelerator.wait_for_everyone()


def splits(accelerator: Accelerator) -> bool:
    """Return whether accelerate's configuration splits the weights between processes."""
    return accelerator.distributed_type is DistributedType.FSDP


def _split(accelerator: Accelerator, denoiser: Any, optimizer: Optimizer) -> Any:
    """Split the denoiser in place, and let the optimiser have what is left of its parameters here.

    Precision stays autocast's, as in one process: a policy that casts inputs would round times beyond 256 to
    other times.
    """
    accelerator.state.fsdp_plugin.mixed_precision_policy = None
    denoiser, _ = accelerator.prepare(denoiser, optimizer.adam)
    optimizer.parameters = trained(denoiser)
    return denoiser


def _pieces(gradients: Sequence[Tensor]) -> list[list[Tensor]]:
    """Return the gradients in their order, in pieces of about ``PIECE`` numbers."""
    pieces: list[list[Tensor]] = [[]]
    held = 0
    for gradient in gradients:
        if held and held + gradient.numel() > PIECE:
            pieces.append([])
            held = 0
        pieces[-1].append(gradient)
        held += gradient.numel()
    return pieces
