"""``spindle generate``."""

from pathlib import Path
from typing import Annotated

import typer

from spindle.cli.terminal import State, err, out, plain_errors


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
    state: State = None,
) -> None:
    """Draw pictures with a model.

    Where the platform of the state folder does not run, it is started for this once.
    """
    from spindle.running import available  # noqa: PLC0415  # heavy: --help does not need it

    with available(
        state=state, url=None, key=None, tell=lambda line: err.print(line, markup=False)
    ) as client:
        pictures = client.images.generate(
            model,
            prompt,
            n=n,
            seed=seed,
            steps=steps,
            guidance_scale=guidance,
            negative_prompt=negative_prompt,
            size=size,
        )
    for index, picture in enumerate(pictures, start=1):
        path = target if len(pictures) == 1 else target.with_stem(f"{target.stem}-{index}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)
        out.print(str(path), markup=False)
