"""What is counted of a dataset while its rows pass by."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from core.ingest.likeness import EXAMPLES, Fingerprint, Seen
from core.ingest.pictures import Picture

SQUARE = 1.1
"""A picture counts as square up to this ratio of its sides."""


@dataclass
class _Span:
    """The least, the mean and the most of a number."""

    least: float | None = None
    most: float | None = None
    total: float = 0
    count: int = 0

    def add(self, value: float) -> None:
        self.least = value if self.least is None else min(self.least, value)
        self.most = value if self.most is None else max(self.most, value)
        self.total += value
        self.count += 1

    def as_json(self) -> dict[str, Any]:
        return {"min": self.least, "mean": round(self.total / max(1, self.count), 2), "max": self.most}


@dataclass
class Statistics:
    """The rows of one dataset, counted."""

    rows: int = 0
    pairs: int = 0
    size: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    rewritten: Counter[str] = field(default_factory=Counter)
    shapes: Counter[str] = field(default_factory=Counter)
    spans: dict[str, _Span] = field(
        default_factory=lambda: {
            name: _Span() for name in ("width", "height", "aspect", "caption_characters")
        }
    )
    captions: set[int] = field(default_factory=set)
    repeated_captions: int = 0
    repeated_pictures: int = 0
    alike: int = 0
    examples: list[dict[str, int]] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)

    def add(self, picture: Picture, caption: str, fingerprint: Fingerprint, loser: Picture | None) -> None:
        """Count the next row."""
        for each in (picture, loser):
            if each is None:
                continue
            self.size += len(each.data)
            self.formats[each.format] += 1
            if each.rewritten is not None:
                self.rewritten[each.rewritten] += 1
        self.pairs += loser is not None
        aspect = picture.width / picture.height
        self.shapes["square" if 1 / SQUARE <= aspect <= SQUARE else "wide" if aspect > 1 else "tall"] += 1
        for name, value in (
            ("width", picture.width),
            ("height", picture.height),
            ("aspect", round(aspect, 3)),
            ("caption_characters", len(caption)),
        ):
            self.spans[name].add(value)
        self._compare(caption, fingerprint)
        self.rows += 1

    def _compare(self, caption: str, fingerprint: Fingerprint) -> None:
        text = hash(caption)
        self.repeated_captions += text in self.captions
        self.captions.add(text)
        if self.seen.same(fingerprint) is not None:
            self.repeated_pictures += 1
        else:
            other = self.seen.alike(fingerprint.likeness)
            self.alike += other is not None
            if other is not None and len(self.examples) < EXAMPLES:
                self.examples.append({"row": self.rows, "other": other})
        self.seen.add(fingerprint)

    def as_json(self) -> dict[str, Any]:
        """Return what is told of the dataset."""
        return {
            "rows": self.rows,
            "pairs": self.pairs,
            "bytes": self.size,
            "formats": dict(sorted(self.formats.items())),
            "rewritten": dict(sorted(self.rewritten.items())),
            "shapes": dict(sorted(self.shapes.items())),
            **{name: span.as_json() for name, span in self.spans.items()},
            "repeated_captions": self.repeated_captions,
            "repeated_pictures": self.repeated_pictures,
            "similar_pictures": {"rows": self.alike, "examples": self.examples},
        }
