"""Weights, gradients and moments that are split between processes, as accelerate's configuration says.

``fully_shard`` (PyTorch's FSDP 2, after ZeRO stage 3, arXiv 1910.02054) keeps a part of every parameter in
each process, gathers a layer's when it is needed, and leaves each process its part of the mean gradient. A
checkpoint is nevertheless that of one process: tensors are gathered whole, one at a time, so that any number
of processes can go on from it. Whoever calls ``whole`` must do so in all of them.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor with all its parts, on every process; one that is not split as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part(tensor: Tensor) -> Tensor:
    """Return what of a tensor is here, sharing its memory; one that is not split as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def split_like(tensor: Tensor, pattern: Tensor) -> Tensor:
    """Return a whole tensor on the device of ``pattern``, split as that is."""
    tensor = tensor.to(pattern.device)
    if not isinstance(pattern, DTensor):
        return tensor
    return distribute_tensor(tensor, pattern.device_mesh, pattern.placements)


def is_split(tensors: Sequence[Tensor]) -> bool:
    """Return whether these tensors are split between processes."""
    return any(isinstance(tensor, DTensor) for tensor in tensors)


def norm(gradients: Sequence[Tensor]) -> Tensor:
    """Return the norm of all gradients, shape (), over all their parts."""
    if is_split(gradients):
        return whole(torch.nn.utils.get_total_norm(gradients))
    norms = torch._foreach_norm(list(gradients))  # noqa: SLF001  # on a CPU faster than get_total_norm
    return torch.linalg.vector_norm(torch.stack(norms))


def gathered(tensors: Mapping[str, Tensor], *, keep: bool) -> dict[str, Tensor]:
    """Return tensors with all their parts, on the CPU, where ``keep`` is set; nothing elsewhere."""
    found = {}
    for name, tensor in tensors.items():
        one = whole(tensor.detach())
        if keep:
            found[name] = one.cpu().contiguous()
    return found
