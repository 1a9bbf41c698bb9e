import json
from pathlib import Path

import pytest

from spindle.client import Spindle
from spindle.errors import ApiError, NotRunningError, SpindleError
from spindle.location import locate
from spindle.port import free_port
from spindle.sse import ServerEvent, read_events
from tests.spindle.scripted import Answer, Script, scripted

FILE = {
    "id": "file-1",
    "object": "file",
    "bytes": 5,
    "created_at": 1,
    "filename": "a.zip",
    "purpose": "fine-tune",
}
JOB = {
    "id": "ftjob-1",
    "model": "starter",
    "status": "running",
    "created_at": 1,
    "method": {"type": "spin", "spin": {"hyperparameters": {"n_iterations": 2}}},
}
BUSY = Answer(503, {"error": {"message": "busy"}})


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPINDLE_URL", "SPINDLE_API_KEY", "SPINDLE_STATE"):
        monkeypatch.delenv(name, raising=False)


def client_of(script: Script, naps: list[float] | None = None) -> Spindle:
    client = Spindle(url=script.url, key="sk-test")
    client.transport.sleep = (naps if naps is not None else []).append
    return client


def sse(*events: tuple[str, str]) -> bytes:
    lines = [
        f"id: {event_id}\ndata: {json.dumps({'id': event_id, 'created_at': 1, 'message': text})}\n\n"
        for event_id, text in events
    ]
    return "".join(lines).encode()


def test_a_busy_server_is_asked_again_with_the_same_idempotency_key() -> None:
    naps: list[float] = []
    with (
        scripted(BUSY, Answer(429, {}, {"Retry-After": "7"}), Answer(200, JOB)) as script,
        client_of(script, naps) as client,
    ):
        job = client.jobs.create("starter", "ds-1", hyperparameters={"n_iterations": 2}, seed=None)
    assert job.id == "ftjob-1"
    assert job.method.hyperparameters == {"n_iterations": 2}
    assert len({asked.headers["idempotency-key"] for asked in script.asked}) == 1
    assert {asked.headers["authorization"] for asked in script.asked} == {"Bearer sk-test"}
    assert json.loads(script.asked[2].body) == {
        "model": "starter",
        "training_file": "ds-1",
        "method": {"type": "spin", "spin": {"hyperparameters": {"n_iterations": 2}}},
    }
    assert 0.25 <= naps[0] <= 0.5
    assert naps[1] == 7


def test_two_requests_have_two_idempotency_keys() -> None:
    with scripted(Answer(200, JOB), Answer(200, JOB)) as script, client_of(script) as client:
        client.jobs.cancel("ftjob-1")
        client.jobs.cancel("ftjob-1")
    assert len({asked.headers["idempotency-key"] for asked in script.asked}) == 2


def test_an_upload_that_is_retried_goes_up_whole_again(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(b"PICTURES" * 50_000)
    with scripted(BUSY, Answer(200, FILE)) as script, client_of(script) as client:
        file = client.files.upload(archive)
    assert file.id == "file-1"
    assert [b"PICTURES" * 50_000 in asked.body for asked in script.asked] == [True, True]
    assert b'filename="a.zip"' in script.asked[1].body


def test_a_refusal_carries_the_message_of_the_problem_and_is_not_retried() -> None:
    told = {
        "message": "learning_rate must be greater than 0",
        "type": "invalid_request_error",
        "param": "method",
    }
    with (
        scripted(Answer(422, {"title": "Unprocessable", "error": told})) as script,
        client_of(script) as client,
        pytest.raises(ApiError, match="learning_rate must be greater than 0") as caught,
    ):
        client.jobs.create("starter", "ds-1")
    assert (caught.value.status, caught.value.param) == (422, "method")
    assert len(script.asked) == 1


def test_a_conflict_is_a_refusal_at_first_but_waited_for_after_a_lost_answer() -> None:
    conflict = Answer(409, {"error": {"message": "still running"}})
    with (
        scripted(conflict) as script,
        client_of(script) as client,
        pytest.raises(ApiError, match="still running"),
    ):
        client.jobs.cancel("ftjob-1")
    with scripted(BUSY, conflict, Answer(200, JOB)) as script, client_of(script) as client:
        assert client.jobs.cancel("ftjob-1").id == "ftjob-1"


def test_an_answer_that_is_no_problem_json_still_says_what_failed() -> None:
    with (
        scripted(Answer(404, b"nothing here")) as script,
        client_of(script) as client,
        pytest.raises(ApiError, match="GET /v1/models/nobody: HTTP 404"),
    ):
        client.models.get("nobody")


def test_when_nothing_listens_the_error_says_how_to_start_it() -> None:
    client = Spindle(url=f"http://127.0.0.1:{free_port('127.0.0.1')}", attempts=2)
    client.transport.sleep = list[float]().append
    with client, pytest.raises(NotRunningError, match="spindle up"):
        client.jobs.get("ftjob-1")


def test_a_missing_archive_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    with scripted() as script, client_of(script) as client, pytest.raises(SpindleError, match="No such file"):
        client.files.upload(tmp_path / "none.zip")
    assert script.asked == []


def test_lists_are_paged_until_they_end_or_the_limit_is_reached() -> None:
    def page(*ids: str, more: bool) -> Answer:
        data = [FILE | {"id": each} for each in ids]
        return Answer(200, {"data": data, "has_more": more, "last_id": ids[-1]})

    with scripted(page("f3", "f2", more=True), page("f1", more=False)) as script, client_of(script) as client:
        assert [file.id for file in client.files.list()] == ["f3", "f2", "f1"]
    assert script.asked[1].path == "/v1/files?after=f2&limit=100"
    with scripted(page("f3", "f2", more=True)) as script, client_of(script) as client:
        assert [file.id for file in client.files.list(limit=2)] == ["f3", "f2"]
    assert script.asked[0].path == "/v1/files?limit=2"


def test_events_are_followed_over_a_broken_stream_without_loss_or_repetition() -> None:
    running, done = Answer(200, JOB), Answer(200, JOB | {"status": "succeeded"})
    cut = Answer(
        200, sse(("evt-1", "started"), ("evt-2", "step 1")) + b'id: evt-3\ndata: {"id": "ev', cut=True
    )
    rest = Answer(200, sse(("evt-3", "step 2"), ("evt-4", "done")) + b"data: [DONE]\n\n")
    with scripted(running, cut, BUSY, done, rest) as script, client_of(script) as client:
        messages = [event.message for event in client.jobs.follow("ftjob-1")]
    assert messages == ["started", "step 1", "step 2", "done"]
    assert "last-event-id" not in script.asked[1].headers
    assert script.asked[4].headers["last-event-id"] == "evt-2"


def test_following_gives_up_when_the_server_stays_away() -> None:
    with (
        scripted(Answer(200, JOB), Answer(503, {}), *[Answer(200, JOB), Answer(503, {})] * 4) as script,
        client_of(script) as client,
        pytest.raises(ApiError),
    ):
        list(client.jobs.follow("ftjob-1"))


def test_a_download_that_breaks_off_leaves_no_file(tmp_path: Path) -> None:
    target = tmp_path / "model.zip"
    with (
        scripted(Answer(200, b"half", cut=True)) as script,
        client_of(script) as client,
        pytest.raises(NotRunningError),
    ):
        client.models.download("ft:starter:x", target)
    assert list(tmp_path.iterdir()) == []
    with scripted(Answer(200, b"whole")) as script, client_of(script) as client:
        assert client.models.download("ft:starter:x", target) == 5
    assert target.read_bytes() == b"whole"


def test_the_stream_reader_keeps_ids_joins_data_and_drops_the_unfinished() -> None:
    lines = [
        ": hello",
        "id: 7",
        "event: metrics",
        "data: one",
        "data:two",
        "",
        "data: three",
        "",
        "data: cut",
    ]
    assert list(read_events(lines)) == [
        ServerEvent("7", "metrics", "one\ntwo"),
        ServerEvent("7", "message", "three"),
    ]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "url").write_text("http://127.0.0.1:9001\n")
    (tmp_path / "key").write_text("sk-state\n")
    return tmp_path


def test_address_and_key_come_from_the_state_folder(state: Path) -> None:
    found = locate(state=state)
    assert (found.url, found.key, found.given) == ("http://127.0.0.1:9001", "sk-state", False)


def test_a_named_state_folder_wins_over_the_environment(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPINDLE_URL", "http://elsewhere:1/")
    monkeypatch.setenv("SPINDLE_API_KEY", "sk-env")
    assert locate(state=state).url == "http://127.0.0.1:9001"
    found = locate()
    assert (found.url, found.key, found.given) == ("http://elsewhere:1", "sk-env", True)
    assert locate(url="http://here:2", key="sk-arg").key == "sk-arg"
