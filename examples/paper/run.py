"""Run a job on all GPUs of a machine: rivals drawn in as many shards, each training in as many processes.

Run it at the top of the repository; the same command again goes on where it stopped:
    python examples/paper/run.py configs/paper/sd15_iter1.yaml --out runs/paper/iter1 --gpus 8

The folders are those of ``python -m spin_engine CONFIG --out DIR``, which runs the same job on one GPU, and
which is called in the end: it finds every unit done, and publishes the model.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from spin_engine import checkpoint
from spin_engine.config import JobConfig
from spin_engine.files import move_folder
from spin_engine.job import Planned, claim, planned, read_job
from spin_engine.unit_spec import UnitSpec

ENGINE = ("-m", "spin_engine", "unit")


def specs(job: JobConfig, unit: Planned, shards: int) -> list[Path]:
    """Write what the processes of a unit read; one spec for each shard of rivals, else one."""
    partial = unit.out.with_name(f"{unit.out.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    written = []
    for shard in range(shards):
        spec = UnitSpec(
            kind=unit.kind,
            method=job.method,
            seed=job.seed,
            iteration=unit.iteration,
            shard=shard,
            shards=shards,
            inputs={name: place for name, place in unit.inputs.items() if isinstance(place, Path)},
            sources={name: place for name, place in unit.inputs.items() if isinstance(place, str)},
            out=partial,
            resume=checkpoint.newest(unit.out.parent / "checkpoints") if unit.kind == "train" else None,
        )
        written.append(unit.out.with_name(f"{unit.out.name}-{shard}.json"))
        written[-1].write_text(spec.model_dump_json(indent=2) + "\n")
    return written


def run(job: JobConfig, unit: Planned, *, gpus: int) -> None:
    """Run one unit and let its folder appear; SystemExit with the exit code of a process that failed."""
    if unit.kind == "train":
        launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(gpus)]
        commands = [[sys.executable, "-m", *launcher, *ENGINE, str(spec)] for spec in specs(job, unit, 1)]
        places: list[dict[str, str]] = [{}]
    else:
        written = specs(job, unit, gpus if unit.kind == "generate" else 1)
        commands = [[sys.executable, *ENGINE, str(spec)] for spec in written]
        places = [{"CUDA_VISIBLE_DEVICES": str(number)} for number in range(len(commands))]
    children = [
        subprocess.Popen(command, env=os.environ | place)
        for command, place in zip(commands, places, strict=True)
    ]
    codes = [child.wait() for child in children]
    if failed := [code for code in codes if code]:
        sys.exit(failed[0])
    move_folder(unit.out.with_name(f"{unit.out.name}.partial"), unit.out)


def main() -> None:
    """Run what is missing, and publish."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--gpus", type=int, required=True)
    parser.add_argument("--precision", choices=["no", "bf16", "fp16"], default="bf16")
    args = parser.parse_args()
    job = read_job(args.config)
    args.out.mkdir(parents=True, exist_ok=True)
    claim(job, args.out)
    os.environ["ACCELERATE_MIXED_PRECISION"] = args.precision
    for unit in planned(job, args.out):
        if not unit.out.exists():
            run(job, unit, gpus=args.gpus)
    sys.exit(subprocess.call([sys.executable, "-m", "spin_engine", str(args.config), "--out", str(args.out)]))


if __name__ == "__main__":
    main()
