"""The ``spindle`` command."""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from spindle.cli import (
    compare,
    datasets,
    files,
    images,
    jobs,
    keys,
    models,
    plans,
    records,
    registry,
    transfers,
    webhooks,
)
from spindle.cli.doctor import doctor
from spindle.cli.generate import generate
from spindle.cli.project import audit, project
from spindle.cli.terminal import State, examples, out, plain_errors
from spindle.cli.work import queue, workers
from spindle.errors import SpindleError
from spindle.location import state_folder
from spindle.port import free_port
from spindle.profile import Profile
from spindle.up import Supervisor

app = typer.Typer(
    name="spindle",
    help="Fine-tune text-to-image diffusion models by self-play, on your own machines.",
    epilog=examples(
        "spindle demo",
        "spindle up",
        "spindle jobs create starter pictures.zip --follow",
        'spindle generate MODEL "red apple" -n 4 -o apple.png',
    ),
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(jobs.app, name="jobs")
registry.add_to(models.app)
transfers.add_to(models.app)
app.add_typer(models.app, name="models")
app.add_typer(images.app, name="images")
app.add_typer(datasets.app, name="datasets")
app.add_typer(compare.app, name="compare")
app.add_typer(files.app, name="files")
app.add_typer(keys.app, name="key")
app.add_typer(webhooks.app, name="webhooks")
for record in (
    records.checkpoints,
    records.events,
    records.metrics,
    records.samples,
    plans.estimate,
    plans.methods,
    plans.report,
):
    jobs.app.command()(record)
app.command(epilog=examples("spindle project", "spindle project --json"))(project)
app.command(epilog=examples("spindle audit", "spindle audit --object ftjob-01J... --json"))(audit)
app.command(epilog=examples("spindle workers", "spindle workers --json"))(workers)
app.command(epilog=examples("spindle queue", "spindle queue --limit 100 --json"))(queue)
app.command(
    epilog=examples(
        'spindle generate starter "red apple"',
        'spindle generate starter "red apple" -n 4 --seed 1 -o apple.png',
        'spindle generate starter "red apple" --stream 3',
        'spindle generate starter "red apple" --async',
    )
)(generate)
app.command(epilog=examples("spindle doctor", "spindle doctor --json"))(doctor)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"spindle {version('spindle')}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Fine-tune text-to-image diffusion models by self-play, on your own machines."""


@app.command(
    epilog=examples(
        "spindle up",
        "spindle up --port 0 --state /data/spindle",
        "spindle up --host 0.0.0.0",
        "spindle up --profile cluster",
    )
)
@plain_errors
def up(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0: a free one.", min=0, max=65535)] = 8000,
    state: State = None,
    profile: Annotated[
        Profile,
        typer.Option(
            help="embedded: everything in the state folder. cluster: PostgreSQL, S3 and Redis, as named by "
            "SPINDLE_DATABASE_URL, SPINDLE_STORE_URL and SPINDLE_BROKER_URL."
        ),
    ] = Profile.embedded,
    until_stdin_closes: Annotated[bool, typer.Option("--until-stdin-closes", hidden=True)] = False,
) -> None:
    """Start the platform here, in the foreground; Ctrl-C stops it.

    Database, pictures, models, the key and the logs live in the state folder. The first start writes the key.
    """
    Supervisor(
        state=state_folder(state),
        host=host,
        port=port or free_port(host),
        tell=lambda line: out.print(line, markup=False),
        profile=profile,
        lifeline=sys.stdin.fileno() if until_stdin_closes else None,
    ).run()


@app.command(epilog=examples("spindle demo", "spindle demo --out report.html --state /tmp/demo"))
@plain_errors
def demo(
    report: Annotated[
        Path, typer.Option("--out", help="The report; the sheet of pictures goes beside it as PNG.")
    ] = Path("demo-report.html"),
    state: Annotated[
        Path, typer.Option("--state", help="State folder of the demo; emptied at each start.")
    ] = Path("build/demo-state"),
) -> None:
    """Fine-tune the starter model by SFT and by self-play, and compare the pictures.

    Starts a platform of its own on a free port, sends everything through the REST API, and writes a report.
    It takes about a quarter of an hour on two processor cores.
    """
    try:
        from spindle.demo.run import run  # noqa: PLC0415  # heavy, and needs packages of the worker
    except ModuleNotFoundError as error:
        raise SpindleError(
            f"`spindle demo` needs {error.name}: install it with `pip install 'spindle[worker]'`."
        ) from error
    run(report.absolute(), state.absolute())
