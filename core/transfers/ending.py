"""What becomes of an export or an import when its unit has ended."""

from typing import Any

from sqlalchemy.orm import Session

from core.runs.places import EXPORT
from core.transfers import exports, imports


def complete(session: Session, *, transfer_id: str, unit_id: str, output: dict[str, Any]) -> None:
    """Finish what a unit was for, in the transaction that proved its claim."""
    if transfer_id.startswith(EXPORT):
        exports.complete(session, export_id=transfer_id, output=output)
    else:
        imports.complete(session, import_id=transfer_id, unit_id=unit_id, output=output)


def fail(session: Session, *, transfer_id: str, reason: str, message: str) -> None:
    """Tell that a unit was given up."""
    if transfer_id.startswith(EXPORT):
        exports.fail(session, export_id=transfer_id, reason=reason, message=message)
    else:
        imports.fail(session, import_id=transfer_id, reason=reason, message=message)
