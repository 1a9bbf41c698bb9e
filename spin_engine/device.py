"""Where the engine computes, and how: the same input gives the same bits on the same device."""

import diffusers.utils.logging
import torch
import transformers.utils.logging
from accelerate import Accelerator

from spin_engine.rendezvous import meet


def accelerator() -> Accelerator:
    """Return accelerate's view of device, precision and processes, with deterministic kernels.

    Precision is what ``accelerate launch`` or ACCELERATE_MIXED_PRECISION asks for: full by default,
    else bf16, or fp16 with a loss scale (``loss_scale``). Losses are in float32 whatever it is.
    """
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # set by the module
    torch.backends.cudnn.benchmark = False
    met = meet()
    made = Accelerator()
    del met
    if made.mixed_precision not in ("no", "bf16", "fp16"):
        raise ValueError(f"mixed precision {made.mixed_precision} is not supported: use no, bf16 or fp16")
    return made


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that the device's or the machine's memory ran out."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
