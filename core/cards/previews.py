"""The grids of preview pictures of a job: the same captions and seeds from the base model on."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.models import Unit, UnitKind, UnitState
from core.sources import SourceFile

GRID = "grid.png"


@dataclass(frozen=True)
class Shown:
    """One grid; ``iteration`` -1 is the model that the job started from."""

    iteration: int
    file: SourceFile

    @property
    def filename(self) -> str:
        """What to call it."""
        return self.file.path


def previews_of(session: Session, job_id: str | None) -> list[Shown]:
    """Return a job's grids in the order of their iterations."""
    if job_id is None:
        return []
    units = session.scalars(
        select(Unit)
        .where(Unit.job_id == job_id, Unit.kind == UnitKind.evaluate, Unit.state == UnitState.succeeded)
        .order_by(Unit.iteration)
    )
    shown = []
    for unit in units:
        for file in (unit.output or {}).get("files", ()):
            if file["path"] == GRID:
                name = "start.png" if unit.iteration < 0 else f"iteration-{unit.iteration}.png"
                grid = SourceFile(name, file["key"], file["sha256"], file["size"])
                shown.append(Shown(unit.iteration, grid))
    return shown
