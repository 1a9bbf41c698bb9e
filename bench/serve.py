"""``python -m bench.serve``: the whole platform against plain, sequential diffusers, in one run.

Ours is ``spindle up`` with everything in one folder, asked over HTTP for one picture a request; theirs is a
loop around ``StableDiffusionPipeline``, with the same model, solver, steps, guidance and size, in this
process. One client and the loop take turns, so that a busy machine slows both; processor time, which that
does not change, is told beside.
"""

import argparse
import io
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file, save_file

STARTER = Path(__file__).resolve().parents[1] / "examples" / "emoji" / "model"
ROOT = Path(__file__).resolve().parents[1]
PROMPT = "a red fox"
READY_SECONDS = 180.0
WORDS = re.compile(r"[\0 ()]")
UNET = "unet/diffusion_pytorch_model.safetensors"


@dataclass
class Served:
    """A platform that runs, and how pictures are asked of it."""

    url: str
    key: str
    pid: int
    steps: int
    seeds: Iterator[int] = field(default_factory=count)

    def client(self) -> httpx.Client:
        """Return a connection."""
        told = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=self.url, headers=told, timeout=600, trust_env=False)

    def draw(self, client: httpx.Client, model: str, *, steps: int | None = None) -> None:
        """Ask for one picture and wait for it."""
        asked = {"model": model, "prompt": PROMPT, "seed": next(self.seeds), "steps": steps or self.steps}
        answer = client.post("/v1/images/generations", json=asked)
        answer.raise_for_status()
        assert answer.json()["data"][0]["b64_json"], "the picture is in the answer"


@dataclass(frozen=True)
class Speed:
    """Seconds of one picture, and pictures a second, of ours and of the plain loop's.

    ``*_cpu_seconds`` are of all processes that take part, for one picture.
    """

    plain_seconds: float
    plain_cpu_seconds: float
    one_client_seconds: float
    one_client_cpu_seconds: float
    one_client_ratio: float
    clients: int
    pictures_per_second: float
    times_plain: float
    clients_cpu_seconds: float


@dataclass(frozen=True)
class Memory:
    """Resident megabytes of the processes that serve, in parts of a run over many models."""

    requests: int
    models: int
    seconds: float
    megabytes: list[float]
    grown: float
    """Of the last part over the second; the first warms up."""


@contextmanager
def served(
    folder: Path, *, models: Path | None = None, steps: int = 20, memory_bytes: int = 0
) -> Iterator[Served]:
    """Run a platform of its own in a folder."""
    told = {"SPINDLE_REQUESTS_PER_MINUTE": "0", "SPINDLE_SERVE_MEMORY_BYTES": str(memory_bytes)}
    if models is not None:
        told["SPINDLE_BASE_MODELS"] = str(models)
    command = [sys.executable, "-m", "spindle", "up", "--port", "0", "--until-stdin-closes"]
    process = subprocess.Popen(
        [*command, "--state", str(folder)],
        env=os.environ | told,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    try:
        url = _until(lambda: (folder / "url").is_file() and (folder / "url").read_text().strip())
        yield Served(url, (folder / "key").read_text().strip(), process.pid, steps)
    finally:
        assert process.stdin is not None, "it was started with a pipe"
        process.stdin.close()  # what keeps it running
        process.wait(60)


def plain(model: Path, *, steps: int) -> Callable[[], None]:
    """Return what draws one picture as anybody would by hand, to a PNG file in memory."""
    pipeline = StableDiffusionPipeline.from_pretrained(model, safety_checker=None, feature_extractor=None)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(
        pipeline.scheduler.config, timestep_spacing="linspace"
    )
    seeds = count()

    def draw() -> None:
        generator = torch.Generator().manual_seed(next(seeds))
        drawn = pipeline(PROMPT, num_inference_steps=steps, guidance_scale=7.5, generator=generator)
        drawn.images[0].save(io.BytesIO(), "PNG")

    return draw


def measure_speed(
    platform: Served, draw: Callable[[], None], *, model: str, clients: int, pictures: int, repeats: int
) -> Speed:
    """Let one client and the loop take turns, then let many clients ask at once."""
    pairs: list[tuple[float, float]] = []
    spent: list[tuple[float, float]] = []
    with platform.client() as client:
        for turn in range(repeats + 1):
            before = processor_seconds(platform.pid)
            ours = _seconds(lambda: platform.draw(client, model))
            between, own = processor_seconds(platform.pid), time.process_time()
            theirs = _seconds(draw)
            if turn:  # the first warms up
                pairs.append((ours, theirs))
                spent.append((between - before, time.process_time() - own))
    before, began = processor_seconds(platform.pid), time.perf_counter()
    _at_once(platform, clients, [model] * pictures)
    rate = pictures / (time.perf_counter() - began)
    theirs = statistics.median(each for _, each in pairs)
    return Speed(
        plain_seconds=theirs,
        plain_cpu_seconds=statistics.median(each for _, each in spent),
        one_client_seconds=statistics.median(each for each, _ in pairs),
        one_client_cpu_seconds=statistics.median(each for each, _ in spent),
        one_client_ratio=statistics.median(ours / other for ours, other in pairs),
        clients=clients,
        pictures_per_second=rate,
        times_plain=rate * theirs,
        clients_cpu_seconds=(processor_seconds(platform.pid) - before) / pictures,
    )


def _at_once(
    platform: Served,
    clients: int,
    models: Sequence[str],
    *,
    steps: int | None = None,
    each: Callable[[], None] = lambda: None,
) -> None:
    """Let clients ask for a picture by each model, each client again when it has its picture."""
    waiting, guard = list(reversed(models)), threading.Lock()

    def ask(_: int) -> None:
        with platform.client() as client:
            while True:
                with guard:
                    if not waiting:
                        return
                    model = waiting.pop()
                platform.draw(client, model, steps=steps)
                each()

    with ThreadPoolExecutor(clients) as pool:
        for _ in pool.map(ask, range(clients)):
            continue


def make_models(folder: Path, model: Path, *, number: int) -> list[str]:
    """Write models that differ a little in their weights; return their names."""
    names = [f"model-{index:02d}" for index in range(number)]
    for index, name in enumerate(names):
        shutil.copytree(model, folder / name)
        weights = load_file(folder / name / UNET)
        torch.manual_seed(index)
        changed = {key: each + 1e-4 * torch.randn_like(each) for key, each in weights.items()}
        save_file(changed, folder / name / UNET, metadata={"format": "pt"})
    return names


def measure_memory(
    platform: Served, names: list[str], *, requests: int, clients: int, parts: int = 5
) -> Memory:
    """Ask for pictures by many models, some often and some seldom, and watch what the processes hold."""
    chooser = random.Random(0)
    weights = [1 / (rank + 1) for rank in range(len(names))]
    chosen = [*names, *chooser.choices(names, weights, k=requests - len(names))]
    began, held = time.perf_counter(), []
    for part in range(parts):
        some = chosen[part * requests // parts : (part + 1) * requests // parts]
        seen: list[float] = []
        _at_once(platform, clients, some, steps=2, each=partial(_note_memory, platform, seen))
        held.append(statistics.median(seen))
    seconds = time.perf_counter() - began
    return Memory(requests, len(names), seconds, held, held[-1] / held[1])


def _note_memory(platform: Served, seen: list[float]) -> None:
    pages = sum(int(told.split()[1]) for told in _told_of(platform.pid, "statm"))
    seen.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)


def processor_seconds(pid: int) -> float:
    """Return what the processes that serve have used up of the processor so far."""
    fields = [told.rpartition(")")[2].split() for told in _told_of(pid, "stat")]
    return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


def _told_of(pid: int, file: str) -> list[str]:
    """Return what the kernel tells of the processes below one that serve the API or draw."""
    children: dict[int, list[Path]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _read(entry / "stat")):
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(entry)
    found, waiting = [], list(children.get(pid, []))
    while waiting:
        entry = waiting.pop()
        waiting += children.get(int(entry.name), [])
        words = WORDS.split(_read(entry / "cmdline"))  # a Celery worker's is a title
        if {"api", "serve"} & set(words) and (told := _read(entry / file)):
            found.append(told)
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _until(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + READY_SECONDS
    while not (value := found()):
        assert time.monotonic() < deadline, "the platform did not get ready"
        time.sleep(0.1)
    return value


def main() -> None:
    """Measure; print a table, then JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.serve", description=__doc__)
    parser.add_argument("--clients", type=int, default=16, help="that ask at once")
    parser.add_argument("--pictures", type=int, default=160, help="that they ask for in all")
    parser.add_argument("--repeats", type=int, default=15, help="turns of one client and the loop")
    parser.add_argument("--steps", type=int, default=20, help="sampler steps")
    parser.add_argument("--requests", type=int, default=1000, help="while memory is watched; 0: not at all")
    parser.add_argument("--models", type=int, default=20, help="that these are spread over")
    parser.add_argument("--memory-megabytes", type=int, default=250, help="what models may take meanwhile")
    parser.add_argument("--json", type=Path, help="write the JSON here too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        speed = _speed(args, Path(work))
        memory = _memory(args, Path(work)) if args.requests else None
    report = {
        "machine": {"cores": os.cpu_count(), "load": os.getloadavg()[0], "torch": torch.__version__},
        "speed": asdict(speed),
        "memory": None if memory is None else asdict(memory),
    }
    _show(speed, memory)
    print(json.dumps(report, indent=1))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


def _speed(args: argparse.Namespace, work: Path) -> Speed:
    with served(work / "speed", steps=args.steps) as platform:
        return measure_speed(
            platform,
            plain(STARTER, steps=args.steps),
            model="starter",
            clients=args.clients,
            pictures=args.pictures,
            repeats=args.repeats,
        )


def _memory(args: argparse.Namespace, work: Path) -> Memory:
    names = make_models(work / "models", STARTER, number=args.models)
    most = args.memory_megabytes * 1_000_000
    with served(work / "memory", models=work / "models", memory_bytes=most) as platform:
        return measure_memory(platform, names, requests=args.requests, clients=args.clients)


def _show(speed: Speed, memory: Memory | None) -> None:
    table = Table(title="Serving, against plain diffusers in a loop")
    for name in ("what", "ours", "theirs", "ratio", "asked"):
        table.add_column(name, justify="left" if name == "what" else "right")
    one, loop = 1000 * speed.one_client_seconds, 1000 * speed.plain_seconds
    table.add_row("one client", f"{one:.0f} ms", f"{loop:.0f} ms", f"{speed.one_client_ratio:.3f}", "<= 1.15")
    rate, theirs = f"{speed.pictures_per_second:.2f} /s", f"{1 / speed.plain_seconds:.2f} /s"
    table.add_row(f"{speed.clients} clients", rate, theirs, f"{speed.times_plain:.2f}", ">= 1.8")
    for what, ours in (("one client", speed.one_client_cpu_seconds), ("clients", speed.clients_cpu_seconds)):
        ratio = f"{ours / speed.plain_cpu_seconds:.3f}"
        told = (f"{1000 * each:.0f} ms" for each in (ours, speed.plain_cpu_seconds))
        table.add_row(f"{what}, processor time of a picture", *told, ratio, "")
    if memory is not None:
        what = f"memory, {memory.requests} requests, {memory.models} models"
        first, last = f"{memory.megabytes[1]:.0f} MB", f"{memory.megabytes[-1]:.0f} MB"
        table.add_row(what, last, f"{first} before", f"{memory.grown:.3f}", "flat")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
