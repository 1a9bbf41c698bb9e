"""Workers: who they are, what they have, and when they were last seen, by the database's clock."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from core.clock import database_now
from core.models import UnitKind, WorkerNode
from core.paging import Page, page
from core.runs.capabilities import Capabilities, Node
from core.upsert import insert

SEEN_SECONDS = 60.0
LIVING_SECONDS = 20.0  # four heartbeats
KEEP_SECONDS = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Seen:
    """A worker that was seen in the last week, and whether it was just now."""

    node: WorkerNode
    living: bool


def heartbeat(
    session: Session,
    *,
    name: str,
    kind: str,
    kinds: Sequence[UnitKind] = (),
    has: Capabilities | None = None,
    unheard_seconds: float | None = None,
) -> None:
    """Note that a worker is there; one that runs units says which ``kinds``, and what it has.

    ``unheard_seconds`` is for how long work has been waiting for it without a message.
    """
    since = None if unheard_seconds is None else database_now(plus=-unheard_seconds)
    told: dict[str, object] = {"kind": kind, "seen_at": database_now(), "unheard_since": since}
    if has is not None:
        told |= {
            "kinds": [each.value for each in kinds],
            "queues": list(has.queues),
            "device": has.device,
            "gpus": has.gpus,
            "memory_bytes": has.memory_bytes,
            "nodes": has.nodes,
        }
    session.execute(
        insert(session, WorkerNode)
        .values(name=name, **told)
        .on_conflict_do_update(index_elements=["name"], set_=told)
    )


def living(session: Session, *, within: float = LIVING_SECONDS) -> list[Node]:
    """Return the workers that run units and were seen just now, by their names."""
    nodes = select(WorkerNode).where(
        WorkerNode.kinds.is_not(None), WorkerNode.seen_at > database_now(plus=-within)
    )
    return [
        Node(
            node.name,
            frozenset(map(UnitKind, node.kinds or ())),
            Capabilities(tuple(node.queues or ()), node.device, node.gpus, node.memory_bytes, node.nodes),
        )
        for node in session.scalars(nodes.order_by(WorkerNode.name).execution_options(populate_existing=True))
    ]


def everyone(session: Session, *, after: str | None = None, limit: int = 100) -> Page[Seen]:
    """Return the workers that were seen in the last week, whatever they do, by their names."""
    nodes = page(session, select(WorkerNode), by=WorkerNode.name, after=after, limit=limit, ascending=True)
    just_now = select(WorkerNode.name).where(WorkerNode.seen_at > database_now(plus=-LIVING_SECONDS))
    living_now = set(session.scalars(just_now))
    return Page([Seen(node, node.name in living_now) for node in nodes.items], nodes.has_more)


def leave(session: Session, *, name: str) -> None:
    """Note that a worker has stopped: nobody waits for it any more."""
    session.execute(delete(WorkerNode).where(WorkerNode.name == name))


def seen(session: Session, *, within: float = SEEN_SECONDS) -> dict[str, int]:
    """Count the workers seen lately, by kind."""
    statement = (
        select(WorkerNode.kind, func.count().label("number"))
        .where(WorkerNode.seen_at > database_now(plus=-within))
        .group_by(WorkerNode.kind)
    )
    return {row.kind: row.number for row in session.execute(statement)}


def sweep(session: Session) -> int:
    """Forget workers that were not seen for a week; return how many."""
    gone = delete(WorkerNode).where(WorkerNode.seen_at < database_now(plus=-KEEP_SECONDS))
    return len(session.execute(gone.returning(WorkerNode.name)).all())
