"""What endpoints are owed: written with what causes it, claimed by one, tried again, given up, replayed."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select

from core.clock import utcnow
from core.db import Database, transaction
from core.errors import Conflict, Invalid, NotFound, StaleFence
from core.keys import DEFAULT_PROJECT
from core.models import DeliveryState, Project, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from core.runs import control
from core.webhooks import deliveries, endpoints, sending
from core.webhooks.events import EventType, emit
from core.webhooks.message import Message
from core.webhooks.post import Outcome
from tests.core.runs.making import PROJECT, make_job, ready_dataset

NOW = utcnow() + timedelta(days=1)  # after whatever the database calls now while these tests run
URL = "https://example.com/hook"
DATA = {"id": "ftjob-1", "status": "succeeded"}
OK = Outcome(NOW, 12, status=200, answer="thanks")


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def failed(status: int = 500, retry_after: float | None = None) -> Outcome:
    return Outcome(NOW, 12, status=status, answer="no", retry_after=retry_after)


def endpoint(database: Database, *types: EventType, project: str = DEFAULT_PROJECT) -> str:
    with transaction(database) as session:
        made = endpoints.create_endpoint(
            session, project_id=project, name="ci", url=URL, event_types=types or tuple(EventType)
        )
        return made.id


def told(database: Database, event: EventType = EventType.job_succeeded) -> None:
    with transaction(database) as session:
        emit(session, project_id=DEFAULT_PROJECT, event=event, data=DATA)


def claim(database: Database, now: datetime = NOW) -> sending.Claim | None:
    with transaction(database) as session:
        return sending.claim_endpoint(session, now=now)


def message(database: Database, held: sending.Claim, now: datetime = NOW) -> Message | None:
    with transaction(database) as session:
        return sending.next_message(session, held, now=now)


def attempt(database: Database, outcome: Outcome, now: datetime = NOW) -> str:
    """Do what a sender does, once; return the delivery."""
    held = claim(database, now)
    assert held is not None, "nobody is owed anything"
    found = message(database, held, now)
    assert found is not None
    with transaction(database) as session:
        sending.record(session, held, found, outcome, jitter=0.0, now=now)
        sending.release(session, held, now=now)
    return found.delivery_id


def rows(database: Database) -> list[WebhookDelivery]:
    with transaction(database) as session:
        return list(session.scalars(select(WebhookDelivery).order_by(WebhookDelivery.id)))


def row(database: Database, endpoint_id: str) -> WebhookEndpoint:
    with transaction(database) as session:
        return session.get_one(WebhookEndpoint, endpoint_id)


def test_an_event_is_owed_to_those_who_listen_for_it_under_one_id(database: Database) -> None:
    with transaction(database) as session:
        session.add(Project(id="proj-other", name="other"))
    endpoint(database, project="proj-other")
    all_of_it = endpoint(database)
    datasets_only = endpoint(database, EventType.dataset_ready)
    silent = endpoint(database)
    with transaction(database) as session:
        endpoints.update_endpoint(session, project_id=DEFAULT_PROJECT, endpoint_id=silent, enabled=False)
    told(database)
    told(database, EventType.dataset_ready)
    owed = rows(database)
    assert [(each.endpoint_id, each.event_type) for each in owed] == [
        (all_of_it, "fine_tuning.job.succeeded"),
        (all_of_it, "dataset.ready"),
        (datasets_only, "dataset.ready"),
    ]
    assert owed[1].event_id == owed[2].event_id != owed[0].event_id
    assert owed[1].body == owed[2].body


def test_what_is_rolled_back_is_not_told(database: Database) -> None:
    endpoint(database)

    def break_off() -> None:
        with transaction(database) as session:
            emit(session, project_id=DEFAULT_PROJECT, event=EventType.job_failed, data=DATA)
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert rows(database) == []


def test_jobs_and_datasets_tell_what_becomes_of_them(database: Database) -> None:
    dataset = ready_dataset(database)
    endpoint(database, project=PROJECT)
    job = make_job(database, dataset)
    with transaction(database) as session:
        control.pause_job(session, project_id=PROJECT, job_id=job)
        control.cancel_job(session, project_id=PROJECT, job_id=job)
    assert [(each.event_type, f'"data":{{"id":"{job}"' in each.body) for each in rows(database)] == [
        ("fine_tuning.job.paused", True),
        ("fine_tuning.job.cancelled", True),
    ]


def test_an_endpoint_is_claimed_by_one_sender_until_its_lease_is_over(database: Database) -> None:
    assert claim(database) is None
    first = endpoint(database)
    assert claim(database) is None
    told(database)
    held = claim(database)
    assert held is not None
    assert held.endpoint_id == first
    assert claim(database) is None
    second = claim(database, after(sending.LEASE_SECONDS))
    assert second == sending.Claim(first, held.fence + 1)
    with pytest.raises(StaleFence):
        message(database, held)
    found = message(database, second, after(sending.LEASE_SECONDS))
    assert found is not None
    with pytest.raises(StaleFence), transaction(database) as session:
        sending.record(session, held, found, OK, jitter=0.0)
    assert rows(database)[0].state is DeliveryState.pending


def test_the_endpoint_that_has_waited_longest_comes_first(database: Database) -> None:
    made = [endpoint(database) for _ in range(2)]
    told(database)
    told(database)
    for _ in range(2):
        attempt(database, OK, after(1))
    assert {each.endpoint_id for each in rows(database) if each.state is DeliveryState.succeeded} == set(made)


def test_what_got_through_is_logged_and_done(database: Database) -> None:
    endpoint_id = endpoint(database)
    told(database)
    delivery_id = attempt(database, OK)
    assert claim(database, after(1e6)) is None
    with transaction(database) as session:
        found = deliveries.get_delivery(
            session, project_id=DEFAULT_PROJECT, endpoint_id=endpoint_id, delivery_id=delivery_id
        )
        [logged] = deliveries.attempts_of(session, [found])[delivery_id]
        assert (found.state, found.failures) == (DeliveryState.succeeded, 0)
        assert (logged.status, logged.milliseconds, logged.answer, logged.error) == (200, 12, "thanks", None)


def test_what_failed_is_tried_again_by_the_standards_schedule_and_then_given_up(database: Database) -> None:
    endpoint_id = endpoint(database)
    told(database)
    now = 0.0
    for number, wait in enumerate(sending.SCHEDULE, start=1):
        attempt(database, failed(), after(now))
        [delivery] = rows(database)
        assert (delivery.failures, delivery.state) == (number, DeliveryState.pending)
        assert claim(database, after(now + wait - 1)) is None
        now += wait
    assert row(database, endpoint_id).failing_since == NOW
    attempt(database, failed(), after(now))
    [delivery] = rows(database)
    assert (delivery.failures, delivery.state) == (10, DeliveryState.failed)
    given_up = row(database, endpoint_id)
    assert not given_up.enabled
    assert given_up.disabled_reason == f"Nothing got through since {NOW:%Y-%m-%d %H:%M} UTC."


def test_one_event_that_never_gets_through_does_not_disable_an_endpoint_where_others_do(
    database: Database,
) -> None:
    endpoint_id = endpoint(database)
    told(database)
    now = 0.0
    for wait in sending.SCHEDULE:
        attempt(database, failed(), after(now))
        now += wait
    with transaction(database) as session:
        endpoints.change(session, endpoint_id, failing_since=after(now - 60))  # another got through before
    attempt(database, failed(), after(now))
    assert rows(database)[0].state is DeliveryState.failed
    assert row(database, endpoint_id).enabled


def test_waits_grow_are_spread_and_heed_what_the_endpoint_asks() -> None:
    assert [sending.wait_after(n) for n in (1, 2, 9, 10)] == [5.0, 300.0, 86_400.0, None]
    assert sending.wait_after(2, jitter=0.5) == pytest.approx(330.0)
    assert sending.wait_after(1, asked=90.0) == 90.0
    assert sending.wait_after(2, asked=90.0) == 300.0
    assert sending.wait_after(1, asked=1e9) == 86_400.0


def test_410_disables_the_endpoint_and_what_it_was_owed(database: Database) -> None:
    endpoint_id = endpoint(database)
    told(database)
    told(database)
    attempt(database, failed(410))
    assert [each.state for each in rows(database)] == [DeliveryState.failed] * 2
    gone = row(database, endpoint_id)
    assert (gone.enabled, gone.disabled_reason) == (False, "It answered 410 Gone.")
    told(database)
    assert len(rows(database)) == 2
    with transaction(database) as session, pytest.raises(Conflict, match="enable it first"):
        deliveries.replay_failed(
            session, project_id=DEFAULT_PROJECT, endpoint_id=endpoint_id, since=NOW - timedelta(days=2)
        )


def test_what_failed_can_be_replayed_once_the_endpoint_is_enabled_again(database: Database) -> None:
    endpoint_id = endpoint(database)
    told(database)
    delivery_id = attempt(database, failed(410))
    where = {"project_id": DEFAULT_PROJECT, "endpoint_id": endpoint_id}
    with transaction(database) as session:
        mended = endpoints.update_endpoint(session, **where, enabled=True)
        assert (mended.enabled, mended.disabled_reason, mended.failing_since) == (True, None, None)
        assert deliveries.replay_failed(session, **where, since=NOW) == 0
        assert deliveries.replay_failed(session, **where, since=NOW - timedelta(days=2), now=NOW) == 1
    assert attempt(database, OK) == delivery_id
    with transaction(database) as session:
        again = deliveries.replay(session, **where, delivery_id=delivery_id, now=NOW)
        assert (again.state, again.failures, again.finished_at) == (DeliveryState.pending, 0, None)
    assert attempt(database, OK) == delivery_id
    with transaction(database) as session:
        logged = session.scalars(select(WebhookAttempt.status).order_by(WebhookAttempt.id)).all()
    assert logged == [410, 200, 200]


def test_a_new_secret_signs_beside_the_old_one_for_a_day(database: Database) -> None:
    endpoint_id = endpoint(database)
    old = row(database, endpoint_id).secret
    where = {"project_id": DEFAULT_PROJECT, "endpoint_id": endpoint_id}
    with transaction(database) as session:
        new = endpoints.rotate_secret(session, **where, keep_old=True, now=NOW).secret
    told(database)
    held = claim(database)
    assert held is not None
    within, later = message(database, held), message(database, held, after(24 * 3600 + 1))
    assert within is not None
    assert later is not None
    assert (within.keys, later.keys) == ((new, old), (new,))
    assert new not in repr(within)
    with transaction(database) as session:
        assert endpoints.forget_old_secrets(session, now=after(24 * 3600 - 1)) == 0
        assert endpoints.forget_old_secrets(session, now=after(24 * 3600 + 1)) == 1
    assert row(database, endpoint_id).old_secret is None
    with transaction(database) as session:
        newest = endpoints.rotate_secret(session, **where, keep_old=False).secret
    at_once = message(database, held)
    assert at_once is not None
    assert at_once.keys == (newest,)


def test_a_deleted_endpoint_is_told_nothing_more_not_even_by_who_holds_it(database: Database) -> None:
    endpoint_id = endpoint(database)
    told(database)
    held = claim(database)
    assert held is not None
    with transaction(database) as session:
        endpoints.delete_endpoint(session, project_id=DEFAULT_PROJECT, endpoint_id=endpoint_id)
    with pytest.raises(StaleFence):
        message(database, held)
    told(database)
    assert [each.state for each in rows(database)] == [DeliveryState.failed]
    assert row(database, endpoint_id).secret == ""
    with transaction(database) as session, pytest.raises(NotFound):
        endpoints.get_endpoint(session, project_id=DEFAULT_PROJECT, endpoint_id=endpoint_id)
    month = utcnow() + timedelta(days=31)
    with transaction(database) as session:
        assert deliveries.sweep(session, now=utcnow() + timedelta(days=29)) == 0
        assert deliveries.sweep(session, now=month) == 1
    with transaction(database) as session:
        assert session.scalar(select(func.count()).select_from(WebhookEndpoint)) == 0


@pytest.fixture
def full(database: Database) -> Database:
    """A project with as many endpoints as there may be."""
    for _ in range(endpoints.MOST):
        endpoint(database)
    return database


def test_there_is_a_limit_and_a_refused_address_makes_nothing(full: Database) -> None:
    with transaction(full) as session, pytest.raises(Conflict):
        endpoints.create_endpoint(
            session, project_id=DEFAULT_PROJECT, name="x", url=URL, event_types=list(EventType)
        )
    with transaction(full) as session, pytest.raises(Invalid):
        endpoints.create_endpoint(
            session, project_id=DEFAULT_PROJECT, name="x", url="http://10.0.0.1/", event_types=list(EventType)
        )
    with transaction(full) as session:
        assert session.scalar(select(func.count()).select_from(WebhookEndpoint)) == endpoints.MOST
