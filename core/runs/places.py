"""Where the objects of units go: below what the unit is of."""

from typing import Protocol

EXPORT, IMPORT = "exp-", "imp-"
"""What the ids of exports and imports begin with."""


class OfUnit(Protocol):
    """A unit, or a claim on one: whose it is."""

    @property
    def job_id(self) -> str | None:
        """The job's id."""

    @property
    def dataset_id(self) -> str | None:
        """The dataset's id."""

    @property
    def transfer_id(self) -> str | None:
        """The export's or import's id."""


def prefix_of(unit: OfUnit, unit_id: str) -> str:
    """Return where the objects of all attempts at a unit go."""
    if unit.transfer_id is not None:
        folder = "exports" if unit.transfer_id.startswith(EXPORT) else "imports"
        return f"{folder}/{unit.transfer_id}"
    return f"datasets/{unit.dataset_id}" if unit.job_id is None else f"jobs/{unit.job_id}/units/{unit_id}"
