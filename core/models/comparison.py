"""Blind comparisons, and the models that stand in them."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, utcnow
from core.models.columns import ZERO, Base, Data, Json, checked
from core.models.states import ComparisonState
from core.tracing import current_origin


class Comparison(Base):
    """Two or more models on the same prompts and seeds, for people to say which draws better.

    ``prompts`` are ``[{prompt, seeds}]``; votes speak of them by their place. ``settings`` are what every
    picture is drawn with: steps, guidance_scale, width, height, negative_prompt. ``drawn`` and ``failed``
    count pictures of ``total``. ``failure`` is the first drawing's that failed. A deleted one keeps its row
    alone: datasets made of its votes tell of it. ``origin`` is the request that made it (core.tracing).
    """

    __tablename__ = "comparison"
    __table_args__ = (Index(None, "project_id", "id"), Index(None, "state", "id"))

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"))
    name: Mapped[str]
    job_id: Mapped[str | None]
    iteration: Mapped[int | None]
    dataset_id: Mapped[str | None]
    prompts: Mapped[list[Data]] = mapped_column(Json)
    settings: Mapped[Data] = mapped_column(Json)
    state: Mapped[ComparisonState] = mapped_column(checked(ComparisonState), default=ComparisonState.drawing)
    total: Mapped[int]
    drawn: Mapped[int] = mapped_column(default=0, server_default=ZERO)
    failed: Mapped[int] = mapped_column(default=0, server_default=ZERO)
    votes: Mapped[int] = mapped_column(default=0, server_default=ZERO)
    failure: Mapped[Data | None] = mapped_column(Json)
    origin: Mapped[Data | None] = mapped_column(Json, default=current_origin)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    ready_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ComparisonModel(Base):
    """A model in a comparison: what was asked for, and what that stood for then."""

    __tablename__ = "comparison_model"

    comparison_id: Mapped[str] = mapped_column(ForeignKey("comparison.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    model_id: Mapped[str] = mapped_column(index=True)
    name: Mapped[str]
    label: Mapped[str | None]


class DatasetPairs(Base):
    """What a dataset is made of that comes from votes: ``[[prompt, seed, winner, loser]]``, chosen once.

    A worker copies these pictures; the votes may change meanwhile.
    """

    __tablename__ = "dataset_pairs"

    dataset_id: Mapped[str] = mapped_column(ForeignKey("dataset.id"), primary_key=True)
    comparison_id: Mapped[str] = mapped_column(ForeignKey("comparison.id"), index=True)
    pairs: Mapped[list[list[int]]] = mapped_column(Json)
