"""The pictures of comparisons."""

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from core.models.columns import Base, Data, Json, checked
from core.models.states import PictureState


class ComparisonPicture(Base):
    """What one model draws for one prompt: a picture a seed, by one drawing.

    ``files`` is their manifest and ``pixels`` a sha256 of what each shows, in the order of the seeds; both
    are there once it is drawn.
    """

    __tablename__ = "comparison_picture"
    __table_args__ = (Index(None, "comparison_id", "state"), Index(None, "drawing_id"))

    comparison_id: Mapped[str] = mapped_column(ForeignKey("comparison.id"), primary_key=True)
    model: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    prompt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    state: Mapped[PictureState] = mapped_column(checked(PictureState), default=PictureState.waiting)
    drawing_id: Mapped[str | None]
    files: Mapped[list[Data] | None] = mapped_column(Json)
    pixels: Mapped[list[str] | None] = mapped_column(Json)
    failure: Mapped[Data | None] = mapped_column(Json)
