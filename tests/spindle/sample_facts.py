"""A demo's measurements as a fixture: values as a run recorded them, pictures made of plain colours."""

import io
import math

from PIL import Image, ImageDraw

from spindle.demo.facts import Chart, Column, Cost, Facts, Interval, Row, Series

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


def curves() -> tuple[Chart, ...]:
    """Return made-up losses and margins over 400 steps."""
    sft = tuple(
        (float(i), 0.42 * math.exp(-i / 120) + 0.3 + 0.03 * math.sin(i * 2.1)) for i in range(2, 402, 2)
    )
    spin = tuple(
        (float(i), 0.69 * math.exp(-((i - 1) % 200) / 160) + 0.02 * math.sin(i * 1.7))
        for i in range(2, 402, 2)
    )
    margin = tuple((float(i), 0.004 * ((i - 1) % 200) + 0.05 * math.sin(i * 1.3)) for i in range(2, 402, 2))
    drift = tuple((float(i), 0.0006 * ((i - 1) % 200) + 0.01 * math.sin(i * 1.1)) for i in range(2, 402, 2))
    bounds = ((0.0, "SPIN 1"), (200.0, "SPIN 2"))
    return (
        Chart("Supervised loss", "Mean squared error.", (Series("SFT", "sft", sft),)),
        Chart("Self-play loss", "Starts near ln 2 in every round.", (Series("SPIN", "spin", spin),), bounds),
        Chart("Margin", "Preference for the real picture.", (Series("SPIN", "spin", margin),), bounds),
        Chart("Winner's drift", "Change of the real error.", (Series("SPIN", "spin", drift),), bounds),
    )  # fmt: skip


def sample() -> Facts:
    """Return facts in which SPIN clearly wins in three measures, ties in one and clearly loses in one."""
    columns = (
        Column("Base", "base", "starter", "before fine-tuning", measured(27.6, 0.085, 0.48, 0.27, 0.33)),
        Column(
            "SFT",
            "sft",
            "ft:starter:sft:a1b2c3",
            "supervised fine-tuning",
            measured(12.5, 0.23, 0.37, 0.30, 0.36),
        ),
        Column(
            "SPIN 1", "spin", "ftckpt-1", "first round of self-play", measured(6.9, 0.39, 0.24, 0.26, 0.35)
        ),
        Column(
            "SPIN 2", "spin", "ft:starter:spin:d4e5f6", "second round", measured(5.1, 0.46, 0.21, 0.24, 0.35)
        ),
    )
    rows = tuple(
        Row(caption, 7, tuple(picture(29 * index, blur) for blur in (6, 4, 2, 1)), picture(29 * index, 0))
        for index, caption in enumerate(CAPTIONS)
    )
    costs = (
        Cost(
            "SFT", "sft", 276, (("encode", 9), ("train", 240), ("evaluate", 22), ("publish", 5)), 400, 25600
        ),
        Cost(
            "SPIN",
            "spin",
            388,
            (("generate", 38), ("train", 300), ("evaluate", 44), ("publish", 6)),
            400,
            25600,
        ),
    )
    settings = (("Seed", "0"), ("Learning rate, SFT", "0.0003"), ("Learning rate, SPIN", "[0.0001, 0.00005]"))
    return Facts(
        columns=columns,
        rows=rows,
        charts=curves(),
        costs=costs,
        settings=settings,
        guidances=(1.0,),
        held_out=64,
        trained_on=345,
        seconds=764,
        finished="2026-11-22 23:40",
        command='spindle generate --state build/demo-state ft:starter:spin:d4e5f6 "red apple"',
    )
