"""What a unit needs and what a worker has: the queue, the device, its memory. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.models.states import DEFAULT_QUEUE, Device, UnitKind

GIB = 1 << 30
ASIDE = frozenset({UnitKind.ingest, UnitKind.export, UnitKind.import_})
"""What somebody waits for, of no job: a worker of its own keeps it from waiting behind a training."""
ANYWHERE = ASIDE | {UnitKind.publish}
"""Reading archives and copying files: any processor."""


@dataclass(frozen=True)
class Capabilities:
    """What a worker has.

    Attributes:
        queues: whose units it claims.
        device: what it computes on; a worker with a GPU does what needs none as well.
        gpus: how many it has, for which a project pays while it works.
        memory_bytes: of its device; None: not known, and taken to be enough.
        nodes: how many workers like it train a unit together; 1: it trains alone.
    """

    queues: tuple[str, ...] = (DEFAULT_QUEUE,)
    device: Device = Device.gpu
    gpus: int = 0
    memory_bytes: int | None = None
    nodes: int = 1


@dataclass(frozen=True)
class Need:
    """What a unit needs of a worker; ``nodes``: one that trains with so many, for a seat of a gang."""

    kind: UnitKind
    queue: str = DEFAULT_QUEUE
    device: Device = Device.cpu
    memory_bytes: int = 0
    nodes: int | None = None


@dataclass(frozen=True)
class Node:
    """A worker that lives."""

    name: str
    kinds: frozenset[UnitKind]
    has: Capabilities


def fits(need: Need, node: Node) -> bool:
    """Tell whether a worker could run a unit; the claim asks the same in SQL (core.runs.candidates)."""
    return need.kind in node.kinds and _has(need, node.has)


def _has(need: Need, has: Capabilities) -> bool:
    enough = has.memory_bytes is None or has.memory_bytes >= need.memory_bytes
    if need.nodes not in (None, has.nodes):
        return False
    return need.queue in has.queues and (need.device is Device.cpu or has.device is Device.gpu) and enough


def device_of(kind: UnitKind, *, asked: Device) -> Device:
    """Return what a unit of a job computes on that asked for a device."""
    return Device.cpu if kind in ANYWHERE else asked


def memory_of(kind: UnitKind, *, weights: int, training: int) -> int:
    """Return the bytes that a unit needs at least, from what is known of its job; 0: not known, or little.

    Args:
        kind: of the unit.
        weights: of the denoiser.
        training: what a training process holds of it.
    """
    match kind:
        case UnitKind.train:
            return training
        case UnitKind.generate | UnitKind.evaluate:
            return weights
    return 0


def waits_for(needs: Iterable[Need], nodes: Sequence[Node]) -> str | None:
    """Say which worker is missing for the first of some units that none could ever run; None: none is."""
    for need in needs:
        if not any(fits(need, node) for node in nodes):
            kind = (
                f" that takes {need.kind.value} units" if any(_has(need, each.has) for each in nodes) else ""
            )
            return said(need) + kind
        if need.kind is UnitKind.train and (few := _too_few(need, nodes)) is not None:
            return few
    return None


def enough(need: Need, nodes: Iterable[Node]) -> bool:
    """Tell whether these workers could run a unit: one that does it alone, or as many as train together."""
    sizes = Counter(node.has.nodes for node in nodes if fits(need, node))
    return any(need.kind is not UnitKind.train or number >= size for size, number in sizes.items())


def _too_few(need: Need, nodes: Sequence[Node]) -> str | None:
    """Say how many workers are missing for a gang, where nobody trains alone; None: a gang is complete."""
    if enough(need, nodes):
        return None
    sizes = Counter(node.has.nodes for node in nodes if fits(need, node))
    missing, size = min((size - number, size) for size, number in sizes.items())
    more = "1 more worker" if missing == 1 else f"{missing} more workers"
    return f"{more} with --nodes {size} on queue {need.queue}"


def said(need: Need) -> str:
    """Return ``a worker with a GPU of 24 GB on queue big``."""
    gigabytes = -(-need.memory_bytes // GIB)
    size = f" of {gigabytes} GB" if need.memory_bytes else ""
    if need.device is Device.gpu:
        return f"a worker with a GPU{size} on queue {need.queue}"
    return f"a worker{f' with memory{size}' if size else ''} on queue {need.queue}"
