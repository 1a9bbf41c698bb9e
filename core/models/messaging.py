"""Doorbells to ring, requests already answered, workers that were seen."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from core.models.base import Base

RowId = BigInteger().with_variant(Integer(), "sqlite")


class Outbox(Base):
    """A doorbell, written with what it announces and rung after the commit."""

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_sent_at", "sent_at", "id"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=True)
    queue: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]


class Idempotency(Base):
    """The first answer to a POST that carried an Idempotency-Key; ``status`` is null while it runs."""

    __tablename__ = "idempotency"

    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    status: Mapped[int | None]
    body: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]


class WorkerNode(Base):
    """A worker process and when it last spoke."""

    __tablename__ = "worker_node"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    seen_at: Mapped[datetime]
