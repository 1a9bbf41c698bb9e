"""What Spindle's work costs, each ratio measured in one run: ``python -m bench``.

``python -m bench fanout`` measures what more workers are worth.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from bench import fanout
from bench.measure import Comparison
from bench.memory import full_fine_tunes
from bench.prepared import prepare
from bench.rivals import SAMPLERS, measure_latents, measure_rivals, measure_samplers
from bench.step import WARM_UP, measure_dpo, measure_reference, measure_step
from spin_engine.device import accelerator
from spin_engine.families.loader import load

STARTER = Path(__file__).resolve().parents[1] / "examples" / "emoji" / "model"
MEGABYTE = 1e6
STEPS_FOR_MEMORY = 3


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    against: str
    ours: float
    other: float
    unit: str
    ratio: float
    """Ours / other for costs, other / ours where it says "times faster" or a rate."""
    asked: str

    @classmethod
    def of(
        cls, what: str, against: str, found: Comparison, asked: str = "", *, faster: bool = False
    ) -> "Row":
        """Return the line of two times; ``faster``: how many times faster ours is."""
        ratio = 1 / found.ratio if faster else found.ratio
        return cls(what, against, 1000 * found.ours, 1000 * found.bare, "ms", ratio, asked)


def main() -> None:
    """Measure everything; print a table, then JSON."""
    if sys.argv[1:2] == ["fanout"]:
        fanout.main(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--model", type=Path, default=STARTER, help="folder of a Stable Diffusion pipeline")
    parser.add_argument("--repeats", type=int, default=15, help="pairs of measurements")
    parser.add_argument("--pairs", type=int, nargs="+", default=[1, 16], help="pairs in a training step")
    parser.add_argument("--batch", type=int, default=16, help="rivals drawn at a time")
    parser.add_argument("--steps", type=int, default=20, help="sampler steps of a rival")
    parser.add_argument("--json", type=Path, help="write the JSON here too")
    args = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as work:
        for row in chain(_training(args, Path(work)), _drawing(args)):
            print(f"{row.what}: {row.ratio:.3f}", flush=True)
            found.append(row)
    report = {
        "machine": _machine(),
        "model": args.model.name,
        "repeats": args.repeats,
        "measured": [asdict(row) for row in found],
    }
    _show(found)
    print(json.dumps(report, indent=1))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


def _training(args: argparse.Namespace, work: Path) -> Iterator[Row]:
    for pairs in args.pairs:
        folder = work / f"{pairs}"
        made = prepare(args.model, folder, pairs=pairs, steps=args.repeats + WARM_UP)
        label = f"{pairs} pair{'s' * (pairs > 1)}"
        bare = measure_step(made, folder / "step")
        yield Row.of(f"SPIN step, {label}", "bare U-Net and AdamW", bare, "<= 1.10")
        online = measure_reference(made, repeats=args.repeats)
        yield Row.of(f"reference cached, {label}", "online", online)
        dpo = measure_dpo(made, folder / "dpo")
        yield Row.of(f"times faster, {label}", "Diffusion-DPO's step", dpo, ">= 1.6", faster=True)
    peaks = full_fine_tunes(made, folder / "memory", steps=STEPS_FOR_MEMORY)
    for other, asked in (("supervised", "<= 1.05"), ("online", "")):
        bytes_ = getattr(peaks, other)
        ours, theirs = peaks.cached / MEGABYTE, bytes_ / MEGABYTE
        yield Row(f"peak memory, {label}, cached", other, ours, theirs, "MB", ours / theirs, asked)


def _drawing(args: argparse.Namespace) -> Iterator[Row]:
    family = load(args.model, None, accelerator().device)
    few = max(3, args.repeats // 5)
    for guidance in (1.0, 7.5):
        found = measure_rivals(family, batch=args.batch, steps=args.steps, guidance=guidance, repeats=few)
        yield Row.of(f"rivals, guidance {guidance:g}", "bare U-Net", found, "<= 1.10")
    found = measure_latents(family, batch=args.batch, steps=args.steps, repeats=few)
    yield Row.of("rivals kept as latents", "decoded, encoded again", found)
    rates = measure_samplers(family, SAMPLERS, batch=args.batch, repeats=max(1, few // 2))
    first = next(iter(rates.values()))
    for sampler, rate in rates.items():
        name = f"{sampler.name}, {sampler.steps} steps, guidance {sampler.guidance:g}"
        yield Row(name, f"{SAMPLERS[0].steps} steps", rate, first, "/s", rate / first, "")


def _machine() -> dict[str, Any]:
    cuda = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if cuda else platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": os.getloadavg()[0],
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _show(found: list[Row]) -> None:
    table = Table(title="Medians of interleaved repeats")
    for name in ("what", "against", "ours", "other", "ratio", "asked"):
        table.add_column(name, justify="left" if name in ("what", "against") else "right")
    for row in found:
        values = (f"{value:.1f} {row.unit}" for value in (row.ours, row.other))
        table.add_row(row.what, row.against, *values, f"{row.ratio:.3f}", row.asked)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
