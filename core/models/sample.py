"""Preview pictures."""

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from core.models.columns import Base


class Sample(Base):
    """One preview: the same prompt and seed after each iteration; -1 is the base model."""

    __tablename__ = "sample"

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"), primary_key=True)
    iteration: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    prompt: Mapped[str]
    seed: Mapped[int]
    key: Mapped[str]
