"""Jobs to look at: with pictures that get better from iteration to iteration, curves, and failures."""

import io
import math
import random
from typing import Any

from PIL import Image, ImageDraw

from core.db import transaction
from core.models import UnitKind
from core.runs import claims, records, units
from tests.api.platform import WORK, Running

PROMPTS = ("red apple", "baby chick", "blue heart", "cheese wedge")
SEED = 7


def drawing(index: int, iteration: int) -> bytes:
    """Return a picture of a prompt, the nearer to what it should be the later the iteration."""
    noise = random.Random(100 * index + iteration)
    blur = max(0, 3 - iteration) * 3
    hue = (0, 50, 215, 42)[index % 4]
    image = Image.new("RGB", (64, 64), "white")
    pen = ImageDraw.Draw(image)
    pen.ellipse(
        (10 - blur // 2, 12 + blur, 54, 56 - blur // 3), fill=f"hsl({hue}, {80 - 12 * blur // 3}%, 55%)"
    )
    pen.ellipse((22, 26 + blur // 2, 28, 33), fill="#333")
    pen.ellipse((38, 26, 44, 33), fill="#333")
    for _ in range(40 * blur):
        pen.point((noise.randrange(64), noise.randrange(64)), fill=f"hsl({noise.randrange(360)}, 60%, 60%)")
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def claim_next(site: Running, *, worker: str = "units-1") -> claims.Claim:
    """Claim the next unit, which must be there."""
    with transaction(site.database) as session:
        claim = claims.claim_unit(session, worker=worker, lease_seconds=60)
    assert claim is not None, "nothing to claim"
    return claim


def work(site: Running, claim: claims.Claim) -> None:
    """Do a unit as the engine would, with numbers and pictures that look like something."""
    if claim.kind is UnitKind.train:
        train(site, claim)
        finish_training(site, claim)
    elif claim.kind is UnitKind.evaluate:
        evaluate(site, claim)
    else:
        WORK[claim.kind](site, claim)


def train(site: Running, claim: claims.Claim, *, steps: int = 60, of: int = 60) -> None:
    """Tell of steps of training, as curves that fall and rise as they do."""
    lines: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        noise = random.Random(step * 31 + claim.iteration)
        done = step / of
        values = {
            "loss": 0.69 * math.exp(-0.4 * done) + noise.gauss(0, 0.02),
            "margin": 0.05 * done + noise.gauss(0, 0.008),
            "accuracy": min(1.0, 0.5 + 0.3 * done + noise.gauss(0, 0.03)),
            "winner_drift": -0.01 * done + noise.gauss(0, 0.002),
        }
        lines.append({"type": "metrics", "step": step, "iteration": claim.iteration, "values": values})
    left = 2.0 * (of - steps)
    lines.append({"type": "progress", "step": steps, "of": of, "what": "train", "seconds_left": left})
    with transaction(site.database) as session:
        records.record_events(session, claim, lines)


def finish_training(site: Running, claim: claims.Claim) -> None:
    """Save a checkpoint and end the unit."""
    weights = {"weights/weights.json": b"{}", "weights/pytorch_lora_weights.safetensors": b"w" * 100}
    saved = [
        file | {"path": file["path"].removeprefix("checkpoint/")}
        for file in site.put(claim, {f"checkpoint/{path}": data for path, data in weights.items()})
    ]
    with transaction(site.database) as session:
        records.record_checkpoint(session, claim, iteration=claim.iteration, step=60, files=saved)
    site.succeed(claim, weights)


def evaluate(site: Running, claim: claims.Claim) -> None:
    """Draw the previews and measure, the better the later the iteration."""
    number = claim.iteration
    pictures = site.put(
        claim, {f"samples/{index}.png": drawing(index, number) for index in range(len(PROMPTS))}
    )
    better = max(0, number)
    distance, style = 27.6 / (1 + 0.9 * better), 0.08 + 0.17 * better
    values = {
        "frechet_distance": {"value": distance, "low": 0.9 * distance, "high": 1.1 * distance},
        "style_share": {"value": style, "low": style - 0.03, "high": style + 0.03},
        "caption_cosine": {"value": 0.35 + 0.002 * better, "low": 0.31, "high": 0.39},
    }
    with transaction(site.database) as session:
        for index, (prompt, picture) in enumerate(zip(PROMPTS, pictures, strict=True)):
            records.record_sample(
                session,
                claim,
                iteration=number,
                index=index,
                prompt=prompt,
                seed=SEED + index,
                key=picture["key"],
            )
        records.record_events(session, claim, [{"type": "evaluation", "iteration": number, "values": values}])
    site.succeed(claim, {"metrics.json": b"{}"})


def run_until(site: Running, kind: UnitKind, iteration: int | None = None) -> claims.Claim:
    """Do units until one of this kind, and iteration, is claimed; return its claim."""
    while True:
        claim = claim_next(site)
        if claim.kind is kind and iteration in (None, claim.iteration):
            return claim
        work(site, claim)


def run_all(site: Running) -> None:
    """Do all units that there are."""
    while True:
        with transaction(site.database) as session:
            claim = claims.claim_unit(session, worker="units-1", lease_seconds=60)
        if claim is None:
            return
        work(site, claim)


def fail(site: Running, claim: claims.Claim, *, reason: str, message: str) -> None:
    """End an attempt that failed."""
    with transaction(site.database) as session:
        units.fail_unit(session, claim, reason=reason, message=message)
