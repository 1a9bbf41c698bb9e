"""Whether a step can be shared out among processes. Torch-free, to be asked before any is started."""

from spin_engine.hyperparameters import Hyperparameters


def refusal(settings: Hyperparameters, count: int) -> str | None:
    """Say why a batch cannot be shared out among so many processes; None: it can."""
    chunk = min(settings.micro_batch_size or settings.batch_size, settings.batch_size)
    return uneven(settings.batch_size, chunk if settings.aspect_buckets else None, count)


def uneven(batch_size: int, chunk: int | None, count: int) -> str | None:
    """Say what of a batch is not shared out evenly; None: nothing.

    Args:
        batch_size: looks in a step.
        chunk: looks that are of one bucket; None without buckets.
        count: processes.
    """
    if batch_size % count:
        return f"batch_size must be a multiple of the {count} processes, not {batch_size}"
    if chunk is not None and batch_size // chunk % count and chunk % count:
        return (
            f"with aspect_buckets and {count} processes, micro_batch_size, or the number of "
            "micro-batches in a batch, must be a multiple of the processes"
        )
    return None
