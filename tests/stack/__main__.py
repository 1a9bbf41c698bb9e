"""``python -m tests.stack``: the composed stack, really run, and what it was seen to do."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.stack.engine import Refused, engine
from tests.stack.proofs import prove
from tests.stack.table import Proofs


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table, and return 1 when anything was not as it should be."""
    parser = argparse.ArgumentParser("python -m tests.stack", description=__doc__)
    parser.add_argument("--tag", help="run our images of this tag, which are there; build none")
    parser.add_argument("--markdown", action="store_true", help="print the table for a page")
    given = parser.parse_args(arguments)
    proofs = Proofs(tell=_tell)
    with tempfile.TemporaryDirectory(prefix="spindle-stack-", ignore_cleanup_errors=True) as folder:
        try:
            with engine(Path(folder)) as found:
                prove(found, Path(folder), proofs, tag=given.tag)
        except (Refused, AssertionError, OSError) as error:
            proofs.failed = "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])
    print(proofs.markdown() if given.markdown else proofs.text())
    if proofs.failed:
        print(f"\nFAILED: {proofs.failed}", file=sys.stderr)
    return 1 if proofs.failed else 0


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
