"""The unmodified official client against a real server: a file, a job, its events, a picture."""

import asyncio
import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx2
import openai
import pytest
from openai.types import ImageGenPartialImageEvent
from openai.types.fine_tuning import FineTuningJobEvent

from core.errors import StaleFence
from tests.api.platform import Served, archive, png
from tests.api.test_generations import shown
from tests.api.test_images import serving


@pytest.fixture
def client(server: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.secret, max_retries=0) as made:
        yield made


@contextmanager
def working(server: Served) -> Iterator[None]:
    """Do units from another thread while the block runs."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.05):
            with suppress(StaleFence):  # somebody called off what was worked on
                server.work()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


METHOD: Any = {"type": "spin", "spin": {"hyperparameters": {"n_iterations": 1, "learning_rate": "auto"}}}


def test_it_drives_a_job_from_file_to_picture(server: Served, client: openai.OpenAI) -> None:
    data = archive(4)
    file = client.files.create(file=("pictures.zip", data), purpose="fine-tune")
    assert (file.object, file.bytes, file.status) == ("file", len(data), "processed")
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).read() == data
    assert next(iter(client.files.list(purpose="fine-tune", limit=1))) == file
    job = client.fine_tuning.jobs.create(
        model="tiny", training_file=file.id, method=METHOD, seed=3, suffix="fox", metadata={"a": "b"}
    )
    assert (job.status, job.seed, job.metadata, job.result_files) == ("validating_files", 3, {"a": "b"}, [])
    assert job.method is not None
    assert str(job.method.type) == "spin"
    with working(server):
        events = list(follow(client, job.id))
    assert [event.object for event in events] == ["fine_tuning.job.event"] * len(events)
    assert [event.data for event in (events[0], events[-1])] == [
        {"state": "validating_files"},
        {"state": "succeeded"},
    ]
    done = client.fine_tuning.jobs.retrieve(job.id)
    assert (done.status, done.error, done.trained_tokens) == ("succeeded", None, None)
    assert done.fine_tuned_model is not None
    pages = client.fine_tuning.jobs.list_events(job.id, limit=4)
    assert [event.id for event in pages] == [event.id for event in reversed(events)]
    [checkpoint] = client.fine_tuning.jobs.checkpoints.list(job.id)
    assert (checkpoint.step_number, checkpoint.metrics.train_loss) == (2, 0.25)
    for model in (done.fine_tuned_model, checkpoint.fine_tuned_model_checkpoint, "tiny"):
        assert client.models.retrieve(model).id == model
        with serving(server):
            drawn = client.images.generate(model=model, prompt="a fox", n=2, extra_body={"seed": 5})
        assert drawn.data is not None
        assert [base64.b64decode(each.b64_json or "") for each in drawn.data] == [png(5), png(6)]
    assert done.fine_tuned_model in {model.id for model in client.models.list()}
    assert client.models.delete(done.fine_tuned_model).deleted


def follow(client: openai.OpenAI, job_id: str) -> Iterator[FineTuningJobEvent]:
    """Follow the events as they happen, with the client's own reader of streams."""
    stream = client.get(
        f"/fine_tuning/jobs/{job_id}/events?stream=true",
        cast_to=FineTuningJobEvent,
        stream=True,
        stream_cls=openai.Stream[FineTuningJobEvent],
    )
    with stream:
        yield from stream


def test_jobs_are_steered_and_listed(server: Served, client: openai.OpenAI) -> None:
    file = client.files.create(file=("pictures.zip", archive(2)), purpose="fine-tune")
    jobs = [
        client.fine_tuning.jobs.create(model="tiny", training_file=file.id, method=METHOD) for _ in range(3)
    ]
    assert str(client.fine_tuning.jobs.pause(jobs[0].id).status) == "paused"
    assert client.fine_tuning.jobs.resume(jobs[0].id).status == "validating_files"
    for job in jobs:
        assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    listed = [job.id for job in client.fine_tuning.jobs.list(limit=2)]
    assert listed[:3] == [job.id for job in reversed(jobs)]
    server.work()
    assert client.files.delete(file.id).deleted


def test_refusals_are_the_clients_own_errors(server: Served, client: openai.OpenAI) -> None:
    before = server.counts()
    with pytest.raises(openai.NotFoundError, match=r"there is no model nothing; there are: .*tiny"):
        client.fine_tuning.jobs.create(model="nothing", training_file="file-x", method=METHOD)
    wrong: Any = {"type": "spin", "spin": {"hyperparameters": {"learning_rate": -1}}}
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.fine_tuning.jobs.create(model="tiny", training_file="file-x", method=wrong)
    assert refused.value.param == "method.spin.hyperparameters.learning_rate"
    assert refused.value.code == "invalid_method"
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()
    with pytest.raises(openai.NotFoundError):
        client.fine_tuning.jobs.cancel("ftjob-none")
    assert server.counts() == before


def test_a_key_that_may_only_read_is_told_so_in_the_clients_words(server: Served) -> None:
    made = server.client.post("/v1/keys", json={"name": "reader", "scopes": ["read"]}).json()
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=made["key"], max_retries=0) as reader:
        assert "tiny" in {model.id for model in reader.models.list()}
        with pytest.raises(openai.PermissionDeniedError) as refused:
            reader.images.generate(model="tiny", prompt="a fox")
    assert refused.value.code == "scope_missing"


def test_pictures_can_be_links(server: Served, client: openai.OpenAI) -> None:
    with serving(server):
        drawn = client.images.generate(
            model="tiny", prompt="a fox", response_format="url", size="auto", extra_body={"seed": 5}
        )
    assert drawn.data is not None
    link = drawn.data[0].url
    assert link is not None
    assert httpx2.get(link, timeout=60).content == png(5)


def test_pictures_can_be_seen_as_they_come_about(server: Served, client: openai.OpenAI) -> None:
    with serving(server, shown):
        stream = client.images.generate(
            model="tiny", prompt="a fox", stream=True, partial_images=2, extra_body={"seed": 5}
        )
        events = list(stream)
    assert [event.type for event in events] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    assert [base64.b64decode(event.b64_json) for event in events] == [png(105), png(105), png(5)]
    assert [
        event.partial_image_index for event in events if isinstance(event, ImageGenPartialImageEvent)
    ] == [0, 1]
    assert [event.size for event in events] == ["16x16"] * 3


def test_a_stream_that_fails_is_the_clients_own_error(client: openai.OpenAI) -> None:
    asked: Any = {"timeout_seconds": 0.2}
    with pytest.raises(openai.APIError, match="was not drawn in time"):
        list(client.images.generate(model="tiny", prompt="a fox", stream=True, extra_body=asked))


def test_the_asynchronous_client_works_alike(server: Served) -> None:
    async def look() -> tuple[set[str], str]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=server.secret) as client:
            file = await client.files.create(file=("a.zip", archive(1)), purpose="user_data")
            deleted = await client.files.delete(file.id)
            return {model.id async for model in await client.models.list()}, deleted.id

    models, _ = asyncio.run(look())
    assert "tiny" in models
