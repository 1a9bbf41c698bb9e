"""Bytes in the store that files share."""

from sqlalchemy import BigInteger, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.models.columns import Base


class Blob(Base):
    """An object that ``files`` files of a project consist of; with none it is about to be deleted.

    ``sha256`` is None where twins were stored before they were told apart: such an object is never shared.
    """

    __tablename__ = "blob"
    __table_args__ = (UniqueConstraint("project_id", "sha256"),)

    key: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"))
    sha256: Mapped[str | None]
    bytes: Mapped[int] = mapped_column(BigInteger)
    files: Mapped[int]
