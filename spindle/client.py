"""The Python client: ``Spindle().jobs.create("starter", "file-...", method="spin")``."""

import base64
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from spindle import results
from spindle.errors import ApiError, NotRunningError, SpindleError
from spindle.location import Location, locate
from spindle.resource import Resource
from spindle.sse import read_events
from spindle.transport import Transport, Upload


class Spindle:
    """A connection to Spindle.

    The address comes from ``url``, SPINDLE_URL or ``STATE/url``; the key from ``key``, SPINDLE_API_KEY or
    ``STATE/key``; STATE from ``state``, SPINDLE_STATE or ``./.spindle``. Use it as a context manager.

    Raises:
        ApiError: from every method, when the API refuses; its text says why.
        NotRunningError: from every method, when nothing answers.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        key: str | None = None,
        state: Path | None = None,
        attempts: int = 5,
        timeout: float = 60.0,
    ) -> None:
        self.location: Location = locate(state=state, url=url, key=key)
        self.transport = Transport(self.location.url, self.location.key, attempts=attempts, timeout=timeout)
        self.files = Files(self.transport)
        self.datasets = Datasets(self.transport)
        self.jobs = Jobs(self.transport)
        self.models = Models(self.transport)
        self.images = Images(self.transport)
        self.keys = Keys(self.transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def alive(self) -> bool:
        """Tell whether something answers at the address, at the first try."""
        return self.transport.alive()

    def project(self) -> results.Project:
        """Return the key's project: its limits, and what it uses of them."""
        return results.Project.model_validate(self.transport.request("GET", "/v1/project"))

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()


class Files(Resource):
    """``/v1/files``."""

    def upload(self, path: Path, *, purpose: str = "fine-tune") -> results.File:
        """Upload a file from disk, piece by piece.

        Raises:
            SpindleError: there is no such file.
        """
        try:
            stream = path.open("rb")
        except OSError as error:
            raise SpindleError(f"Cannot read {path}: {error.strerror}") from error
        with stream:
            upload = Upload(stream, path.name, {"purpose": purpose})
            return results.File.model_validate(self._transport.request("POST", "/v1/files", upload=upload))

    def get(self, file_id: str) -> results.File:
        """Return a file's description."""
        return self._get(results.File, f"/v1/files/{file_id}")

    def list(self, *, limit: int | None = None) -> Iterator[results.File]:
        """Yield files, newest first."""
        return self._pages(results.File, "/v1/files", limit)

    def delete(self, file_id: str) -> results.Deleted:
        """Delete a file."""
        return self._delete(f"/v1/files/{file_id}")


class Datasets(Resource):
    """``/v1/datasets``."""

    def create(self, name: str, file_id: str) -> results.Dataset:
        """Build a new version of a dataset from an uploaded file; it is checked in the background."""
        return self._post(results.Dataset, "/v1/datasets", {"name": name, "file": file_id})

    def get(self, dataset_id: str) -> results.Dataset:
        """Return a dataset with its statistics and rejected rows."""
        return self._get(results.Dataset, f"/v1/datasets/{dataset_id}")

    def list(self, *, limit: int | None = None) -> Iterator[results.Dataset]:
        """Yield datasets, newest first."""
        return self._pages(results.Dataset, "/v1/datasets", limit)

    def rows(self, dataset_id: str, *, limit: int | None = None) -> Iterator[results.DatasetRow]:
        """Yield a dataset's rows in order."""
        return self._pages(results.DatasetRow, f"/v1/datasets/{dataset_id}/rows", limit)


class Jobs(Resource):
    """``/v1/fine_tuning/jobs``."""

    _path = "/v1/fine_tuning/jobs"

    def create(
        self,
        model: str,
        training_file: str,
        *,
        method: str | dict[str, Any] = "spin",
        hyperparameters: dict[str, Any] | None = None,
        **more: Any,
    ) -> results.Job:
        """Start a fine-tuning job.

        Args:
            model: name of a base model, a result or a checkpoint.
            training_file: id of a dataset or a file.
            method: ``"spin"``, ``"sft"``, ``"dpo"``, ... (docs/methods.md), with ``hyperparameters``; or the
                whole method object of the API.
            hyperparameters: what differs from the model's recommended settings.
            more: ``validation_file``, ``suffix``, ``seed``, ``metadata``, ``priority``, ``queue`` or
                ``device``; None means not given.
        """
        if isinstance(method, str):
            method = {"type": method, method: {"hyperparameters": hyperparameters or {}}}
        body = {"model": model, "training_file": training_file, "method": method}
        return self._post(results.Job, self._path, body | {k: v for k, v in more.items() if v is not None})

    def get(self, job_id: str) -> results.Job:
        """Return a job as it stands."""
        return self._get(results.Job, f"{self._path}/{job_id}")

    def list(self, *, limit: int | None = None) -> Iterator[results.Job]:
        """Yield jobs, newest first."""
        return self._pages(results.Job, self._path, limit)

    def cancel(self, job_id: str) -> results.Job:
        """Ask for the job's end."""
        return self._post(results.Job, f"{self._path}/{job_id}/cancel")

    def pause(self, job_id: str) -> results.Job:
        """Ask the job to write a checkpoint and stop."""
        return self._post(results.Job, f"{self._path}/{job_id}/pause")

    def resume(self, job_id: str) -> results.Job:
        """Let a paused job go on."""
        return self._post(results.Job, f"{self._path}/{job_id}/resume")

    def checkpoints(self, job_id: str, *, limit: int | None = None) -> Iterator[results.Checkpoint]:
        """Yield the job's checkpoints, newest first."""
        return self._pages(results.Checkpoint, f"{self._path}/{job_id}/checkpoints", limit)

    def events(self, job_id: str, *, limit: int | None = None) -> Iterator[results.Event]:
        """Yield the job's events so far, newest first."""
        return self._pages(results.Event, f"{self._path}/{job_id}/events", limit)

    def metrics(self, job_id: str, names: tuple[str, ...] = ()) -> Iterator[results.Metric]:
        """Yield the job's measured numbers in order; all names, or those asked for."""
        wanted = ",".join(names) or None
        return self._pages(
            results.Metric, f"{self._path}/{job_id}/metrics", None, page_size=5000, names=wanted
        )

    def follow(self, job_id: str) -> Iterator[results.Event]:
        """Yield every event of the job, from its first to its last, as they happen.

        A connection that breaks is opened again where it broke (Last-Event-ID), so that no event is lost or
        told twice.
        """
        seen: str | None = None
        failures = 0
        while True:
            try:
                # Asked before the stream: of a job that has finished by now, the stream tells all.
                finished = self.get(job_id).finished
                for event in self._stream(job_id, seen):
                    seen, failures = event.id, 0
                    yield event
                if finished:
                    return
            except (httpx.TransportError, NotRunningError) as error:
                failures += 1
                if failures >= self._transport.attempts:
                    raise NotRunningError(f"The events of {job_id} broke off: {error}") from error
            except ApiError as error:
                failures += 1
                if error.status not in {429, 502, 503, 504} or failures >= self._transport.attempts:
                    raise
            self._transport.sleep(0.5 * failures or 0.2)

    def _stream(self, job_id: str, after: str | None) -> Iterator[results.Event]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
        path = f"{self._path}/{job_id}/events"
        with self._transport.stream(path, params={"stream": "true"}, headers=headers) as answer:
            for event in read_events(answer.iter_lines()):
                if event.data.startswith("{") and event.id is not None:
                    yield results.Event.model_validate_json(event.data)


class Models(Resource):
    """``/v1/models``."""

    def get(self, name: str) -> results.Model:
        """Return a model's description."""
        return self._get(results.Model, f"/v1/models/{name}")

    def list(self, *, limit: int | None = None) -> Iterator[results.Model]:
        """Yield the models that can be used, newest first."""
        return self._pages(results.Model, "/v1/models", limit)

    def delete(self, name: str) -> results.Deleted:
        """Delete a result."""
        return self._delete(f"/v1/models/{name}")

    def download(self, name: str, path: Path) -> int:
        """Write the zip of the model's diffusers folder to ``path``, whole or not at all; return its size."""
        partial = path.with_name(path.name + ".part")
        try:
            with self._transport.stream(f"/v1/models/{name}/content") as answer, partial.open("wb") as out:
                for piece in answer.iter_bytes():
                    out.write(piece)
            return partial.replace(path).stat().st_size
        except httpx.TransportError as error:
            raise NotRunningError(f"The download of {name} broke off: {error}. Start it again.") from error
        finally:
            partial.unlink(missing_ok=True)


class Images(Resource):
    """``/v1/images``."""

    def generate(
        self, model: str, prompt: str, *, n: int = 1, timeout: float = 600.0, **more: Any
    ) -> list[bytes]:
        """Draw ``n`` pictures and return them as PNG bytes.

        Args:
            model: name of a base model, a result or a checkpoint.
            prompt: what to draw.
            n: how many; picture i is drawn with ``seed + i``.
            timeout: seconds to wait.
            more: ``seed``, ``seeds``, ``steps``, ``guidance_scale``, ``negative_prompt``, ``size``; None
                means not given.
        """
        body = {"model": model, "prompt": prompt, "n": n, "response_format": "b64_json"}
        body |= {key: value for key, value in more.items() if value is not None}
        answer = self._transport.request("POST", "/v1/images/generations", body=body, timeout=timeout)
        pictures = [results.Picture.model_validate(item) for item in answer["data"]]
        return [base64.b64decode(picture.b64_json or "", validate=True) for picture in pictures]


class Keys(Resource):
    """``/v1/keys``."""

    def create(self, name: str) -> results.Key:
        """Make a key; its secret is told this once."""
        return self._post(results.Key, "/v1/keys", {"name": name})

    def list(self, *, limit: int | None = None) -> Iterator[results.Key]:
        """Yield keys, newest first, without their secrets."""
        return self._pages(results.Key, "/v1/keys", limit)

    def revoke(self, key_id: str) -> results.Deleted:
        """Revoke a key."""
        return self._delete(f"/v1/keys/{key_id}")
