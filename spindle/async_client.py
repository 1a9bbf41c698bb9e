"""The Python client for asyncio: ``job = await AsyncSpindle().jobs.create("starter", "file-...")``."""

import builtins
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import PrivateAttr

from spindle import comparing, drawn, results
from spindle.binding import AsyncDoes, AsyncLists, AsyncResource, async_does
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
from spindle.transport import AsyncTransport


class AsyncJob(results.Job):
    """A fine-tuning job that can be waited for and watched. It is as it stood when it was asked for."""

    _jobs: "AsyncJobs" = PrivateAttr()

    @classmethod
    def of(cls, resource: "AsyncJobs", found: results.Job) -> Self:
        """Return a job that knows its client."""
        return cls.model_validate(found.model_dump()).known_to(resource)

    def known_to(self, resource: "AsyncJobs") -> Self:
        """Let the job know its client."""
        self._jobs = resource
        return self

    async def wait(
        self,
        *,
        timeout: float | None = None,
        poll: float = jobs.LOOK_SECONDS,
    ) -> "AsyncJob":
        """Wait until it has come to its end, good or bad; WaitedTooLongError after ``timeout`` seconds."""
        return await self._jobs.wait(self.id, timeout=timeout, poll=poll)

    def stream(self) -> AsyncIterator[results.Event]:
        """Yield every event, from its first to its last, as they happen."""
        return self._jobs.follow(self.id)


class AsyncFiles(AsyncResource):
    """``/v1/files`` and ``/v1/uploads``."""

    upload = async_does(files.upload)
    get = async_does(files.get)
    list = AsyncLists(files.list_)
    delete = async_does(files.delete)
    get_upload = async_does(files.get_upload)
    parts = AsyncLists(files.parts)
    cancel_upload = async_does(files.cancel_upload)

    async def download(self, file_id: str, path: Path) -> int:
        """Write a file's bytes to ``path``, whole or not at all; return how many there are."""
        return await _download(self.transport, f"{files.FILES}/{file_id}/content", path)


class AsyncDatasets(AsyncResource):
    """``/v1/datasets``."""

    create = async_does(datasets.create)
    get = async_does(datasets.get)
    list = AsyncLists(datasets.list_)
    rows = AsyncLists(datasets.rows)
    rejected = AsyncLists(datasets.rejected)
    overlap = async_does(datasets.overlap)
    delete = async_does(datasets.delete)
    wait = async_does(datasets.wait)


class AsyncJobs(AsyncResource):
    """``/v1/fine_tuning/jobs``."""

    create = AsyncDoes(jobs.create, AsyncJob.of)
    get = AsyncDoes(jobs.get, AsyncJob.of)
    list = AsyncLists(jobs.list_)
    cancel = AsyncDoes(jobs.cancel, AsyncJob.of)
    pause = AsyncDoes(jobs.pause, AsyncJob.of)
    resume = AsyncDoes(jobs.resume, AsyncJob.of)
    wait = AsyncDoes(jobs.wait, AsyncJob.of)
    checkpoints = AsyncLists(jobs.checkpoints)
    events = AsyncLists(jobs.events)
    metrics = AsyncLists(jobs.metrics)
    samples = async_does(jobs.samples)
    curves = async_does(jobs.curves)
    facts = async_does(jobs.facts)
    estimate = async_does(jobs.estimate)
    methods = async_does(jobs.methods)

    async def report(self, job_id: str, path: Path, *, compared_with: str | None = None) -> int:
        """Write the job's report to ``path``, whole or not at all; return its size.

        One HTML file that needs nothing else. ``compared_with`` is the id of another job.
        """
        address = f"{jobs.PATH}/{job_id}/report"
        return await _download(self.transport, address, path, params={"with": compared_with})

    async def follow(self, job_id: str) -> AsyncIterator[results.Event]:
        """Yield every event of the job, from its first to its last, as they happen.

        A connection that breaks is opened again where it broke, so that no event is lost or told twice.
        """
        state = jobs.Following(job_id, self.transport.attempts)
        while not state.over:
            try:
                state.over = (await self.transport.send(state.look())).finished
                opened = self.transport.stream(state.path, params=state.params, headers=state.headers)
                async with opened as answer:
                    reader = EventReader()
                    async for line in answer.aiter_lines():
                        for event in state.events(reader, line):
                            yield event
            except state.broken as error:
                state.cut_off(error)
            if not state.over:
                await self.transport.sleep(state.pause)


class AsyncModels(AsyncResource):
    """``/v1/models``."""

    get = async_does(models.get)
    list = AsyncLists(models.list_)
    delete = async_does(models.delete)
    lineage = async_does(models.lineage)
    card = async_does(transfers.card)
    export = async_does(transfers.export)
    get_export = async_does(transfers.get_export)
    exports = AsyncLists(transfers.exports)
    wait_for_export = async_does(transfers.wait_for_export)
    import_file = async_does(transfers.import_)
    get_import = async_does(transfers.get_import)
    imports = AsyncLists(transfers.imports)
    wait_for_import = async_does(transfers.wait_for_import)

    async def download(self, name: str, path: Path) -> int:
        """Write the zip of the model's diffusers folder to ``path``, whole or not at all; return its size."""
        return await _download(self.transport, f"{models.PATH}/{name}/content", path)

    async def download_export(self, name: str, format: str, path: Path) -> int:  # noqa: A002  as the API has it
        """Write an export that is ready to ``path``, whole or not at all; return its size."""
        address = f"{models.PATH}/{name}/exports/{format}/content"
        return await _download(self.transport, address, path)

    async def draw_lineage(self, name: str, path: Path) -> int:
        """Write a model's lineage as an SVG to ``path``; return its size."""
        return await _download(self.transport, f"{models.PATH}/{name}/lineage.svg", path)


class AsyncRegistry(AsyncResource):
    """``/v1/registry``."""

    create = async_does(registry.create)
    get = async_does(registry.get)
    list = AsyncLists(registry.list_)
    describe = async_does(registry.describe)
    delete = async_does(registry.delete)
    promote = async_does(registry.promote)
    versions = AsyncLists(registry.versions)
    note = async_does(registry.note)
    delete_version = async_does(registry.delete_version)
    aliases = AsyncLists(registry.aliases)
    point = async_does(registry.point)
    rollback = async_does(registry.rollback)
    history = AsyncLists(registry.history)
    delete_alias = async_does(registry.delete_alias)


class AsyncImages(AsyncResource):
    """``/v1/images``."""

    generate = async_does(images.generate)
    submit = async_does(images.submit)
    get = async_does(images.get)
    list = AsyncLists(images.list_)
    cancel = async_does(images.cancel)
    wait = async_does(images.wait)

    async def stream(
        self, model: str, prompt: str, *, partial_images: int = 0, **more: Any
    ) -> AsyncIterator[drawn.ImageEvent]:
        """Yield looks at each picture on its way, up to 3, then the pictures; ``more`` as in ``generate``.

        Whoever stops listening gives the place to others. A stream that breaks is not begun anew.
        """
        body = images.stream_body(model, prompt, partial_images=partial_images, **more)
        try:
            async with self.transport.stream(images.PATH, body=body) as answer:
                reader = EventReader()
                async for line in answer.aiter_lines():
                    for event in images.stream_events(reader, line):
                        yield event
        except httpx.TransportError as error:
            raise images.cut_off(error) from error

    async def pictures(self, drawing: drawn.Drawing) -> builtins.list[bytes]:
        """Return the PNG files of a request for pictures that has succeeded."""
        return [await self.transport.fetch(link) for link in images.links(drawing)]


class AsyncComparisons(AsyncResource):
    """``/v1/comparisons``."""

    create = async_does(comparisons.create)
    get = async_does(comparisons.get)
    list = AsyncLists(comparisons.list_)
    delete = async_does(comparisons.delete)
    wait = async_does(comparisons.wait)
    pictures = AsyncLists(comparisons.pictures)
    ballot = async_does(comparisons.ballot)
    vote = async_does(comparisons.vote)
    votes = AsyncLists(comparisons.votes)
    undo = async_does(comparisons.undo)
    create_dataset = async_does(comparisons.create_dataset)

    async def save(self, side: comparing.Side, path: Path) -> int:
        """Write one picture of a ballot to ``path``, whole or not at all; return how many bytes there are."""
        return await _download(self.transport, side.url, path)


class AsyncKeys(AsyncResource):
    """``/v1/keys``."""

    create = async_does(keys.create)
    get = async_does(keys.get)
    list = AsyncLists(keys.list_)
    rotate = async_does(keys.rotate)
    revoke = async_does(keys.revoke)


class AsyncWebhooks(AsyncResource):
    """``/v1/webhook_endpoints``."""

    create = async_does(webhooks.create)
    get = async_does(webhooks.get)
    list = AsyncLists(webhooks.list_)
    update = async_does(webhooks.update)
    delete = async_does(webhooks.delete)
    rotate_secret = async_does(webhooks.rotate_secret)
    test = async_does(webhooks.test)
    deliveries = AsyncLists(webhooks.deliveries)
    replay = async_does(webhooks.replay)
    replay_failed = async_does(webhooks.replay_failed)


class AsyncSpindle:
    """A connection to Spindle for asyncio; the arguments, and what is raised, are those of ``Spindle``.

    Use it as an async context manager.
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
        self.transport = AsyncTransport(
            self.location.url, self.location.key, attempts=attempts, timeout=timeout
        )
        self.files = AsyncFiles(self.transport)
        self.datasets = AsyncDatasets(self.transport)
        self.jobs = AsyncJobs(self.transport)
        self.models = AsyncModels(self.transport)
        self.registry = AsyncRegistry(self.transport)
        self.images = AsyncImages(self.transport)
        self.comparisons = AsyncComparisons(self.transport)
        self.keys = AsyncKeys(self.transport)
        self.webhooks = AsyncWebhooks(self.transport)

    project = async_does(keys.project)
    audit = AsyncLists(keys.audit)
    workers = AsyncLists(platform.workers)
    queue = async_does(platform.queue)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def alive(self) -> bool:
        """Tell whether something answers at the address, at the first try."""
        return await self.transport.alive()

    async def close(self) -> None:
        """Close the connections."""
        await self.transport.close()


async def _download(
    transport: AsyncTransport, address: str, path: Path, *, params: Mapping[str, str | None] | None = None
) -> int:
    try:
        with whole(path) as out:
            async with transport.stream(address, params=params) as answer:
                async for piece in answer.aiter_bytes():
                    out.write(piece)
    except httpx.TransportError as error:
        raise broken_off(path, error) from error
    return path.stat().st_size
