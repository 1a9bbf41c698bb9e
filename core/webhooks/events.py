"""What projects can be told, and owing it to whoever listens, in the transaction that causes it."""

import json
from enum import StrEnum
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import utcnow
from core.ids import new_id
from core.models import WebhookDelivery, WebhookEndpoint


class EventType(StrEnum):
    """The kinds of events; OpenAI's names where OpenAI has one."""

    job_running = "fine_tuning.job.running"
    job_paused = "fine_tuning.job.paused"
    job_succeeded = "fine_tuning.job.succeeded"
    job_failed = "fine_tuning.job.failed"
    job_cancelled = "fine_tuning.job.cancelled"
    dataset_ready = "dataset.ready"
    dataset_failed = "dataset.failed"
    alias_moved = "registry.alias.moved"
    export_ready = "model.export.ready"
    export_failed = "model.export.failed"
    import_ready = "model.import.ready"
    import_failed = "model.import.failed"
    comparison_ready = "comparison.ready"
    comparison_failed = "comparison.failed"


SAMPLES = {
    "fine_tuning.job": "ftjob-sample",
    "dataset": "ds-sample",
    "comparison": "cmp-sample",
    "model.export": "exp-sample",
    "model.import": "imp-sample",
}
"""The ids of what does not exist."""


def emit(session: Session, *, project_id: str, event: EventType, data: dict[str, Any]) -> None:
    """Owe an event to each endpoint of the project that listens for it.

    Args:
        session: the transaction that causes the event.
        project_id: whose event it is.
        event: its type.
        data: ids and states; whoever is told asks the API for the rest.
    """
    listening = session.execute(
        select(WebhookEndpoint.id, WebhookEndpoint.event_types).where(
            WebhookEndpoint.project_id == project_id, WebhookEndpoint.enabled
        )
    )
    wanted = [endpoint_id for endpoint_id, types in listening if event.value in types]
    if not wanted:
        return
    event_id = new_event_id()
    body = body_of(event_id, event, data)
    session.add_all(
        WebhookDelivery(
            id=new_id("whd-"), endpoint_id=each, event_id=event_id, event_type=event.value, body=body
        )
        for each in wanted
    )


def new_event_id() -> str:
    """Return the id of a new event: the same at every endpoint and in every attempt."""
    return new_id("whe-")


def body_of(event_id: str, event: EventType, data: dict[str, Any]) -> str:
    """Return what is sent: the fields of Standard Webhooks, and those of OpenAI's events."""
    now = utcnow()
    told = {
        "id": event_id,
        "object": "event",
        "type": event.value,
        "created_at": int(now.timestamp()),
        "timestamp": now.isoformat().replace("+00:00", "Z"),
        "data": data,
    }
    return json.dumps(told, separators=(",", ":"))


def sample_of(event: EventType) -> dict[str, Any]:
    """Return data as an event of this type has it, of something that does not exist."""
    kind, _, state = event.value.rpartition(".")
    if event is EventType.alias_moved:
        return {"id": "sample@production", "status": "set", "version": 1}
    return {"id": SAMPLES[kind], "status": state}
