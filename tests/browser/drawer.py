"""A serving worker without an engine: it takes what is asked for and draws the starter's own emoji."""

import hashlib
import io
import json
import random
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from PIL import Image, ImageEnhance, ImageFilter

from core import drawing_claims, workers
from core.comparisons import drawing
from core.db import transaction
from core.drawing_claims import DrawingClaim
from core.errors import StaleFence
from tests.api.platform import ROOT, Running

EMOJI = ROOT / "examples" / "emoji" / "data" / "validation.zip"
SIDE = 192
PARTIALS = 3
HEARTBEAT_SECONDS = 2.0


@cache
def emoji() -> dict[str, Image.Image]:
    """Return the starter's pictures by their captions, on white."""
    found = {}
    with zipfile.ZipFile(EMOJI) as archive:
        for line in archive.read("metadata.jsonl").decode().splitlines():
            row = json.loads(line)
            picture = Image.open(io.BytesIO(archive.read(row["file_name"]))).convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            found[row["text"]] = Image.alpha_composite(white, picture).convert("RGB").resize((SIDE, SIDE))
    return found


def picture(prompt: str, *, model: str, seed: int) -> Image.Image:
    """Return what a model draws: clear once it has learned, smeared by the base; turned by the seed."""
    known = emoji()
    chance = random.Random(hashlib.sha256(f"{prompt}".encode()).digest())
    found = known.get(prompt) or known[chance.choice(sorted(known))]
    turned = found.rotate((seed % 7 - 3) * 4, fillcolor="white", resample=Image.Resampling.BICUBIC)
    if model == "tiny":
        smeared = turned.filter(ImageFilter.GaussianBlur(5))
        return Image.blend(ImageEnhance.Color(smeared).enhance(0.6), noise(seed), 0.18)
    strength = 1 + int(hashlib.sha256(model.encode()).hexdigest(), 16) % 5 / 8
    return ImageEnhance.Color(turned).enhance(strength)


def noise(seed: int) -> Image.Image:
    """Return what every picture comes out of."""
    grain = Image.frombytes("RGB", (48, 48), random.Random(seed).randbytes(48 * 48 * 3))
    return grain.resize((SIDE, SIDE), Image.Resampling.NEAREST)


def png(image: Image.Image) -> bytes:
    """Return a picture's file."""
    sink = io.BytesIO()
    image.save(sink, "PNG")
    return sink.getvalue()


@dataclass
class Drawer:
    """What the worker was asked, and how it is slowed down.

    It draws a step whenever ``gate`` is open, and while that is closed one for each release of ``steps``.
    """

    site: Running
    served: list[DrawingClaim] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    steps: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    over: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        """Draw until it is over."""
        told = 0.0
        while not self.over.wait(0.05):
            with transaction(self.site.database) as session:
                if time.monotonic() - told > HEARTBEAT_SECONDS:
                    workers.heartbeat(session, name="drawer", kind="serve")
                    told = time.monotonic()
                claims = drawing_claims.claim_drawings(session, worker="drawer", lease_seconds=30, pictures=8)
            for claim in claims:
                self.served.append(claim)
                try:
                    self.draw(claim)
                except StaleFence:
                    continue  # nobody wants it any more
            drawing.keep_up(self.site.database, self.site.store)

    def draw(self, claim: DrawingClaim) -> None:
        """Draw one request, with looks at it on the way."""
        whole = [picture(claim.prompt, model=claim.model_id, seed=seed) for seed in claim.seeds]
        shown: list[dict[str, Any]] = []
        for index in range(claim.partial_images):
            self.wait()
            for place, image in enumerate(whole):
                share = (index + 1) / (PARTIALS + 1)
                data = png(Image.blend(noise(claim.seeds[place]), image, share))
                key = self.put(f"{claim.prefix}/{place}-{index}.png", data)["key"]
                shown.append({"picture": place, "index": index, "key": key})
            with transaction(self.site.database) as session:
                drawing_claims.show_partials(session, claim, shown)
            self.over.wait(0.05)
        self.wait()
        files = [
            {"path": f"{place}.png"} | self.put(f"{claim.prefix}/{place}.png", png(image))
            for place, image in enumerate(whole)
        ]
        with transaction(self.site.database) as session:
            drawing_claims.finish_drawing(session, claim, files=files, seconds=0.1)

    def wait(self) -> None:
        """Wait until a step may be drawn, or nobody looks any more."""
        while not (self.gate.is_set() or self.over.is_set() or self.steps.acquire(timeout=0.02)):
            pass

    def put(self, key: str, data: bytes) -> dict[str, Any]:
        """Store bytes; return their entry of a manifest."""
        stored = self.site.store.put(key, io.BytesIO(data), len(data))
        return {"key": key, "sha256": stored.sha256, "size": stored.size}


@contextmanager
def drawing_at(site: Running) -> Iterator[Drawer]:
    """Yield a worker that draws while the block runs."""
    drawer = Drawer(site)
    drawer.gate.set()
    thread = threading.Thread(target=drawer.work)
    thread.start()
    try:
        yield drawer
    finally:
        drawer.gate.set()
        drawer.over.set()
        thread.join()
        with transaction(site.database) as session:
            workers.leave(session, name="drawer")
