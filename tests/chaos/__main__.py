"""``python -m tests.chaos``: the real stack under faults, and whether it kept every promise."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.chaos import table
from tests.chaos.driver import run
from tests.chaos.schedule import VICTIMS, schedule


def main() -> int:
    """Run, print the table, and return 1 when any invariant was broken."""
    parser = argparse.ArgumentParser("python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="decides which faults come in which order")
    parser.add_argument("--faults", type=int, default=40, help="how many")
    parser.add_argument("--workers", type=int, default=2, help="units workers")
    parser.add_argument("--only", choices=VICTIMS, help="leave the other victims alone")
    parser.add_argument("--markdown", action="store_true", help="print the table for a page")
    parser.add_argument("--keep", type=Path, help="folder for logs and work, which then stays")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="spindle-chaos-", ignore_cleanup_errors=True) as scratch:
        folder = given.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        planned = schedule(given.seed, given.faults, only=given.only)
        outcome = run(folder.resolve(), planned=planned, workers=given.workers, tell=_tell)
    print(table.markdown(outcome) if given.markdown else table.text(outcome))
    print(f"\n{table.summary(outcome)}")
    for breach in outcome.breaches:
        print(f"BREACH {breach.invariant}: {breach.job or 'the platform'} {breach.text}", file=sys.stderr)
    for fault in outcome.missed:
        print(f"missed: {fault.victim} at {fault.moment}", file=sys.stderr)
    return 1 if outcome.breaches else 0


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
