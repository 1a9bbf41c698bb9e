"""Runs work units in processes that need not import torch again: one a line, forked from this one.

A line on stdin names a spec and a file for the unit's stdout; the answers are the child's pid, at once, and
its exit code, when it is gone. Nothing has been computed here: a child starts as a fresh interpreter would.
"""

import os
import sys

import spin_engine.unit  # noqa: F401  # brings torch and diffusers
from spin_engine.__main__ import main


def serve() -> None:
    """Answer until stdin ends."""
    for line in sys.stdin:
        spec, told = line.rstrip("\n").split("\t")
        child = os.fork()
        if child == 0:
            os.dup2(os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 1)
            os._exit(main(["unit", spec]))
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
