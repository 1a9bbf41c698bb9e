"""What Spindle adds to the work that no one can avoid, measured in one run: ``python -m bench``."""

import argparse
import json
import os
import platform
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from bench.measure import Comparison
from bench.rivals import measure_rivals
from bench.step import measure_step
from spin_engine.device import accelerator
from spin_engine.families.loader import load

STARTER = Path(__file__).resolve().parents[1] / "examples" / "emoji" / "model"


def main() -> None:
    """Measure everything; print a table, then JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--model", type=Path, default=STARTER, help="folder of a pipeline")
    parser.add_argument("--repeats", type=int, default=15, help="pairs of measurements")
    parser.add_argument("--pairs", type=int, nargs="+", default=[1, 16], help="pairs in a training step")
    parser.add_argument("--batch", type=int, default=16, help="rivals drawn at a time")
    parser.add_argument("--steps", type=int, default=20, help="sampler steps of a rival")
    parser.add_argument("--json", type=Path, help="write the JSON here too")
    args = parser.parse_args()
    found: dict[str, Any] = {}
    for pairs in args.pairs:
        with tempfile.TemporaryDirectory() as work:
            measured = measure_step(args.model, Path(work), pairs=pairs, repeats=args.repeats)
        found[f"train step, {pairs} pair{'s' * (pairs > 1)}"] = {
            **asdict(measured),
            "a_second": pairs / measured.ours,
            "unit": "pairs/s",
        }
    family = load(args.model, None, accelerator().device)
    for guidance in (1.0, 7.5):
        measured = measure_rivals(
            family, batch=args.batch, steps=args.steps, guidance=guidance, repeats=max(3, args.repeats // 3)
        )
        found[f"rivals, guidance {guidance:g}"] = {
            **asdict(measured),
            "a_second": args.batch / measured.ours,
            "unit": "rivals/s",
        }
    report = {"machine": _machine(), "model": args.model.name, "repeats": args.repeats, "measured": found}
    _show(found)
    print(json.dumps(report, indent=1))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


def _machine() -> dict[str, Any]:
    cuda = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if cuda else platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _show(found: dict[str, Any]) -> None:
    table = Table(title="Ours against the bare U-Net, medians of interleaved repeats")
    for name in ("what", "ours ms", "bare ms", "ours / bare", "rate"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for what, row in found.items():
        one = Comparison(row["ours"], row["bare"], row["ratio"])
        rate = f"{row['a_second']:.1f} {row['unit']}"
        table.add_row(what, f"{1000 * one.ours:.1f}", f"{1000 * one.bare:.1f}", f"{one.ratio:.3f}", rate)
    Console().print(table)


if __name__ == "__main__":
    main()
