"""The warm drawing process: one JSON request a line on stdin, one JSON answer a line on stdout.

Request: ``{"id", "base": folder, "weights": folder | null, "prompt", "negative_prompt": text | null,
"seeds": [int, ...], "width": pixels | null, "height": pixels | null, "steps", "guidance_scale",
"out": folder}``.
Answer: ``{"id", "files": ["0.png", ...], "seconds"}``, or ``{"id", "error", "reason"}`` where the reason is
``user_error``, ``out_of_memory`` or ``internal``. A failed request never ends the process; stdin's end does.
"""

import json
import time
import traceback
from collections import OrderedDict
from pathlib import Path
from typing import IO, Annotated, Any

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError

from spin_engine.families.family import Family
from spin_engine.families.loader import load
from spin_engine.hyperparameters import Config
from spin_engine.sampler import draw

WARM = 2
BATCH = 4
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Side = Annotated[int, Field(ge=8, le=4096)]


class DrawRequest(Config):
    """One line of stdin. ``base`` and ``weights`` are folders whose contents never change."""

    id: str
    base: Path
    weights: Path | None = None
    prompt: str
    negative_prompt: str | None = None
    seeds: list[Seed] = Field(min_length=1, max_length=64)
    width: Side | None = None
    height: Side | None = None
    steps: int = Field(ge=1, le=1000)
    guidance_scale: float = Field(ge=1, le=50)
    out: Path


class Warm:
    """The families used last, loaded; the one unused for longest makes room for a new one."""

    def __init__(self, *, size: int, device: torch.device | str) -> None:
        """Hold at most ``size`` families on ``device``."""
        self.size = size
        self.device = device
        self._families: OrderedDict[tuple[Path, Path | None], Family] = OrderedDict()

    def family(self, base: Path, weights: Path | None) -> Family:
        """Return the family of ``base`` with ``weights``, loading it if it is not warm."""
        key = (base, weights)
        if key in self._families:
            self._families.move_to_end(key)
        else:
            while len(self._families) >= self.size:
                self._families.popitem(last=False)
            self._families[key] = load(base, weights, self.device)
        return self._families[key]

    def forget(self, base: Path, weights: Path | None) -> None:
        """Drop a family, so that its next use loads it again."""
        self._families.pop((base, weights), None)

    def clear(self) -> None:
        """Drop every family and give their memory back to the device."""
        self._families.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def serve(stdin: IO[str], stdout: IO[str]) -> None:
    """Answer requests until ``stdin`` ends."""
    warm = Warm(size=WARM, device="cuda" if torch.cuda.is_available() else "cpu")
    for line in stdin:
        if line.strip():
            stdout.write(json.dumps(answer(line, warm)) + "\n")
            stdout.flush()


def answer(line: str, warm: Warm) -> dict[str, Any]:
    """Return the answer to one line; every failure is an answer too."""
    try:
        request = DrawRequest.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "request"
        return {"id": _id_of(line), "error": f"{where}: {first['msg']}", "reason": "user_error"}
    started = time.monotonic()
    try:
        files = _draw(request, warm)
    except (MemoryError, torch.OutOfMemoryError) as error:
        warm.clear()
        return {"id": request.id, "error": f"not enough memory: {error}", "reason": "out_of_memory"}
    except ValueError as error:
        warm.forget(request.base, request.weights)
        return {"id": request.id, "error": str(error), "reason": "user_error"}
    except (OSError, RuntimeError, SafetensorError) as error:
        traceback.print_exc()
        warm.forget(request.base, request.weights)
        return {"id": request.id, "error": f"{type(error).__name__}: {error}", "reason": "internal"}
    return {"id": request.id, "files": files, "seconds": round(time.monotonic() - started, 3)}


def _draw(request: DrawRequest, warm: Warm) -> list[str]:
    """Draw the pictures of a request into its folder; return their names, in the order of the seeds."""
    family = warm.family(request.base, request.weights)
    request.out.mkdir(parents=True, exist_ok=True)
    files: list[str] = []
    for start in range(0, len(request.seeds), BATCH):
        seeds = request.seeds[start : start + BATCH]
        pictures = draw(
            family,
            [request.prompt] * len(seeds),
            [request.negative_prompt or ""] * len(seeds),
            seeds,
            steps=request.steps,
            guidance=request.guidance_scale,
            height=request.height,
            width=request.width,
        )
        for picture in pictures:
            files.append(f"{len(files)}.png")
            picture.save(request.out / files[-1], "PNG")
    return files


def _id_of(line: str) -> str | None:
    """Return the id of a request that is otherwise wrong, if it can be read."""
    try:
        raw = json.loads(line)
    except ValueError:
        return None
    found = raw.get("id") if isinstance(raw, dict) else None
    return found if isinstance(found, str) else None
