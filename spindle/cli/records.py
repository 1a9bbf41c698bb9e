"""What a job leaves behind: ``spindle jobs checkpoints``, ``events``, ``metrics`` and ``samples``."""

from typing import Annotated

import typer
from rich.markup import escape

from spindle.cli.jobs import Id
from spindle.cli.terminal import AsJson, Limit, State, connect, plain_errors, show_json, show_table, when


@plain_errors
def checkpoints(job_id: Id, limit: Limit = 50, state: State = None, as_json: AsJson = False) -> None:
    """List a job's checkpoints, newest first; each id is a model name."""
    with connect(state) as client:
        found = list(client.jobs.checkpoints(job_id, limit=limit))
    if as_json:
        show_json(found)
        return
    rows = ((each.id, str(each.iteration), str(each.step_number), when(each.created_at)) for each in found)
    show_table(rows, "id", "iteration", "step", "created", empty="No checkpoints yet.")


@plain_errors
def events(job_id: Id, limit: Limit = 50, state: State = None, as_json: AsJson = False) -> None:
    """List a job's events so far, newest first; `follow` shows them as they happen."""
    with connect(state) as client:
        found = list(client.jobs.events(job_id, limit=limit))
    if as_json:
        show_json(found)
        return
    rows = ((when(each.created_at), escape(each.type), escape(each.message)) for each in found)
    show_table(rows, "when", "type", "what", empty="No events yet.")


@plain_errors
def metrics(
    job_id: Id,
    names: Annotated[
        list[str] | None, typer.Option("--name", help="Only this number; repeat it for more.")
    ] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """List a job's numbers in the order in which they were measured."""
    with connect(state) as client:
        found = list(client.jobs.metrics(job_id, tuple(names or ())))
    if as_json:
        show_json(found)
        return
    rows = (
        (
            str(each.iteration),
            str(each.step),
            escape(each.name),
            "" if each.value is None else f"{each.value:g}",
        )
        for each in found
    )
    show_table(rows, "iteration", "step", "name", "value", empty="No numbers yet.")


@plain_errors
def samples(
    job_id: Id,
    iteration: Annotated[int | None, typer.Option(help="Only this one; -1: the base model.")] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """List a job's preview pictures with addresses that are good for an hour."""
    with connect(state) as client:
        found = client.jobs.samples(job_id, iteration=iteration)
    if as_json:
        show_json(found)
        return
    rows = ((str(each.iteration), escape(each.prompt), str(each.seed), escape(each.url)) for each in found)
    show_table(rows, "iteration", "prompt", "seed", "address", empty="No pictures yet.")
