"""Who owns things."""

from datetime import datetime

from sqlalchemy import BigInteger, Double
from sqlalchemy.orm import Mapped, mapped_column

from core.clock import UtcDateTime, utcnow
from core.models.columns import ZERO, Base


class Project(Base):
    """The owner of keys, files, datasets, jobs and models; what is another's does not exist.

    ``max_running`` units of it run at once, ``max_jobs`` jobs of it are open at once, and its jobs may take
    ``gpu_seconds_limit`` in all; its files and open uploads may take ``max_bytes`` and take ``stored_bytes``.
    A limit of None is none. ``gpu_seconds_reserved`` is what its open jobs were thought to take,
    ``gpu_seconds_used`` what those that have ended took. ``share`` is how much it was served lately
    (core.runs.shares).
    """

    __tablename__ = "project"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    max_running: Mapped[int | None]
    max_jobs: Mapped[int | None]
    gpu_seconds_limit: Mapped[float | None] = mapped_column(Double)
    gpu_seconds_reserved: Mapped[float] = mapped_column(Double, default=0.0, server_default=ZERO)
    gpu_seconds_used: Mapped[float] = mapped_column(Double, default=0.0, server_default=ZERO)
    open_jobs: Mapped[int] = mapped_column(default=0, server_default=ZERO)
    max_bytes: Mapped[int | None] = mapped_column(BigInteger)
    stored_bytes: Mapped[int] = mapped_column(BigInteger, default=0, server_default=ZERO)
    share: Mapped[float | None] = mapped_column(Double)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
