"""The beat tells: from the row to the request and its log, and not while it drains."""

import threading
from collections.abc import Iterator

import pytest
from standardwebhooks import Webhook

from core import keys
from core.db import transaction
from core.keys import DEFAULT_PROJECT
from core.models import DeliveryState
from core.settings import Settings
from core.webhooks import deliveries, endpoints, sending
from core.webhooks.events import EventType, emit
from tests.spindle.scripted import Answer, scripted
from tests.worker.processes import within
from worker.webhooks import take_turn, tell
from worker.workplace import Workplace, open_workplace


@pytest.fixture
def place(settings: Settings) -> Iterator[Workplace]:
    allowed = settings.model_copy(update={"webhook_networks": "127.0.0.0/8"})
    opened = open_workplace(allowed, "beat")
    with transaction(opened.database) as session:
        keys.bootstrap_key(session, allowed)
    yield opened
    opened.lock.close()
    opened.database.dispose()


def endpoint(place: Workplace, url: str) -> tuple[str, str]:
    with transaction(place.database) as session:
        made = endpoints.create_endpoint(
            session, project_id=DEFAULT_PROJECT, name="ci", url=url, event_types=list(EventType)
        )
        return made.id, made.secret


def happen(place: Workplace, number: int) -> None:
    with transaction(place.database) as session:
        data = {"id": f"ds-{number}", "status": "ready"}
        emit(session, project_id=DEFAULT_PROJECT, event=EventType.dataset_ready, data=data)


def states(place: Workplace, endpoint_id: str) -> list[DeliveryState]:
    with transaction(place.database) as session:
        found = deliveries.list_deliveries(session, project_id=DEFAULT_PROJECT, endpoint_id=endpoint_id)
        return [each.state for each in reversed(found.items)]


def test_what_is_owed_is_sent_in_its_order_and_signed(place: Workplace) -> None:
    with scripted(*[Answer(200, b"ok")] * 3) as script:
        endpoint_id, secret = endpoint(place, f"{script.url}/hook")
        for number in range(3):
            happen(place, number)
        running = threading.Thread(target=tell, args=(place,))
        running.start()
        done = within(60, lambda: states(place, endpoint_id) == [DeliveryState.succeeded] * 3)
        place.draining.set()
        running.join()
    assert done, states(place, endpoint_id)
    told = [Webhook(secret).verify(asked.body, asked.headers)["data"]["id"] for asked in script.asked]
    assert told == ["ds-0", "ds-1", "ds-2"]


def test_a_failure_ends_the_turn_and_the_rest_is_still_owed(place: Workplace) -> None:
    with scripted(Answer(200, b""), Answer(500, b"broken")) as script:
        endpoint_id, _ = endpoint(place, script.url)
        for number in range(3):
            happen(place, number)
        with transaction(place.database) as session:
            claim = sending.claim_endpoint(session)
        assert claim is not None
        outcomes = take_turn(place.database, place.settings, claim)
    assert [each.status for each in outcomes] == [200, 500]
    assert states(place, endpoint_id) == [
        DeliveryState.succeeded,
        DeliveryState.pending,
        DeliveryState.pending,
    ]
    with transaction(place.database) as session:
        assert sending.claim_endpoint(session) is not None, "the turn gave the endpoint back"


def test_a_beat_that_drains_sends_nothing_more(place: Workplace) -> None:
    with scripted() as script:
        endpoint_id, _ = endpoint(place, script.url)
        happen(place, 1)
        place.draining.set()
        tell(place)
        with transaction(place.database) as session:
            claim = sending.claim_endpoint(session)
        assert claim is not None
        assert take_turn(place.database, place.settings, claim, go_on=lambda: False) == []
    assert script.asked == []
    assert states(place, endpoint_id) == [DeliveryState.pending]
