"""Datasets."""

from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, utcnow
from core.models.columns import Base, Data, Json, checked
from core.models.states import DatasetState
from core.tracing import current_origin


class Dataset(Base):
    """An immutable, numbered version of pictures with captions.

    ``shards`` and ``pages`` are manifests, ``[{path, key, sha256, size}]``: the tars that the engine reads,
    and the rows with thumbnails that people read, 100 a file. ``fingerprints`` likewise: what tells which
    pictures look alike (core.ingest.likeness). ``rejected`` are rows that were left out, the first thousand;
    ``rejections`` files with all of them, if there are more. ``options`` are core.ingest.options.Options.
    ``part`` is "training" or "validation" where one file was split into two datasets, each the other's
    ``sibling_id``; the unit that makes them is the training part's. ``comparison_id`` is there where votes
    chose the pictures: then the file never had bytes. ``origin`` is the request that made it (core.tracing).
    """

    __tablename__ = "dataset"
    __table_args__ = (UniqueConstraint("project_id", "name", "version"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"), index=True)
    name: Mapped[str]
    version: Mapped[int]
    file_id: Mapped[str] = mapped_column(ForeignKey("file.id"), index=True)
    state: Mapped[DatasetState] = mapped_column(checked(DatasetState), default=DatasetState.validating)
    rows: Mapped[int | None]
    rejected: Mapped[list[Data] | None] = mapped_column(Json)
    statistics: Mapped[Data | None] = mapped_column(Json)
    sha256: Mapped[str | None]
    shards: Mapped[list[Data] | None] = mapped_column(Json)
    pages: Mapped[list[Data] | None] = mapped_column(Json)
    failure: Mapped[Data | None] = mapped_column(Json)
    options: Mapped[Data | None] = mapped_column(Json)
    part: Mapped[str | None]
    sibling_id: Mapped[str | None]
    comparison_id: Mapped[str | None] = mapped_column(index=True)
    rejections: Mapped[list[Data] | None] = mapped_column(Json)
    fingerprints: Mapped[list[Data] | None] = mapped_column(Json)
    origin: Mapped[Data | None] = mapped_column(Json, default=current_origin)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
