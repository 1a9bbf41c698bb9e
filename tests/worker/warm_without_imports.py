"""A warm process that imports nothing: its units are scripts, run by the code that runs the engine's."""

import sys
import threading
import time
from pathlib import Path

from spin_engine.warm import forking


def scripts() -> forking.Main:
    """Return what runs ``unit SCRIPT``."""
    if "a-thread" in sys.argv:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    if "a-crash" in sys.argv:
        raise ImportError("no torch")

    def main(arguments: list[str]) -> int:
        exec(Path(arguments[1]).read_text(), {})  # noqa: S102  scripts of the tests
        return 0

    return main


if __name__ == "__main__":
    sys.exit(forking.serve(int(sys.argv[-1]), scripts))
