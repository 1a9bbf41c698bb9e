"""What a restore makes of rows, so that nothing pretends to run and no worker of before may write.

Workers of the platform that was lost may live still, with fences from after the snapshot. So fences go up
by more than they can have grown since: what such a worker writes is refused, and its objects go elsewhere.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from core.backup.tables import Row
from core.ids import new_id
from core.models import (
    DRAWING_ENDED,
    JOB_ENDED,
    UNIT_ENDED,
    DrawingState,
    Level,
    Reason,
    UnitState,
    UploadState,
)
from core.webhooks import signing

AHEAD = 1_000_000
"""Claims of one unit between a snapshot and a restore, at most; a column holds 2000 restores of that."""
OPEN_UPLOADS = (UploadState.pending, UploadState.completing)
SOURCES = ("source", "pipeline")
SILENCED = "It was restored from a backup: enable it when this platform is to be heard."
UNSIGNED = "It was restored from a backup without secrets: replace its secret, then enable it."


@dataclass
class Afterwards:
    """What is done to the rows of one restore, in the order of their tables.

    Args:
        told: the backup's name and time, for people.
        moment: now.
        folders: base models' sources of then, and those of this platform.
        webhooks: endpoints that were enabled are told of what happens here.
    """

    told: str
    moment: datetime
    folders: Mapping[str, str]
    webhooks: bool = True
    freed: Counter[str] = field(default_factory=Counter)
    """Bytes that were held for uploads, by project."""
    _events: list[Row] = field(default_factory=list)

    def rows(self, table: str, rows: Iterator[Row]) -> Iterator[Row]:
        """Yield a table's rows as they are from now on."""
        for row in rows:
            yield self._moved(self._rested(table, row))
        if table == "event":
            yield from self._events

    def _moved(self, row: Row) -> Row:
        for column in SOURCES:
            if row.get(column) in self.folders:
                row[column] = self.folders[row[column]]
        return row

    def _rested(self, table: str, row: Row) -> Row:  # noqa: PLR0911  one a table
        match table:
            case "job" if row["state"] not in JOB_ENDED:
                return self._job(row)
            case "unit" if row["state"] not in UNIT_ENDED:
                return self._unit(row)
            case "attempt" if row["ended_at"] is None:
                return self._attempt(row)
            case "drawing" if row["state"] not in DRAWING_ENDED:
                return _drawing(row)
            case "upload" if row["state"] in OPEN_UPLOADS:
                return self._upload(row)
            case "webhook_endpoint":
                return self._endpoint(row)
        return row

    def _attempt(self, row: Row) -> Row:
        message = f"the platform was restored from {self.told}"
        return row | {"ended_at": self.moment, "outcome": Reason.preempted.value, "message": message}

    def _upload(self, row: Row) -> Row:
        self.freed[row["project_id"]] += row["bytes"]
        ended = {"state": UploadState.expired.value, "lease_expires_at": None}
        return row | ended | {"fence": row["fence"] + AHEAD}

    def _job(self, row: Row) -> Row:
        seq = row["event_seq"] + 1
        message = f"The platform was restored from {self.told}: what was done since is done again."
        self._events.append(
            {
                "id": new_id("evt-"),
                "job_id": row["id"],
                "seq": seq,
                "type": "message",
                "level": Level.warn.value,
                "message": message,
                "data": None,
                "created_at": self.moment,
            }
        )
        return row | {"event_seq": seq}

    def _unit(self, row: Row) -> Row:
        rested = row | {"fence": row["fence"] + AHEAD, "yield_to": None, "avoid": None, "avoid_until": None}
        if row["state"] != UnitState.running:
            return rested
        return rested | {
            "state": UnitState.pending.value,
            "attempt": max(0, row["attempt"] - 1),
            "worker": None,
            "lease_expires_at": None,
            "not_before": None,
            "pending_at": self.moment,
        }

    def _endpoint(self, row: Row) -> Row:
        row = row | {"fence": row["fence"] + AHEAD, "busy_until": self.moment}
        if row["deleted_at"] is not None:
            return row
        if not row["secret"]:
            return row | {
                "secret": signing.new_secret(),
                "enabled": False,
                "disabled_reason": UNSIGNED,
            }
        if row["enabled"] and not self.webhooks:
            return row | {"enabled": False, "disabled_reason": SILENCED}
        return row


def _drawing(row: Row) -> Row:
    rested = row | {"fence": row["fence"] + AHEAD}
    if row["state"] != DrawingState.running:
        return rested
    return rested | {
        "state": DrawingState.pending.value,
        "attempt": max(0, row["attempt"] - 1),
        "worker": None,
        "lease_expires_at": None,
        "claimed_at": None,
        "partials": None,
    }
