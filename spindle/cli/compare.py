"""``spindle compare``: models on the same prompts, voted on by people who do not know which is which."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from spindle.cli import voting
from spindle.cli.comparing import show, show_results
from spindle.cli.terminal import (
    AsJson,
    Limit,
    State,
    connect,
    err,
    examples,
    out,
    plain_errors,
    show_json,
    show_table,
    status,
    when,
)
from spindle.cli.voting import Id
from spindle.errors import SpindleError

app = typer.Typer(help="Compare models blindly, and learn from the votes.", no_args_is_help=True)
Models = Annotated[
    list[str] | None, typer.Argument(metavar="MODEL...", help="Two to six models.", show_default=False)
]
OfJob = Annotated[
    str | None, typer.Option(help="In place of models: an iteration of this job and the one before it.")
]
Iteration = Annotated[
    int | None, typer.Option(help="Of the job; the newest that is trained.", min=0, show_default=False)
]
Prompt = Annotated[list[str] | None, typer.Option(help="What is drawn; repeat it for more.")]
Prompts = Annotated[
    Path | None, typer.Option(help="A file with a prompt a line.", exists=True, dir_okay=False)
]
OfDataset = Annotated[str | None, typer.Option(help="Id of a dataset whose captions are the prompts.")]
PromptsFrom = Annotated[
    int | None, typer.Option(help="How many captions of it.", min=1, max=200, show_default=False)
]
Seed = Annotated[list[int] | None, typer.Option(help="Of the pictures; repeat it for more. 0.")]
Guidance = Annotated[
    float | None, typer.Option(help="Classifier-free guidance; 1: none.", show_default=False)
]


@app.command(
    epilog=examples(
        "spindle compare create --job ftjob-01J... --iteration 2",
        'spindle compare create starter ft:starter:cats:a1b2c3 --prompt "red apple" --prompt "blue fish"',
        "spindle compare create starter portrait@production --prompts prompts.txt --seed 1 --seed 2",
        "spindle compare create starter portrait --dataset ds-01J... --prompts-from 50",
    )
)
@plain_errors
def create(
    models: Models = None,
    job: OfJob = None,
    iteration: Iteration = None,
    prompt: Prompt = None,
    prompts: Prompts = None,
    dataset: OfDataset = None,
    prompts_from: PromptsFrom = None,
    seed: Seed = None,
    steps: Annotated[int | None, typer.Option(help="Sampler steps.", show_default=False)] = None,
    guidance: Guidance = None,
    size: Annotated[str | None, typer.Option(help="Such as 512x512; the models' own.")] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What not to draw.")] = None,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait until all is drawn.")] = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Have models draw the same prompts, to be voted on. Pictures are drawn when nobody waits for others.

    With --job everything else is the job's own: the prompts that it previews, with their seeds.
    """
    asked = [*(prompt or ()), *(_lines(prompts) if prompts is not None else ())]
    more: dict[str, Any] = {
        "name": name,
        "steps": steps,
        "guidance_scale": guidance,
        "size": size,
        "negative_prompt": negative_prompt,
    }
    with connect(state) as client:
        made = client.comparisons.create(
            models or None,
            job=job,
            iteration=iteration,
            prompts=asked or None,
            dataset=dataset,
            prompts_from=prompts_from,
            seeds=seed or None,
            **more,
        )
        if wait:
            with err.status("Drawing"):
                made = client.comparisons.wait(made.id)
    if as_json:
        show_json(made)
    else:
        show(made)
    if made.status == "failed":
        why = (made.failure or {}).get("message", "no pair of pictures could be drawn")
        raise SpindleError(f"{made.id} cannot be voted on: {why}")


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]


@app.command("list")
@plain_errors
def list_(
    job: Annotated[str | None, typer.Option(help="Only those of this job.", show_default=False)] = None,
    limit: Limit = 20,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """List comparisons, newest first."""
    with connect(state) as client:
        found = list(client.comparisons.list(job=job, limit=limit))
    if as_json:
        show_json(found)
        return
    rows = (
        (
            each.id,
            escape(each.name),
            status(each.status),
            f"{each.drawn} of {each.total}",
            str(each.votes),
            when(each.created),
        )
        for each in found
    )
    empty = "No comparisons yet: `spindle compare create --job JOB`."
    show_table(rows, "id", "name", "status", "pictures", "votes", "created", empty=empty)


@app.command("show")
@plain_errors
def show_(comparison_id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Show a comparison: its models, and how far it is drawn. What its votes say: `results`."""
    with connect(state) as client:
        found = client.comparisons.get(comparison_id, reveal=False)
    if as_json:
        show_json(found)
        return
    show(found)


@app.command()
@plain_errors
def results(
    comparison_id: Id,
    per_prompt: Annotated[
        bool, typer.Option("--per-prompt", help="Also what the votes on each prompt say.")
    ] = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show what the votes say: win rates with intervals, the order of several models, agreement."""
    with connect(state) as client:
        found = client.comparisons.get(comparison_id)
    if as_json:
        show_json(found)
        return
    show_results(found, per_prompt=per_prompt)


app.command(
    epilog=examples(
        "spindle compare vote cmp-01J...",
        "spindle compare vote cmp-01J... --pictures .",
        "spindle compare vote cmp-01J... bal-01J... left",
    )
)(voting.vote)
app.command()(voting.votes)
app.command()(voting.undo)


@app.command(
    epilog=examples(
        "spindle compare dataset cmp-01J... preferred",
        "spindle compare dataset cmp-01J... preferred --agreed 0.75 --validation 0.1",
    )
)
@plain_errors
def dataset(
    comparison_id: Id,
    name: Annotated[str, typer.Argument(help="Name; a name that exists gets its next version.")],
    agreed: Annotated[
        float | None,
        typer.Option(
            help="The share of votes on two pictures that a winner needs; more than half.",
            min=0.5,
            max=1,
            show_default=False,
        ),
    ] = None,
    validation: Annotated[
        float | None, typer.Option(help="The share of pairs held out, by prompt.", min=0, max=0.5)
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until the pictures are copied.")] = True,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Make a dataset of winners and losers from the votes, which `dpo` and other methods train on."""
    split = None if validation is None else {"validation": validation, "by": "caption"}
    with connect(state) as client:
        made = client.comparisons.create_dataset(comparison_id, name, agreed=agreed, split=split)
        if wait:
            with err.status("Copying pictures"):
                made = client.datasets.wait(made.id)
    if as_json:
        show_json(made)
    else:
        out.print(f"{made.id}  {made.name} v{made.version}  {made.status}", markup=False)
    if made.status == "failed":
        raise SpindleError(f"{made.id} cannot be used: {made.failure_message}")


@app.command()
@plain_errors
def delete(comparison_id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Delete a comparison with its votes and pictures. Datasets made of its votes stay."""
    with connect(state) as client:
        gone = client.comparisons.delete(comparison_id)
    if as_json:
        show_json(gone)
        return
    out.print(f"{gone.id} deleted", markup=False)
