"""``spindle doctor``."""

import json
import os
import subprocess
import sys

import typer
from rich.markup import escape

from spindle.cli.terminal import AsJson, State, out, plain_errors, show_table
from spindle.errors import SpindleError
from spindle.location import importable, state_folder

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@plain_errors
def doctor(state: State = None, as_json: AsJson = False) -> None:
    """Check database, queue, store, clocks, workers, GPU and disk, and say what to do.

    It looks from this host, with the settings of this environment, whether the platform runs or not. The exit
    code is 1 when something fails.
    """
    environment = importable(dict(os.environ)) | {"SPINDLE_STATE": str(state_folder(state))}
    ran = subprocess.run(
        [sys.executable, "-m", "core.doctor"], env=environment, capture_output=True, text=True, check=False
    )
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    if not found:
        last = ran.stderr.strip().splitlines()[-1:]
        raise SpindleError(f"`spindle doctor` needs `pip install 'spindle[api]'`: {''.join(last)}")
    if as_json:
        out.print_json(json.dumps(found))
    else:
        rows = [
            (
                f"[{COLOURS[each['health']]}]{each['health']}[/]",
                each["part"],
                escape(each["told"]) + (f"\n[bold]{escape(each['todo'])}[/]" if each["todo"] else ""),
            )
            for each in found
        ]
        show_table(rows, "", "part", "what was found", empty="")
    raise typer.Exit(ran.returncode)
