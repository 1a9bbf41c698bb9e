"""Models: what there was before, and what jobs made."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, utcnow
from core.models.columns import Base, Data, Json, checked
from core.models.states import ModelKind


class Model(Base):
    """A complete pipeline under a name; or with ``weights``, what is to be loaded into the one of its base.

    ``source`` says where the pipeline lies: ``folder:/abs/path`` on this host, or ``unit:ID/model`` in the
    output of a unit; ``weights`` likewise. ``digest`` changes when the content does. ``size`` is a
    base model's PipelineSize (spin_engine.sizes).
    """

    __tablename__ = "model"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str | None] = mapped_column(ForeignKey("project.id"), index=True)
    kind: Mapped[ModelKind] = mapped_column(checked(ModelKind))
    source: Mapped[str]
    weights: Mapped[str | None]
    digest: Mapped[str]
    base_model_id: Mapped[str | None]
    job_id: Mapped[str | None] = mapped_column(index=True)
    defaults: Mapped[Data | None] = mapped_column(Json)
    size: Mapped[Data | None] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
