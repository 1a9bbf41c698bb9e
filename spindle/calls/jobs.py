"""``/v1/fine_tuning/jobs``."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import httpx

from spindle import reports, results
from spindle.call import Call, Listing, Plan, known, post
from spindle.call import get as _get
from spindle.calls.waiting import until
from spindle.errors import ApiError, NotRunningError
from spindle.sse import EventReader

PATH = "/v1/fine_tuning/jobs"
LOOK_SECONDS = 2.0
MANY = 5000
AGAIN = frozenset({429, 502, 503, 504})


def create(
    model: str,
    training_file: str,
    *,
    method: str | Mapping[str, Any] = "spin",
    hyperparameters: Mapping[str, Any] | None = None,
    validation_file: str | None = None,
    suffix: str | None = None,
    seed: int | None = None,
    metadata: Mapping[str, str] | None = None,
    priority: int | None = None,
    queue: str | None = None,
    device: str | None = None,
    retention: Mapping[str, Any] | None = None,
) -> Call[results.Job]:
    """Start a fine-tuning job. What is None is not given.

    Args:
        model: name of a base model, a result or a checkpoint.
        training_file: id of a dataset or a file.
        method: ``"spin"``, ``"sft"``, ``"dpo"``, ... (docs/methods.md), with ``hyperparameters``; or the
            whole method object of the API.
        hyperparameters: what differs from the model's recommended settings.
        validation_file: id of held-out data: measured, never trained on.
        suffix: part of the result's name.
        seed: decides every random number.
        metadata: pairs of strings, kept with the job.
        priority: -100 to 100; higher goes first.
        queue: whose workers run it.
        device: ``"cpu"``, ``"gpu"`` or ``"auto"``.
        retention: which checkpoints stay, as the API has it.
    """
    told = {
        "model": model,
        "training_file": training_file,
        "method": _method(method, hyperparameters),
        "validation_file": validation_file,
        "suffix": suffix,
        "seed": seed,
        "metadata": metadata,
        "priority": priority,
        "queue": queue,
        "device": device,
        "retention": retention,
    }
    return post(results.Job, PATH, known(told))


def _method(method: str | Mapping[str, Any], hyperparameters: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if isinstance(method, str):
        return {"type": method, method: {"hyperparameters": dict(hyperparameters or {})}}
    return method


def estimate(
    model: str,
    training_file: str,
    *,
    method: str | Mapping[str, Any] = "spin",
    hyperparameters: Mapping[str, Any] | None = None,
    validation_file: str | None = None,
    priority: int | None = None,
    queue: str | None = None,
    device: str | None = None,
) -> Call[reports.Estimate]:
    """Tell what a job would come to; nothing is made. The arguments are those of ``create``."""
    told = {
        "model": model,
        "training_file": training_file,
        "method": _method(method, hyperparameters),
        "validation_file": validation_file,
        "priority": priority,
        "queue": queue,
        "device": device,
    }
    return post(reports.Estimate, "/v1/fine_tuning/estimates", known(told))


def methods(model: str | None = None) -> Call[list[reports.MethodOffer]]:
    """Return the methods with their hyperparameters and presets, as a model recommends them."""

    def read(page: dict[str, Any]) -> list[reports.MethodOffer]:
        return [reports.MethodOffer.model_validate(each) for each in page["data"]]

    return Call("GET", "/v1/fine_tuning/methods", read, params={"model": model})


def get(job_id: str) -> Call[results.Job]:
    """Return a job as it stands."""
    return _get(results.Job, f"{PATH}/{job_id}")


def list_(*, limit: int | None = None, metadata: Mapping[str, str] | None = None) -> Listing[results.Job]:
    """Yield jobs, newest first; only those that carry all of ``metadata``."""
    wanted = {f"metadata[{key}]": value for key, value in (metadata or {}).items()}
    return Listing(results.Job, PATH, limit, params=wanted)


def cancel(job_id: str) -> Call[results.Job]:
    """Ask for the job's end."""
    return post(results.Job, f"{PATH}/{job_id}/cancel")


def pause(job_id: str) -> Call[results.Job]:
    """Ask the job to write a checkpoint and stop."""
    return post(results.Job, f"{PATH}/{job_id}/pause")


def resume(job_id: str) -> Call[results.Job]:
    """Let a paused job go on."""
    return post(results.Job, f"{PATH}/{job_id}/resume")


def wait(job_id: str, *, timeout: float | None = None, poll: float = LOOK_SECONDS) -> Plan[results.Job]:
    """Wait until a job has come to its end, good or bad, and return it.

    Args:
        job_id: of the job.
        timeout: seconds to wait at most; None: for ever.
        poll: seconds between two looks.

    Raises:
        WaitedTooLongError: it had not ended.
    """
    return until(get(job_id), lambda job: job.finished, timeout=timeout, poll=poll)


def checkpoints(job_id: str, *, limit: int | None = None) -> Listing[results.Checkpoint]:
    """Yield the job's checkpoints, newest first."""
    return Listing(results.Checkpoint, f"{PATH}/{job_id}/checkpoints", limit)


def events(job_id: str, *, limit: int | None = None) -> Listing[results.Event]:
    """Yield the job's events so far, newest first."""
    return Listing(results.Event, f"{PATH}/{job_id}/events", limit)


def metrics(job_id: str, names: tuple[str, ...] = ()) -> Listing[results.Metric]:
    """Yield the job's measured numbers in order; all names, or those asked for."""
    wanted = {"names": ",".join(names) or None}
    return Listing(results.Metric, f"{PATH}/{job_id}/metrics", page_size=MANY, params=wanted)


def samples(job_id: str, *, iteration: int | None = None) -> Call[list[results.Sample]]:
    """Return the job's preview pictures: the same prompts and seeds after each iteration, from -1 on."""

    def read(page: dict[str, Any]) -> list[results.Sample]:
        return [results.Sample.model_validate(each) for each in page["data"]]

    return Call("GET", f"{PATH}/{job_id}/samples", read, params={"iteration": iteration})


def curves(job_id: str, names: tuple[str, ...] = (), *, points: int = 200) -> Call[list[reports.Curve]]:
    """Return the job's training numbers as curves of at most so many points, however long it ran."""

    def read(page: dict[str, Any]) -> list[reports.Curve]:
        return [reports.Curve.model_validate(each) for each in page["data"]]

    wanted = {"names": ",".join(names) or None, "points": points}
    return Call("GET", f"{PATH}/{job_id}/curves", read, params=wanted)


def facts(job_id: str, *, compared_with: str | None = None) -> Call[reports.Report]:
    """Return what the report of a job says: its columns with what was measured, and the verdict.

    Args:
        job_id: of the job, in any state.
        compared_with: id of another job, whose last iteration is a column as well.
    """
    return Call(
        "GET",
        f"{PATH}/{job_id}/report",
        reports.Report.model_validate,
        params={"with": compared_with},
        headers={"Accept": "application/json"},
    )


@dataclass
class Following:
    """Where the reader of a job's events is: what it has seen, and how often in a row it was cut off.

    A connection that breaks is opened again where it broke (Last-Event-ID), so that no event is lost or told
    twice. Whoever follows asks for the job (``look``), reads the stream (``path`` with ``params`` and
    ``headers``, each line through ``events``) until it ends, and is over when ``over`` is; then ``pause``.
    """

    job_id: str
    attempts: int
    seen: str | None = None
    failures: int = 0
    over: bool = False

    params: ClassVar[dict[str, str]] = {"stream": "true"}
    broken: ClassVar[tuple[type[Exception], ...]] = (httpx.TransportError, NotRunningError, ApiError)

    @property
    def path(self) -> str:
        """The address of the stream."""
        return f"{PATH}/{self.job_id}/events"

    @property
    def headers(self) -> dict[str, str]:
        """From where on it is to tell."""
        told = {"Accept": "text/event-stream"}
        return told if self.seen is None else told | {"Last-Event-ID": self.seen}

    def look(self) -> Call[results.Job]:
        """Ask before the stream whether the job has ended: of one that has, the stream tells all."""
        return get(self.job_id)

    def events(self, reader: EventReader, line: str) -> Iterator[results.Event]:
        """Yield the event that a line of the stream ends, if it does."""
        event = reader.read(line)
        if event is not None and event.data.startswith("{") and event.id is not None:
            self.seen, self.failures = event.id, 0
            yield results.Event.model_validate_json(event.data)

    def cut_off(self, error: Exception) -> None:
        """Count an error, and raise it when it is final or came too often in a row."""
        self.failures += 1
        over = self.failures >= self.attempts
        if isinstance(error, ApiError):
            if over or error.status not in AGAIN:
                raise error
        elif over:
            raise NotRunningError(f"The events of {self.job_id} broke off: {error}") from error
        self.over = False

    @property
    def pause(self) -> float:
        """Seconds until the stream is opened again."""
        return 0.5 * self.failures or 0.2
