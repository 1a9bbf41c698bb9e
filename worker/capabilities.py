"""What this worker has: told on its command line, or found out without importing torch."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from core.models import Device
from core.runs.capabilities import Capabilities

QUEUE = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)I?B?", re.IGNORECASE)
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
ASK = ("nvidia-smi", "--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits")
ASK_SECONDS = 20.0


@dataclass(frozen=True)
class Gpu:
    """One GPU that the driver tells of."""

    index: str
    uuid: str
    memory_bytes: int


def capabilities(queues: str, device: str, memory: str, nodes: int = 1) -> Capabilities:
    """Return what a worker has by its options; ``auto`` is found out.

    ValueError when an option makes no sense.
    """
    names = tuple(dict.fromkeys(name for name in queues.split(",") if name))
    wrong = [name for name in names if not QUEUE.fullmatch(name)]
    if wrong or not names:
        raise ValueError(f"--queues takes names such as default,big (a-z, 0-9, - and _), not {queues!r}")
    if device not in ("auto", *Device):
        raise ValueError(f"--device takes auto, cpu or gpu, not {device!r}")
    gpus = [] if device == Device.cpu else visible(installed_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    has_gpu = device == Device.gpu or bool(gpus)
    if memory != "auto":
        size: int | None = size_of(memory)
    elif has_gpu:
        size = min((gpu.memory_bytes for gpu in gpus), default=None)
    else:
        size = host_memory()
    number = max(1, len(gpus)) if has_gpu else 0
    if nodes < 1:
        raise ValueError(f"--nodes takes a number from 1, not {nodes}")
    return Capabilities(names, Device.gpu if has_gpu else Device.cpu, number, size, nodes)


def size_of(text: str) -> int:
    """Return the bytes of ``24GB``, ``512 MiB``; as everybody who sells memory, 1 GB is 2^30 bytes here."""
    found = SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"--memory takes a size such as 24GB, not {text!r}")
    return int(float(found[1]) * UNITS[found[2].upper()])


def installed_gpus() -> list[Gpu]:
    """Return the GPUs that NVIDIA's driver tells of; none where there is no driver."""
    try:
        told = subprocess.run(ASK, capture_output=True, text=True, timeout=ASK_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return read_gpus(told)


def read_gpus(told: str) -> list[Gpu]:
    """Return the GPUs in lines of ``0, GPU-1b2..., 24576``; one without a number of mebibytes is left out."""
    rows = ([part.strip() for part in line.split(",")] for line in told.splitlines())
    return [Gpu(row[0], row[1], int(row[2]) << 20) for row in rows if len(row) == 3 and row[2].isdigit()]


def visible(gpus: list[Gpu], chosen: str | None) -> list[Gpu]:
    """Return those that CUDA_VISIBLE_DEVICES leaves: by number or the beginning of their id, up to a -1."""
    if chosen is None:
        return gpus
    left: list[Gpu] = []
    for name in (word.strip() for word in chosen.split(",")):
        found = [
            gpu
            for gpu in gpus
            if name == gpu.index or (name.startswith("GPU-") and gpu.uuid.startswith(name))
        ]
        if not found:
            break
        left += found
    return left


def host_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes that processes here may use: the container's limit, or this machine's memory."""
    known = []
    for file in ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"):
        path = root / file
        if path.is_file() and (text := path.read_text().strip()).isdigit():
            known.append(int(text))
    path = root / "proc/meminfo"
    if path.is_file():
        known += [
            int(line.split()[1]) << 10
            for line in path.read_text().splitlines()
            if line.startswith("MemTotal:")
        ]
    return min(known, default=None)
