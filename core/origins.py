"""What caused a message: the request that made what the message is of."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.models import Dataset, Drawing, Job, ModelExport, ModelImport, Unit
from core.tracing import TRACEPARENT


def origin_of_message(session: Session, payload: str) -> dict[str, str] | None:
    """Return the traced request that caused a message about a unit or a drawing; None without one."""
    origin = session.scalar(select(Drawing.origin).where(Drawing.id == payload))
    unit = session.get(Unit, payload)
    if unit is not None:
        owners = (
            (Job, unit.job_id),
            (Dataset, unit.dataset_id),
            (ModelExport, unit.transfer_id),
            (ModelImport, unit.transfer_id),
        )
        found = (
            session.scalar(select(table.origin).where(table.id == owner))
            for table, owner in owners
            if owner is not None
        )
        origin = next((each for each in found if each), None)
    return origin if origin and TRACEPARENT in origin else None
