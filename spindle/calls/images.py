"""``/v1/images``."""

import base64
import json
from collections.abc import Iterator, Sequence
from typing import Any

from spindle import drawn
from spindle.call import Call, Listing, Plan, known, post
from spindle.call import get as _get
from spindle.calls.waiting import until
from spindle.errors import ApiError, NotRunningError, SpindleError
from spindle.sse import EventReader

PATH = "/v1/images/generations"
DRAWING_SECONDS = 600.0
LOOK_SECONDS = 0.5
ASYNC = {"Prefer": "respond-async"}


def generate(
    model: str,
    prompt: str,
    *,
    n: int = 1,
    seed: int | None = None,
    seeds: Sequence[int] | None = None,
    steps: int | None = None,
    guidance_scale: float | None = None,
    negative_prompt: str | None = None,
    size: str | None = None,
    request_key: str | None = None,
    timeout: float = DRAWING_SECONDS,
) -> Call[list[bytes]]:
    """Draw pictures and return them as PNG bytes. What is None is not given.

    Args:
        model: name of a base model, a result, a checkpoint, or a registered name.
        prompt: what to draw.
        n: how many; picture i is drawn with ``seed + i``.
        seed: same seed, same picture.
        seeds: one seed a picture, in place of ``seed`` and ``n``.
        steps: of the sampler.
        guidance_scale: of classifier-free guidance; 1: none.
        negative_prompt: what not to draw.
        size: ``"512x512"``; None: the model's own.
        request_key: where an alias is split, the same key gets the same version.
        timeout: seconds to wait.
    """
    told = _asked(
        model,
        prompt,
        n=n,
        seed=seed,
        seeds=seeds,
        steps=steps,
        guidance_scale=guidance_scale,
        negative_prompt=negative_prompt,
        size=size,
        request_key=request_key,
    )
    return Call("POST", PATH, _pictures, body=told | {"response_format": "b64_json"}, timeout=timeout)


def submit(
    model: str,
    prompt: str,
    *,
    n: int = 1,
    seed: int | None = None,
    seeds: Sequence[int] | None = None,
    steps: int | None = None,
    guidance_scale: float | None = None,
    negative_prompt: str | None = None,
    size: str | None = None,
    request_key: str | None = None,
    deadline: float | None = None,
) -> Call[drawn.Drawing]:
    """Ask for pictures and do not wait for them (``get``, ``wait``, ``pictures``).

    Args:
        model: as in ``generate``, as is all that is not named here.
        prompt: what to draw.
        n: how many.
        seed: of the first.
        seeds: one a picture.
        steps: of the sampler.
        guidance_scale: 1: none.
        negative_prompt: what not to draw.
        size: in pixels.
        request_key: of a split alias.
        deadline: seconds after which it is given up; None: as the platform has it.
    """
    told = _asked(
        model,
        prompt,
        n=n,
        seed=seed,
        seeds=seeds,
        steps=steps,
        guidance_scale=guidance_scale,
        negative_prompt=negative_prompt,
        size=size,
        request_key=request_key,
        timeout_seconds=deadline,
    )
    return Call("POST", PATH, drawn.Drawing.model_validate, body=told, headers=ASYNC)


def get(drawing_id: str) -> Call[drawn.Drawing]:
    """Return a request for pictures as it stands."""
    return _get(drawn.Drawing, f"{PATH}/{drawing_id}")


def list_(*, limit: int | None = None) -> Listing[drawn.Drawing]:
    """Yield the requests for pictures of the last day, newest first."""
    return Listing(drawn.Drawing, PATH, limit)


def cancel(drawing_id: str) -> Call[drawn.Drawing]:
    """End a request for pictures that nobody wants any more; one that has ended stays as it is."""
    return post(drawn.Drawing, f"{PATH}/{drawing_id}/cancel")


def wait(drawing_id: str, *, timeout: float | None = None, poll: float = LOOK_SECONDS) -> Plan[drawn.Drawing]:
    """Wait until a request for pictures has come to its end, good or bad, and return it.

    Args:
        drawing_id: of the request.
        timeout: seconds to wait at most; None: for ever.
        poll: seconds between two looks.

    Raises:
        WaitedTooLongError: it had not ended.
    """
    return until(get(drawing_id), lambda drawing: drawing.has_ended, timeout=timeout, poll=poll)


def stream_body(model: str, prompt: str, *, partial_images: int, **more: Any) -> dict[str, Any]:
    """Return what a stream of pictures is asked for with; ``more`` is as in ``generate``."""
    return _asked(model, prompt, stream=True, partial_images=partial_images, **more)


def stream_events(reader: EventReader, line: str) -> Iterator[drawn.ImageEvent]:
    """Yield the picture, or the look at one, that a line of a stream ends, if it does.

    Raises:
        ApiError: the stream tells that it came to nothing.
    """
    event = reader.read(line)
    if event is None:
        return
    told = json.loads(event.data)
    if event.name == "error":
        error = told["error"]
        told = {name: error.get(name) for name in ("param", "code")}
        raise ApiError(
            int(error.get("status") or 500), str(error["message"]), type=str(error.get("type") or ""), **told
        )
    yield drawn.ImageEvent.model_validate(told)


def cut_off(error: Exception) -> NotRunningError:
    """Say that a stream of pictures broke."""
    return NotRunningError(f"The stream of pictures broke off: {error}")


def links(drawing: drawn.Drawing) -> list[str]:
    """Return the addresses of the pictures of a request.

    Raises:
        SpindleError: there are none: it has not succeeded.
    """
    if drawing.data is None:
        why = f": {drawing.failure.message}" if drawing.failure is not None else ""
        raise SpindleError(f"{drawing.id} is {drawing.status} and has no pictures{why}")
    return [picture.url or "" for picture in drawing.data]


def _asked(model: str, prompt: str, **more: Any) -> dict[str, Any]:
    told = {"model": model, "prompt": prompt, **more}
    if told.get("seeds") is not None:
        told["n"] = None
    return known(told)


def _pictures(answer: dict[str, Any]) -> list[bytes]:
    pictures = [drawn.Picture.model_validate(item) for item in answer["data"]]
    return [base64.b64decode(picture.b64_json or "", validate=True) for picture in pictures]
