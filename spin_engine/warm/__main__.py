"""``python -m spin_engine.warm FD``: the engine imported, and units forked from it. FD: see ``forking``."""

import os
import sys

from spin_engine.warm.forking import Main, serve


def engine() -> Main:
    """Import the engine, and what it imports, without a look at any device; return what runs it."""
    # Libraries ask torch for its devices while they are imported, and it opens the driver, which no fork
    # survives, unless it may ask NVML.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    from spin_engine.runtime import prepare_environment  # noqa: PLC0415  the title first: this takes time

    prepare_environment()
    import spin_engine.transfers.run  # noqa: PLC0415  imports torch, after its settings
    import spin_engine.unit  # noqa: F401, PLC0415  likewise
    from spin_engine.__main__ import main  # noqa: PLC0415  likewise

    return main


if __name__ == "__main__":
    sys.exit(serve(int(sys.argv[1]), engine))
