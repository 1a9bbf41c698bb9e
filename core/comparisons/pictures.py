"""What the models of a comparison drew, prompt by prompt, with their names: not for who votes."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.models import Comparison, ComparisonPicture
from core.paging import Page


@dataclass(frozen=True)
class Shown:
    """A picture in the store; ``model`` is the place of who drew it."""

    model: int
    seed: int
    key: str


@dataclass(frozen=True)
class ShownPrompt:
    """What is drawn of one prompt, by its place."""

    prompt: int
    pictures: list[Shown]


def pictures_of(session: Session, comparison: Comparison, *, start: int, limit: int) -> Page[ShownPrompt]:
    """Return prompts from ``start`` on with the pictures there are, by seed and then by model."""
    end = min(start + limit, len(comparison.prompts))
    rows = select(ComparisonPicture.model, ComparisonPicture.prompt, ComparisonPicture.files).where(
        ComparisonPicture.comparison_id == comparison.id,
        ComparisonPicture.prompt >= start,
        ComparisonPicture.prompt < end,
        ComparisonPicture.files.is_not(None),
    )
    found: dict[int, list[Shown]] = {}
    for model, prompt, files in session.execute(rows.order_by(ComparisonPicture.model)):
        seeds = comparison.prompts[prompt]["seeds"]
        for seed, file in zip(seeds, files or [], strict=True):
            found.setdefault(prompt, []).append(Shown(model, seed, file["key"]))
    items = [
        ShownPrompt(prompt, sorted(found.get(prompt, []), key=lambda one: (one.seed, one.model)))
        for prompt in range(start, end)
    ]
    return Page(items, end < len(comparison.prompts))
