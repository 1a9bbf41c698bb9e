"""The warm drawing process: JSON lines on stdin and stdout.

In: a batch of drawings that are drawn together (``serving.requests.Batch``), or ``{"cancel": [id, ...]}``.

Out, for each drawing one of

- ``{"id", "files": ["0.png", ...], "seconds", "together"}``: how many pictures were drawn in one go;
- ``{"id", "error", "reason"}``: ``user_error``, ``out_of_memory``, ``disk_full`` or ``internal``;
- ``{"id", "cancelled": true}``.

Before that, where it was asked for, ``{"type": "partial", "id", "picture", "index", "file"}``: the clean
picture that the step at hand points at, by the real decoder. For each batch ``{"type": "nearly", "id"}`` when
only decoding is left.

PNG files are written by threads of their own while the next batch is drawn. A failed drawing never ends the
process; stdin's end does.
"""

import json
import queue
import threading
import time
import traceback
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import IO, Any

import torch
from PIL import Image
from pydantic import ValidationError

from spin_engine.device import is_out_of_memory
from spin_engine.disk import is_disk_full
from spin_engine.serving import png
from spin_engine.serving.drawing import Picture, draw_batch
from spin_engine.serving.requests import Batch, Cancel, Wish
from spin_engine.serving.warm import Warm

WRITERS = 2
AHEAD = 4  # pictures that wait for a writer, for each of them


class Answers:
    """Writes lines to whoever listens, and knows which drawings are still to be answered."""

    def __init__(self, stdout: IO[str]) -> None:
        self._stdout = stdout
        self._guard = threading.Lock()
        self._open: set[str] = set()
        self._unwanted: set[str] = set()

    def begin(self, ids: Collection[str]) -> None:
        """Owe answers."""
        with self._guard:
            self._open |= set(ids)

    def cancel(self, ids: Collection[str]) -> None:
        """Note what nobody wants any more; what was answered already is left alone."""
        with self._guard:
            self._unwanted |= self._open & set(ids)

    @property
    def unwanted(self) -> frozenset[str]:
        """What nobody wants of that which is owed."""
        with self._guard:
            return frozenset(self._unwanted)

    def say(self, line: dict[str, Any]) -> None:
        """Write a line."""
        with self._guard:
            self._write(line)

    def answer(self, drawing_id: str | None, **told: Any) -> None:
        """Write the answer of a drawing, unless it has one."""
        with self._guard:
            if drawing_id is not None:
                if drawing_id not in self._open:
                    return
                self._open.discard(drawing_id)
                self._unwanted.discard(drawing_id)
            self._write({"id": drawing_id, **told})

    def _write(self, line: dict[str, Any]) -> None:
        self._stdout.write(json.dumps(line) + "\n")
        self._stdout.flush()


@dataclass
class Show:
    """What becomes of one batch (see ``serving.drawing.Audience``)."""

    batch: Batch
    answers: Answers
    writers: ThreadPoolExecutor
    room: threading.Semaphore
    began: float = field(default_factory=time.monotonic)
    _left: dict[str, int] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def unwanted(self) -> Collection[str]:
        """Return the ids of drawings that nobody wants any more."""
        return self.answers.unwanted

    def nearly(self) -> None:
        """Tell that only decoding is left."""
        self.answers.say({"type": "nearly", "id": self.batch.id})

    def glimpse(self, picture: Picture, index: int, image: Image.Image) -> None:
        """Write a picture on its way, and tell of it."""
        file = f"partial-{picture.place}-{index}.png"
        self._save(picture, image, file)
        told = {"picture": picture.place, "index": index, "file": file}
        self.answers.say({"type": "partial", "id": picture.wish.id, **told})

    def drawn(self, picture: Picture, image: Image.Image, *, together: int) -> None:
        """Write a picture, and answer when it is the last of its drawing."""

        def write() -> None:
            wish = picture.wish
            self._save(picture, image, f"{picture.place}.png")
            with self._guard:
                self._left[wish.id] = left = self._left.get(wish.id, len(wish.seeds)) - 1
            if left == 0:
                self.answers.answer(
                    wish.id,
                    files=[f"{place}.png" for place in range(len(wish.seeds))],
                    seconds=round(time.monotonic() - self.began, 3),
                    together=together,
                )

        self._later(picture, write)

    def failed(self, wish: Wish, error: BaseException) -> None:
        """Answer that it came to nothing, and why."""
        if is_out_of_memory(error):
            self.answers.answer(wish.id, error=f"not enough memory: {error}", reason="out_of_memory")
        elif isinstance(error, ValueError):
            self.answers.answer(wish.id, error=str(error), reason="user_error")
        else:
            traceback.print_exception(error)
            reason = "disk_full" if is_disk_full(error) else "internal"
            self.answers.answer(wish.id, error=f"{type(error).__name__}: {error}", reason=reason)

    def _save(self, picture: Picture, image: Image.Image, file: str) -> None:
        picture.wish.out.mkdir(parents=True, exist_ok=True)
        png.save(image, picture.wish.out / file, picture.wish, self.batch, picture.seed)

    def _later(self, picture: Picture, write: Callable[[], None]) -> None:
        def run() -> None:
            try:
                write()
            except (OSError, ValueError, RuntimeError) as error:
                self.failed(picture.wish, error)
            finally:
                self.room.release()

        self.room.acquire()
        self.writers.submit(run)


def serve(stdin: IO[str], stdout: IO[str], *, memory_bytes: int = 0) -> None:
    """Answer requests until ``stdin`` ends.

    Args:
        stdin: where requests come from; they are read while others are drawn, for one may cancel another.
        stdout: where answers go.
        memory_bytes: what models may take; 0: what is reasonable on this device.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    warm = Warm(limit=memory_bytes, device=device)
    answers = Answers(stdout)
    batches: queue.SimpleQueue[tuple[Batch, list[Wish]] | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(stdin, batches, answers), name="reader", daemon=True)
    reader.start()
    with ThreadPoolExecutor(WRITERS, thread_name_prefix="writer") as writers:
        room = threading.Semaphore(WRITERS * AHEAD)
        while (waiting := batches.get()) is not None:
            batch, wishes = waiting
            draw_batch(batch, wishes, warm, Show(batch, answers, writers, room))
            for wish in wishes:
                if wish.id in answers.unwanted:
                    answers.answer(wish.id, cancelled=True)


def _read(
    stdin: IO[str], batches: "queue.SimpleQueue[tuple[Batch, list[Wish]] | None]", answers: Answers
) -> None:
    for line in stdin:
        if not line.strip():
            continue
        try:
            if '"cancel"' in line and isinstance(raw := json.loads(line), dict) and "cancel" in raw:
                answers.cancel(Cancel.model_validate(raw).cancel)
                continue
            batch = Batch.model_validate_json(line)
        except ValueError as error:  # of pydantic too
            _refuse(line, error, answers)
            continue
        wishes = _wishes(batch, answers)
        if wishes:
            batches.put((batch, wishes))
    batches.put(None)


def _wishes(batch: Batch, answers: Answers) -> list[Wish]:
    """Return the drawings of a batch that can be drawn; the others are answered."""
    wishes = []
    for told in batch.drawings:
        drawing_id = told.get("id") if isinstance(told.get("id"), str) else None
        if drawing_id is not None:
            answers.begin([drawing_id])
        try:
            wishes.append(Wish.model_validate(told))
        except ValidationError as error:
            answers.answer(drawing_id, error=_why(error), reason="user_error")
    return wishes


def _refuse(line: str, error: ValueError, answers: Answers) -> None:
    """Answer every drawing of a batch that is no batch, as far as any can be read."""
    told = {"error": _why(error), "reason": "user_error"}
    try:
        raw = json.loads(line)
        ids = [each["id"] for each in raw["drawings"] if isinstance(each["id"], str)]
    except (ValueError, KeyError, TypeError):
        ids = []
    answers.begin(ids)
    for drawing_id in ids:
        answers.answer(drawing_id, **told)
    if not ids:
        answers.answer(None, **told)


def _why(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "request"
    return f"{where}: {first['msg']}"
