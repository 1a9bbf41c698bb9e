"""The facts of two jobs as a fixture: values as a run recorded them, pictures made of plain colours."""

import io
import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image, ImageDraw

from core.report.facts import (
    Chart,
    Column,
    Cost,
    Data,
    Facts,
    Interval,
    Picture,
    Reckoning,
    Role,
    Row,
    Series,
    Subject,
)
from core.storage.folder import FolderStore

START = datetime(2026, 11, 22, 23, 40, tzinfo=UTC)
CAPTIONS = (
    "baby chick", "blue heart", "cheese wedge", "coconut", "crab", "face with steam from nose",
    "glowing star", "honeybee", "mango", "onion", "red apple", "turtle",
)  # fmt: skip


def picture(hue: int, blur: int) -> bytes:
    """Return a PNG of a disc, the more uneven the higher ``blur``."""
    image = Image.new("RGB", (64, 64), "white")
    pen = ImageDraw.Draw(image)
    pen.ellipse((10 - blur, 10 + blur, 54 + blur // 2, 54), fill=f"hsl({hue % 360}, {70 - 8 * blur}%, 55%)")
    pen.ellipse((22, 24 + blur, 28, 30 + blur), fill="#333")
    pen.ellipse((38, 24, 44, 30), fill="#333")
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def measured(fd: float, style: float, colour: float, found: float, cosine: float) -> dict[str, Interval]:
    """Return the five measures with intervals of a tenth to each side."""
    values = {
        "frechet_distance": fd,
        "style_share": style,
        "histogram_distance": colour,
        "retrieval_at_10": found,
        "caption_cosine": cosine,
    }
    return {name: Interval(value, value * 0.9, value * 1.1) for name, value in values.items()}


def line(role: Role, label: str, value: Callable[[int], float]) -> Series:
    """Return a line over 400 steps."""
    points = ((float(i), value(i)) for i in range(2, 402, 2))
    return Series(label, role, tuple((x, y, y - 0.01, y + 0.01) for x, y in points))


def curves() -> tuple[Chart, ...]:
    """Return made-up losses and margins over 400 steps."""
    sft = line("other", "SFT", lambda i: 0.42 * math.exp(-i / 120) + 0.3 + 0.03 * math.sin(i * 2.1))
    spin = line("own", "SPIN", lambda i: 0.69 * math.exp(-((i - 1) % 200) / 160) + 0.02 * math.sin(i * 1.7))
    margin = line("own", "SPIN", lambda i: 0.004 * ((i - 1) % 200) + 0.05 * math.sin(i * 1.3))
    bounds = ((0.0, "1"), (200.0, "2"))
    return (
        Chart("supervised_loss", "Supervised loss", "Mean squared error.", (sft,)),
        Chart("loss", "Loss", "Starts near ln 2 in every round.", (spin,), bounds),
        Chart("margin", "Margin", "Preference for the real picture.", (margin,), bounds),
    )


def subject(name: str, method: str) -> Subject:
    """Return a job that has succeeded."""
    return Subject(
        id=f"ftjob-{name}",
        name=name,
        method=method,
        state="succeeded",
        started_from="starter",
        made=f"ft:starter:{name}:a1b2c3",
        seed=0,
        failure=None,
        why="",
        message="",
        what_to_do="",
        created_at=START,
        started_at=START,
        finished_at=START,
        reckoned=(Reckoning("time", "6 min 28 s", "6 min 40 s estimated"),),
        base_digest="d1",
    )


def pictures(folder: Path) -> FolderStore:
    """Return a store that holds the pictures of the sample."""
    store = FolderStore(folder, public_url="http://localhost", secret=b"s")
    for index in range(len(CAPTIONS)):
        for column, blur in enumerate((6, 4, 2, 1)):
            data = picture(29 * index, blur)
            store.put(f"{index}/{column}", io.BytesIO(data), len(data))
    return store


def sample() -> Facts:
    """Return facts in which SPIN clearly wins in three measures, ties in one and clearly loses in one."""

    def column(label: str, role: Role, iteration: int, model: str, found: dict[str, Interval]) -> Column:
        return Column(label, role, f"ftjob-{role}", iteration, model, "what it is", "succeeded", found)

    rows = tuple(
        Row(index, caption, 7, tuple(Picture(f"/{index}/{each}", f"{index}/{each}") for each in range(4)))
        for index, caption in enumerate(CAPTIONS)
    )
    sft_stages = (("encode", 9.0), ("train", 240.0), ("evaluate", 22.0), ("publish", 5.0))
    spin_stages = (("generate", 38.0), ("train", 300.0), ("evaluate", 44.0), ("publish", 6.0))
    return Facts(
        own=subject("spin", "spin"),
        other=subject("sft", "sft"),
        columns=(
            column("Base", "base", -1, "starter", measured(27.6, 0.085, 0.48, 0.27, 0.33)),
            column("SFT", "other", 1, "ft:starter:sft:a1b2c3", measured(12.5, 0.23, 0.37, 0.30, 0.36)),
            column("SPIN 1", "own", 1, "ftckpt-1", measured(6.9, 0.39, 0.24, 0.26, 0.35)),
            column("SPIN 2", "own", 2, "ft:starter:spin:a1b2c3", measured(5.1, 0.46, 0.21, 0.24, 0.35)),
        ),
        rows=rows,
        charts=curves(),
        costs=(
            Cost("SFT", "other", 276, sft_stages, 400, 25600),
            Cost("SPIN", "own", 388, spin_stages, 400, 25600),
        ),
        settings=(("seed", "0"), ("learning rate", "SFT 0.0003 · SPIN 0.0001, 5e-05")),
        data=(
            Data("Training", "ds-1", "emoji", 1, 345, "e" * 64),
            Data("Validation", "ds-2", "emoji-held-out", 1, 64, "f" * 64),
        ),
        events=(),
        event_count=219,
        guidances=(1.0,),
        captions=64,
        held_out=True,
        report_keys=(),
    )
