"""What a user may say of how a file becomes a dataset."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self


@dataclass(frozen=True)
class Split:
    """Some rows are held out and become a dataset of their own."""

    validation: float
    """The share held out, above 0, at most 0.5; kept to within one group in ``1 / validation``."""
    by: Literal["row", "caption"] = "row"
    """What stays on one side: ``row``, rows of the same picture; ``caption``, rows of the same caption."""
    seed: int = 0
    """Decides which. The same file, share and seed give the same parts."""


@dataclass(frozen=True)
class Columns:
    """The columns of a parquet file or a table; None: found by their usual names."""

    image: str | None = None
    caption: str | None = None


@dataclass(frozen=True)
class Options:
    """How one file becomes a dataset."""

    tolerance: float = 1.0
    """The share of rows that may be bad; above it nothing of the file is used."""
    columns: Columns = Columns()
    split: Split | None = None

    @classmethod
    def of_json(cls, told: dict[str, Any] | None) -> Self:
        """Read what ``as_json`` wrote; None: nothing was said."""
        told = told or {}
        return cls(
            tolerance=told.get("tolerance", cls.tolerance),
            columns=Columns(**told.get("columns") or {}),
            split=Split(**told["split"]) if told.get("split") else None,
        )

    def as_json(self) -> dict[str, Any]:
        """Return a column's or a child process's JSON."""
        return asdict(self)
