"""What loaded models take, measured; and what they may take."""

import ctypes
import gc
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

OF_THE_GPU, OF_THE_HOST = 0.6, 0.25
CGROUP = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def allowed(device: torch.device) -> int:
    """Return the bytes that models may take where nothing was said: most of a GPU, a part of a host."""
    if device.type == "cuda":
        return int(OF_THE_GPU * torch.cuda.get_device_properties(device).total_memory)
    host = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    host += [int(text) for path in CGROUP if path.is_file() and (text := path.read_text().strip()).isdigit()]
    return int(OF_THE_HOST * min(host))


def tensors_of(thing: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters and buffers of every network that a family has loaded so far, with their names."""
    for value in vars(thing).values():
        if isinstance(value, torch.nn.Module):
            yield from value.named_parameters()
            yield from value.named_buffers()
        elif type(value).__module__.startswith("spin_engine."):
            yield from tensors_of(value)


def size_of(tensors: Iterable[Tensor]) -> int:
    """Return the bytes that tensors hold, those that several share counted once."""
    storages = (tensor.untyped_storage() for tensor in tensors)
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def size_of_files(folder: Path) -> int:
    """Return the bytes of a folder's tensors on disk: what loading them will take, or half of it."""
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


def give_back() -> None:
    """Give memory that nothing holds any more back to the device and to the system."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
