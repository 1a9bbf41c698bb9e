"""``spindle demo``: the whole story on a platform of its own, through the REST API, and its report."""

import shutil
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from rich.progress import Progress
from rich.table import Table

from spindle.cli.terminal import duration, out
from spindle.client import Spindle
from spindle.demo.live import Live
from spindle.demo.pictures import Row, draw_rows, held_out, spread
from spindle.demo.sheet import draw
from spindle.errors import JobFailedError, SpindleError
from spindle.location import sole_owner
from spindle.reports import Report, ReportColumn
from spindle.results import Dataset, Job
from spindle.running import ALONE, temporary

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "examples" / "emoji" / "data"
CONFIGS = {"SFT": ROOT / "configs" / "starter_sft.yaml", "SPIN": ROOT / "configs" / "starter_spin.yaml"}
MODEL = "starter"
LOOK_SECONDS = 1.0
ONE_WORKER = {"SPINDLE_SHARD_ROWS": "1000"}  # shards are for several workers: here each costs one more start
PROMPT = "red apple"


def run(report: Path, state: Path) -> None:
    """Run the demo and write ``report`` and, beside it, the sheet of pictures as PNG.

    Raises:
        SpindleError: something is missing, does not start, or fails; the text says what.
    """
    for path in (*CONFIGS.values(), DATA / "train.zip", DATA / "test.zip"):
        if not path.exists():
            raise SpindleError(f"The demo needs {path}: run it in a checkout of the repository.")
    began = time.monotonic()
    make_fresh(state)
    out.print("Starting Spindle ...", markup=False)
    with temporary(state, alone=True, settings=ONE_WORKER) as client:
        out.print(
            f"Spindle runs at {client.location.url}; its logs are in {shown(state / 'logs')}.", markup=False
        )
        facts, spin = experience(client, report)
    conclude(facts, report, report.with_suffix(".png"))
    out.print(f"It took {duration(time.monotonic() - began)}. Draw with the new model:", markup=False)
    command = f'{program()} generate --state {shown(state)} {spin.fine_tuned_model} "{PROMPT}"'
    out.print(f"  {command}", markup=False)


def make_fresh(state: Path) -> None:
    """Empty the state folder of an earlier demo, and mark it as one.

    Raises:
        SpindleError: the folder holds something else, or a platform that runs.
    """
    if state.exists() and any(state.iterdir()):
        if not (state / ALONE).exists():
            raise SpindleError(
                f"{state} holds something else than a demo, so it stays: choose another --state."
            )
        with sole_owner(state):
            shutil.rmtree(state)
    state.mkdir(parents=True, exist_ok=True)
    (state / ALONE).touch()


def experience(client: Spindle, report: Path) -> tuple[Report, Job]:
    """Fine-tune in both ways, write report and sheet; return the facts and the job of self-play."""
    report.parent.mkdir(parents=True, exist_ok=True)
    sft, spin = fine_tuned(client)
    facts = client.jobs.facts(spin.id, compared_with=sft.id)
    client.jobs.report(spin.id, report, compared_with=sft.id)
    columns = shown_columns(facts)
    draw(columns, drawn(client, spin, columns, facts.guidances[0]), report.with_suffix(".png"))
    return facts, spin


def fine_tuned(client: Spindle) -> tuple[Job, Job]:
    """Fine-tune in both ways, and measure; return the supervised job and that of self-play."""
    train = ready(client, "emoji", DATA / "train.zip")
    test = ready(client, "emoji-held-out", DATA / "test.zip")
    out.print(f"{train.rows} pictures to learn from, {test.rows} held out.", markup=False)
    sft, spin = follow(client, {label: submit(client, label, train, test) for label in CONFIGS}).values()
    return sft, spin


def shown_columns(facts: Report) -> list[ReportColumn]:
    """Return the models of the sheet: all but the supervised start of self-play."""
    return [column for column in facts.columns if column.iteration != 0]


def drawn(client: Spindle, spin: Job, columns: list[ReportColumn], guidance: float) -> tuple[Row, ...]:
    """Draw held-out captions with each model."""
    wanted = spread(held_out(DATA / "test.zip"))
    sampler = {"steps": spin.method.hyperparameters["eval_steps"], "guidance_scale": guidance}
    with Progress(console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("Drawing held-out captions", total=len(columns) * len(wanted))
        return draw_rows(client, columns, wanted, sampler, lambda: progress.advance(task))


def ready(client: Spindle, name: str, archive: Path) -> Dataset:
    """Upload an archive and wait until it is a dataset.

    Raises:
        SpindleError: it cannot be used.
    """
    dataset = client.datasets.create(name, client.files.upload(archive).id)
    while dataset.status not in {"ready", "failed"}:
        time.sleep(0.2)
        dataset = client.datasets.get(dataset.id)
    if dataset.status == "failed":
        raise SpindleError(f"{shown(archive)} cannot be used: {dataset.failure_message}")
    return dataset


def submit(client: Spindle, label: str, train: Dataset, test: Dataset) -> Job:
    """Start the job of one of the configs, measured on the held-out pictures."""
    written: dict[str, Any] = yaml.safe_load(CONFIGS[label].read_text())
    return client.jobs.create(
        MODEL,
        train.id,
        method=written["method"],
        validation_file=test.id,
        suffix=label.lower(),
        seed=written.get("seed"),
    )


def follow(client: Spindle, jobs: dict[str, Job]) -> dict[str, Job]:
    """Show the jobs' progress until all have succeeded, and return them as they ended.

    Raises:
        JobFailedError: one of them did not succeed; the others are cancelled.
    """
    with Live(out) as live:
        while True:
            for label, job in jobs.items():
                if not job.finished:
                    jobs[label] = client.jobs.get(job.id)
                live.show(label, jobs[label])
            broken = [label for label, job in jobs.items() if job.status in {"failed", "cancelled"}]
            if broken or all(job.finished for job in jobs.values()):
                break
            time.sleep(LOOK_SECONDS)
    for label in broken:
        job = jobs[label]
        why = job.failure.message if job.failure and job.failure.message else "no reason was told"
        raise JobFailedError(f"The {label} job {job.id} {job.status}: {why}")
    return jobs


def conclude(facts: Report, report: Path, sheet: Path) -> None:
    """Print what came out, and where it is written."""
    columns = shown_columns(facts)
    table = Table("", *(column.label for column in columns), box=None, pad_edge=False, header_style="bold")
    for measure in facts.measures:
        found = [column.measured.get(measure.key) for column in columns]
        if any(found):
            values = ("" if each is None else measure.shown(each.value) for each in found)
            better = f" ({measure.better} is better)" if measure.better else ""
            table.add_row(f"{measure.label}{better}, guidance {measure.guidance:g}", *values)
    out.print()
    out.print(table)
    out.print(f"\n[bold]{facts.headline}.[/] {facts.sentence}\n")
    out.print(f"Report    {shown(report)}\nPictures  {shown(sheet)}", markup=False)


def shown(path: Path) -> str:
    """Return a path as short as it can be typed from here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def program() -> str:
    """Return how ``spindle`` is called from here: its name where that is found, else its path."""
    mine = Path(sys.executable).with_name("spindle")
    return "spindle" if shutil.which("spindle") == str(mine) else shown(mine)
