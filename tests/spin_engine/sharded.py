"""``python -m spin_engine`` with accelerate's FSDP on the CPU, where accelerate itself leaves it off.

What the configuration says reaches the engine as on GPUs; only the check for their kind is passed by.
"""

import sys
from typing import Any

from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType

from spin_engine.__main__ import main

started = AcceleratorState.__init__


def start(self: AcceleratorState, *arguments: Any, fsdp_plugin: Any = None, **named: Any) -> None:
    """Take the configuration's plugin whatever the device."""
    started(self, *arguments, fsdp_plugin=fsdp_plugin, **named)
    if fsdp_plugin is not None:
        self.distributed_type = DistributedType.FSDP
        self.fsdp_plugin = fsdp_plugin


if __name__ == "__main__":
    AcceleratorState.__init__ = start  # type: ignore[method-assign]
    sys.exit(main(sys.argv[1:]))
