"""``spindle generate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from spindle.cli.pictures import tell, write
from spindle.cli.terminal import AsJson, State, connect, err, out, plain_errors, show_json
from spindle.errors import SpindleError

if TYPE_CHECKING:
    from spindle.client import Spindle


@plain_errors
def generate(
    model: Annotated[str, typer.Argument(help="Name of a base model, a result or a checkpoint.")],
    prompt: Annotated[str, typer.Argument(help="What to draw.")],
    n: Annotated[int, typer.Option("-n", help="How many pictures.", min=1, max=10)] = 1,
    seed: Annotated[int | None, typer.Option(help="Same seed, same picture.")] = None,
    steps: Annotated[int | None, typer.Option(help="Sampler steps.", min=1)] = None,
    guidance: Annotated[float | None, typer.Option(help="Classifier-free guidance; 1: none.", min=1)] = None,
    negative_prompt: Annotated[str | None, typer.Option("--negative", help="What not to draw.")] = None,
    size: Annotated[str | None, typer.Option(help="Width and height in pixels, such as 512x512.")] = None,
    target: Annotated[
        Path, typer.Option("--out", "-o", help="File to write; several are numbered: out-1.png, out-2.png.")
    ] = Path("out.png"),
    partial: Annotated[
        int, typer.Option("--stream", help="Looks at each picture on its way, into the same file.", max=3)
    ] = 0,
    no_wait: Annotated[bool, typer.Option("--async", help="Print the request's id and do not wait.")] = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Draw pictures with a model.

    Where the platform of the state folder does not run, it is started for this once; but not for --async.
    """
    if no_wait and partial:
        raise SpindleError("--async does not wait and --stream watches: give one of them.")
    asked: dict[str, Any] = {
        "n": n,
        "seed": seed,
        "steps": steps,
        "guidance_scale": guidance,
        "negative_prompt": negative_prompt,
        "size": size,
    }
    if no_wait:
        with connect(state) as client:
            found = client.images.submit(model, prompt, **asked)
        if as_json:
            show_json(found)
        else:
            out.print(found.id, markup=False)
        return
    from spindle.running import available  # noqa: PLC0415  # heavy: --help does not need it

    with available(
        state=state, url=None, key=None, tell=lambda line: err.print(line, markup=False)
    ) as client:
        if partial:
            written = _watched(client, model, prompt, target, partial=partial, asked=asked)
        else:
            written = write(client.images.generate(model, prompt, **asked), target)
    tell(written, as_json=as_json)


def _watched(
    client: "Spindle", model: str, prompt: str, target: Path, *, partial: int, asked: dict[str, Any]
) -> list[str]:
    """Write each picture whenever there is more to see of it; return the names of the files."""
    pictures: dict[int, bytes] = {}
    written: list[str] = []
    with err.status(f"Drawing {escape(prompt)}"):
        for event in client.images.stream(model, prompt, partial_images=partial, **asked):
            pictures[event.seed] = event.png
            if len(pictures) == asked["n"]:
                written = write([pictures[seed] for seed in sorted(pictures)], target)
    return written
