"""``spindle jobs``."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from spindle.cli.spans import seconds_of
from spindle.cli.terminal import (
    AsJson,
    Limit,
    State,
    connect,
    duration,
    examples,
    given,
    out,
    plain_errors,
    show_json,
    show_line,
    show_pairs,
    show_table,
    status,
    when,
)
from spindle.errors import JobFailedError, SpindleError

if TYPE_CHECKING:
    from spindle.client import Spindle
    from spindle.results import Job

app = typer.Typer(help="Fine-tuning jobs.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="JOB", help="Id of a job.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A hyperparameter that differs from the model's recommended ones; repeat it for more.",
        show_default=False,
    ),
]
Keep = Annotated[
    int | None,
    typer.Option(min=1, help="Newest checkpoints that stay, beside the best; all.", show_default=False),
]
Notes = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="Kept with the job; repeat it for more.", show_default=False),
]


def pairs_of(given_pairs: list[str], option: str) -> dict[str, str]:
    """Read ``NAME=VALUE`` pairs.

    Raises:
        SpindleError: a pair without a name or an equals sign, or a name given twice.
    """
    found: dict[str, str] = {}
    for pair in given_pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise SpindleError(f"{option} takes NAME=VALUE, such as {option} steps=2; not {pair!r}.")
        if name in found:
            raise SpindleError(f"{option} {name} is given twice.")
        found[name] = value
    return found


def settings(given_pairs: list[str]) -> dict[str, Any]:
    """Read ``NAME=VALUE`` pairs whose value is JSON where it reads as such, else text; raises as above."""

    def read(value: str) -> Any:
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value

    return {name: read(value) for name, value in pairs_of(given_pairs, "--set").items()}


@app.command(
    epilog=examples(
        "spindle jobs create starter pictures.zip --follow",
        "spindle jobs create starter pictures.zip --method spin --set n_iterations=2 --seed 1",
        "spindle jobs create starter ds-01J... --method sft --set steps=400 --set learning_rate=1e-4",
        "spindle jobs create ftckpt-01J... more.zip --set 'steps=[50, 200]' --set n_iterations=2",
    )
)
@plain_errors
def create(
    model: Annotated[
        str, typer.Argument(help="Model to start from: a base model, a result or a checkpoint.")
    ],
    data: Annotated[
        str, typer.Argument(help="An archive on this machine, or the id of a dataset or a file.")
    ],
    method: Annotated[
        str, typer.Option(help="spin (self-play), sft (supervised), dpo, ... (docs/methods.md).")
    ] = "spin",
    assignments: Assignments = None,
    validation: Annotated[
        str | None, typer.Option(help="Held-out pictures: measured, never trained on.", show_default=False)
    ] = None,
    suffix: Annotated[str | None, typer.Option(help="Part of the result's name.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="Decides every random number.", show_default=False)] = None,
    priority: Annotated[
        int | None, typer.Option(help="-100 to 100; higher goes first.", show_default=False)
    ] = None,
    queue: Annotated[str | None, typer.Option(help="Whose workers run it.", show_default=False)] = None,
    device: Annotated[str | None, typer.Option(help="cpu, gpu or auto.", show_default=False)] = None,
    keep: Keep = None,
    metadata: Notes = None,
    follow_it: Annotated[bool, typer.Option("--follow", "-f", help="Show its events until it ends.")] = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Start a fine-tuning job and print its id."""
    with connect(state) as client:
        chosen = settings(assignments or [])
        notes = pairs_of(metadata or [], "--metadata")
        job = client.jobs.create(
            model,
            given(client, data),
            method=method,
            hyperparameters=chosen,
            validation_file=given(client, validation) if validation else None,
            suffix=suffix,
            seed=seed,
            priority=priority,
            queue=queue,
            device=device,
            retention=None if keep is None else {"keep_last": keep},
            metadata=notes or None,
        )
        if as_json:
            show_json(job)
        else:
            out.print(job.id, markup=False)
        if follow_it:
            _follow(client, job.id, as_json=as_json)


@app.command("list")
@plain_errors
def list_(limit: Limit = 20, state: State = None, as_json: AsJson = False) -> None:
    """List jobs, newest first."""
    with connect(state) as client:
        jobs = list(client.jobs.list(limit=limit))
    if as_json:
        show_json(jobs)
        return
    rows = (
        (
            job.id,
            escape(job.model),
            job.method.type,
            status(job.status),
            when(job.created_at),
            escape(job.fine_tuned_model or ""),
        )
        for job in jobs
    )
    show_table(
        rows,
        "id",
        "from",
        "method",
        "status",
        "created",
        "result",
        empty="No jobs yet: `spindle jobs create starter pictures.zip`.",
    )


@app.command()
@plain_errors
def show(job_id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Show a job as it stands, with its resolved hyperparameters."""
    with connect(state) as client:
        job = client.jobs.get(job_id)
    if as_json:
        show_json(job)
        return
    _show(job)


@app.command(epilog=examples("spindle jobs follow ftjob-01J..."))
@plain_errors
def follow(job_id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Show a job's events as they happen, until it ends; exit code 1 when it does not succeed.

    With --json a line an event.
    """
    with connect(state) as client:
        _follow(client, job_id, as_json=as_json)


@app.command(epilog=examples("spindle jobs wait ftjob-01J... --timeout 12h"))
@plain_errors
def wait(
    job_id: Id,
    timeout: Annotated[
        str | None, typer.Option(help="How long at most, such as 30m or 12h.", show_default=False)
    ] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Wait in silence until a job has ended; exit code 1 when it does not succeed."""
    with connect(state) as client:
        job = client.jobs.wait(job_id, timeout=None if timeout is None else seconds_of(timeout))
    if as_json:
        show_json(job)
    else:
        out.print(f"{job.id} {status(job.status)}")
    _refuse_failed(job)


@app.command()
@plain_errors
def cancel(job_id: Id, state: State = None, as_json: AsJson = False) -> None:
    """End a job; its checkpoints stay."""
    with connect(state) as client:
        _told(client.jobs.cancel(job_id), "cancel", as_json=as_json)


@app.command()
@plain_errors
def pause(job_id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Let a job write a checkpoint and give its worker free."""
    with connect(state) as client:
        _told(client.jobs.pause(job_id), "pause", as_json=as_json)


@app.command()
@plain_errors
def resume(job_id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Let a paused job go on where it stopped."""
    with connect(state) as client:
        _told(client.jobs.resume(job_id), "", as_json=as_json)


def _told(job: "Job", wish: str, *, as_json: bool) -> None:
    if as_json:
        show_json(job)
        return
    asked = (wish == "pause" and job.pause_requested) or (wish == "cancel" and job.cancel_requested)
    pending = asked and not job.finished and job.status != "paused"
    out.print(f"{job.id} {status(job.status)}{f', {wish} requested' if pending else ''}")


def _show(job: "Job") -> None:
    took = duration(job.finished_at - job.started_at) if job.finished_at and job.started_at else ""
    show_pairs(
        id=job.id,
        status=status(job.status),
        model=escape(job.model),
        method=job.method.type,
        seed=job.seed,
        queue_position=job.queue_position,
        starts=when(job.estimated_start) if job.estimated_start else "",
        waits_for=escape(job.waits_for or ""),
        created=when(job.created_at),
        took=took,
        result=escape(job.fine_tuned_model or ""),
        failure=escape(job.failure.message if job.failure else ""),
    )
    out.print("[dim]hyperparameters[/]")
    show_pairs(
        **{f"  {name}": escape(json.dumps(value)) for name, value in job.method.hyperparameters.items()}
    )


def _refuse_failed(job: "Job") -> None:
    if job.status != "succeeded":
        why = f": {job.failure.message}" if job.failure and job.failure.message else "."
        raise JobFailedError(f"{job.id} {job.status}{why}")


def _follow(client: "Spindle", job_id: str, *, as_json: bool) -> None:
    """Print events until the job ends.

    Raises:
        JobFailedError: it did not succeed.
    """
    colours = {"warn": "yellow", "error": "red"}
    for event in client.jobs.follow(job_id):
        if as_json:
            show_line(event)
            continue
        colour = colours.get(event.level, "default")
        moment = when(event.created_at).partition(" ")[2]
        out.print(f"[dim]{moment} {escape(event.type):<11}[/] [{colour}]{escape(event.message)}[/]")
    job = client.jobs.get(job_id)
    _refuse_failed(job)
    if not as_json:
        out.print(f"[green]{job_id} succeeded.[/] Draw with it:")
        out.print(f'  spindle generate {job.fine_tuned_model} "..."', markup=False)
