"""The Python client: ``Spindle().jobs.create("starter", "file-...", method="spin").wait()``.

What each method asks stands in spindle.calls; ``AsyncSpindle`` of spindle.async_client asks the same.
"""

import builtins
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import PrivateAttr

from spindle import comparing, drawn, results
from spindle.binding import Does, Lists, Resource, does
from spindle.calls import (
    comparisons,
    datasets,
    files,
    images,
    jobs,
    keys,
    models,
    platform,
    registry,
    transfers,
    webhooks,
)
from spindle.downloads import broken_off, whole
from spindle.location import Location, locate
from spindle.sse import EventReader
from spindle.transport import Transport


class Job(results.Job):
    """A fine-tuning job that can be waited for and watched. It is as it stood when it was asked for."""

    _jobs: "Jobs" = PrivateAttr()

    @classmethod
    def of(cls, resource: "Jobs", found: results.Job) -> Self:
        """Return a job that knows its client."""
        return cls.model_validate(found.model_dump()).known_to(resource)

    def known_to(self, resource: "Jobs") -> Self:
        """Let the job know its client."""
        self._jobs = resource
        return self

    def wait(self, *, timeout: float | None = None, poll: float = jobs.LOOK_SECONDS) -> "Job":
        """Wait until it has come to its end, good or bad; WaitedTooLongError after ``timeout`` seconds."""
        return self._jobs.wait(self.id, timeout=timeout, poll=poll)

    def stream(self) -> Iterator[results.Event]:
        """Yield every event, from its first to its last, as they happen."""
        return self._jobs.follow(self.id)


class Files(Resource):
    """``/v1/files`` and ``/v1/uploads``."""

    upload = does(files.upload)
    get = does(files.get)
    list = Lists(files.list_)
    delete = does(files.delete)
    get_upload = does(files.get_upload)
    parts = Lists(files.parts)
    cancel_upload = does(files.cancel_upload)

    def download(self, file_id: str, path: Path) -> int:
        """Write a file's bytes to ``path``, whole or not at all; return how many there are."""
        return _download(self.transport, f"{files.FILES}/{file_id}/content", path)


class Datasets(Resource):
    """``/v1/datasets``."""

    create = does(datasets.create)
    get = does(datasets.get)
    list = Lists(datasets.list_)
    rows = Lists(datasets.rows)
    rejected = Lists(datasets.rejected)
    overlap = does(datasets.overlap)
    delete = does(datasets.delete)
    wait = does(datasets.wait)


class Jobs(Resource):
    """``/v1/fine_tuning/jobs``."""

    create = Does(jobs.create, Job.of)
    get = Does(jobs.get, Job.of)
    list = Lists(jobs.list_)
    cancel = Does(jobs.cancel, Job.of)
    pause = Does(jobs.pause, Job.of)
    resume = Does(jobs.resume, Job.of)
    wait = Does(jobs.wait, Job.of)
    checkpoints = Lists(jobs.checkpoints)
    events = Lists(jobs.events)
    metrics = Lists(jobs.metrics)
    samples = does(jobs.samples)
    curves = does(jobs.curves)
    facts = does(jobs.facts)
    estimate = does(jobs.estimate)
    methods = does(jobs.methods)

    def report(self, job_id: str, path: Path, *, compared_with: str | None = None) -> int:
        """Write the job's report to ``path``, whole or not at all; return its size.

        One HTML file that needs nothing else. ``compared_with`` is the id of another job.
        """
        address = f"{jobs.PATH}/{job_id}/report"
        return _download(self.transport, address, path, params={"with": compared_with})

    def follow(self, job_id: str) -> Iterator[results.Event]:
        """Yield every event of the job, from its first to its last, as they happen.

        A connection that breaks is opened again where it broke, so that no event is lost or told twice.
        """
        state = jobs.Following(job_id, self.transport.attempts)
        while not state.over:
            try:
                state.over = self.transport.send(state.look()).finished
                with self.transport.stream(state.path, params=state.params, headers=state.headers) as answer:
                    reader = EventReader()
                    for line in answer.iter_lines():
                        yield from state.events(reader, line)
            except state.broken as error:
                state.cut_off(error)
            if not state.over:
                self.transport.sleep(state.pause)


class Models(Resource):
    """``/v1/models``."""

    get = does(models.get)
    list = Lists(models.list_)
    delete = does(models.delete)
    lineage = does(models.lineage)
    card = does(transfers.card)
    export = does(transfers.export)
    get_export = does(transfers.get_export)
    exports = Lists(transfers.exports)
    wait_for_export = does(transfers.wait_for_export)
    import_file = does(transfers.import_)
    get_import = does(transfers.get_import)
    imports = Lists(transfers.imports)
    wait_for_import = does(transfers.wait_for_import)

    def download(self, name: str, path: Path) -> int:
        """Write the zip of the model's diffusers folder to ``path``, whole or not at all; return its size."""
        return _download(self.transport, f"{models.PATH}/{name}/content", path)

    def download_export(self, name: str, format: str, path: Path) -> int:  # noqa: A002  as the API has it
        """Write an export that is ready to ``path``, whole or not at all; return its size."""
        address = f"{models.PATH}/{name}/exports/{format}/content"
        return _download(self.transport, address, path)

    def draw_lineage(self, name: str, path: Path) -> int:
        """Write a model's lineage as an SVG to ``path``; return its size."""
        return _download(self.transport, f"{models.PATH}/{name}/lineage.svg", path)


class Registry(Resource):
    """``/v1/registry``."""

    create = does(registry.create)
    get = does(registry.get)
    list = Lists(registry.list_)
    describe = does(registry.describe)
    delete = does(registry.delete)
    promote = does(registry.promote)
    versions = Lists(registry.versions)
    note = does(registry.note)
    delete_version = does(registry.delete_version)
    aliases = Lists(registry.aliases)
    point = does(registry.point)
    rollback = does(registry.rollback)
    history = Lists(registry.history)
    delete_alias = does(registry.delete_alias)


class Images(Resource):
    """``/v1/images``."""

    generate = does(images.generate)
    submit = does(images.submit)
    get = does(images.get)
    list = Lists(images.list_)
    cancel = does(images.cancel)
    wait = does(images.wait)

    def stream(
        self, model: str, prompt: str, *, partial_images: int = 0, **more: Any
    ) -> Iterator[drawn.ImageEvent]:
        """Yield looks at each picture on its way, up to 3, then the pictures; ``more`` as in ``generate``.

        Whoever stops listening gives the place to others. A stream that breaks is not begun anew.
        """
        body = images.stream_body(model, prompt, partial_images=partial_images, **more)
        try:
            with self.transport.stream(images.PATH, body=body) as answer:
                reader = EventReader()
                for line in answer.iter_lines():
                    yield from images.stream_events(reader, line)
        except httpx.TransportError as error:
            raise images.cut_off(error) from error

    def pictures(self, drawing: drawn.Drawing) -> builtins.list[bytes]:
        """Return the PNG files of a request for pictures that has succeeded."""
        return [self.transport.fetch(link) for link in images.links(drawing)]


class Comparisons(Resource):
    """``/v1/comparisons``."""

    create = does(comparisons.create)
    get = does(comparisons.get)
    list = Lists(comparisons.list_)
    delete = does(comparisons.delete)
    wait = does(comparisons.wait)
    pictures = Lists(comparisons.pictures)
    ballot = does(comparisons.ballot)
    vote = does(comparisons.vote)
    votes = Lists(comparisons.votes)
    undo = does(comparisons.undo)
    create_dataset = does(comparisons.create_dataset)

    def save(self, side: comparing.Side, path: Path) -> int:
        """Write one picture of a ballot to ``path``, whole or not at all; return how many bytes there are."""
        return _download(self.transport, side.url, path)


class Keys(Resource):
    """``/v1/keys``."""

    create = does(keys.create)
    get = does(keys.get)
    list = Lists(keys.list_)
    rotate = does(keys.rotate)
    revoke = does(keys.revoke)


class Webhooks(Resource):
    """``/v1/webhook_endpoints``."""

    create = does(webhooks.create)
    get = does(webhooks.get)
    list = Lists(webhooks.list_)
    update = does(webhooks.update)
    delete = does(webhooks.delete)
    rotate_secret = does(webhooks.rotate_secret)
    test = does(webhooks.test)
    deliveries = Lists(webhooks.deliveries)
    replay = does(webhooks.replay)
    replay_failed = does(webhooks.replay_failed)


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
        self.registry = Registry(self.transport)
        self.images = Images(self.transport)
        self.comparisons = Comparisons(self.transport)
        self.keys = Keys(self.transport)
        self.webhooks = Webhooks(self.transport)

    project = does(keys.project)
    audit = Lists(keys.audit)
    workers = Lists(platform.workers)
    queue = does(platform.queue)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def alive(self) -> bool:
        """Tell whether something answers at the address, at the first try."""
        return self.transport.alive()

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()


def _download(
    transport: Transport, address: str, path: Path, *, params: Mapping[str, str | None] | None = None
) -> int:
    try:
        with whole(path) as out, transport.stream(address, params=params) as answer:
            for piece in answer.iter_bytes():
                out.write(piece)
    except httpx.TransportError as error:
        raise broken_off(path, error) from error
    return path.stat().st_size
