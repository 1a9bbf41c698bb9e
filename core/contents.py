"""What is in a dataset: its rows, those that were left out, and what two of them share.

All of it lies in the store. No session is held while it is read.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from core.errors import Conflict, Invalid, NotFound
from core.ingest.likeness import Overlap, fingerprints
from core.ingest.likeness import overlap as compare
from core.ingest.limits import Limits
from core.ingest.shards import PageRow, Place, page_rows
from core.models import Dataset, DatasetState
from core.paging import Page
from core.storage.store import ObjectStore

MOST_COMPARED = 100_000
"""Rows of two datasets together that are compared while a client waits: some ten seconds at worst."""


@dataclass(frozen=True)
class Shown:
    """A picture's file: a part of an object."""

    key: str
    place: Place


def rows(store: ObjectStore, dataset: Dataset, *, after: int | None, limit: int) -> Page[PageRow]:
    """Return rows behind the one with index ``after``, in their order; reads the store and needs no session.

    Raises:
        Conflict: the dataset is not ready.
    """
    _require_ready(dataset)
    assert dataset.pages is not None
    assert dataset.rows is not None
    start = 0 if after is None else after + 1
    end = min(start + limit, dataset.rows)
    found: list[PageRow] = []
    for number in range(start // Limits.page_rows, -(-end // Limits.page_rows)):
        with store.open(dataset.pages[number]["key"]) as stream:
            found += [row for row in page_rows(stream.read()) if start <= row.index < end]
    return Page(found, end < dataset.rows)


def picture(store: ObjectStore, dataset: Dataset, *, index: int, loser: bool = False) -> Shown:
    """Find the picture of a row, or the one that lost against it; its file as the engine reads it.

    Raises:
        Conflict: the dataset is not ready, or is of before places were told.
        NotFound: there is no such row, or no other picture in it.
    """
    found = rows(store, dataset, after=index - 1 if index else None, limit=1).items
    if not found or (loser and found[0].loser_thumbnail is None):
        what = f"row {index}" + (" with two pictures" if loser else "")
        raise NotFound(f"{dataset.id} has no {what}", param="index", code="row_not_found")
    place = found[0].loser_place if loser else found[0].place
    if place is None:
        raise Conflict(
            f"{dataset.id} was made by an earlier version, which did not tell where its pictures lie: make "
            "it again from its file"
        )
    assert dataset.shards is not None
    return Shown(dataset.shards[place.shard]["key"], place)


def all_rejected(store: ObjectStore, dataset: Dataset) -> Iterator[dict[str, Any]]:
    """Yield all rows that were left out, ``{file, row, reason}``, page by page.

    Raises:
        Conflict: the dataset is being validated.
    """
    after = None
    while True:
        page = rejected(store, dataset, after=after, limit=Limits.listed_rejections)
        yield from (row for _, row in page.items)
        if not page.has_more:
            return
        after = page.items[-1][0]


def rejected(
    store: ObjectStore, dataset: Dataset, *, after: int | None, limit: int
) -> Page[tuple[int, dict[str, Any]]]:
    """Return rows that were left out, ``{file, row, reason}`` with their place in the list, from 0.

    Raises:
        Conflict: the dataset is being validated.
    """
    if dataset.state is DatasetState.validating:
        raise Conflict(f"{dataset.id} is validating: which rows are left out is known when it has ended")
    start = 0 if after is None else after + 1
    pages = dataset.rejections or []
    if not pages:
        listed = dataset.rejected or []
        found = list(enumerate(listed))[start : start + limit]
        return Page(found, start + limit < len(listed))
    found = []
    size = Limits.listed_rejections
    number = start // size
    while number < len(pages) and len(found) <= limit:
        with store.open(pages[number]["key"]) as stream:
            rows = json.loads(stream.read())
        found += [one for one in enumerate(rows, start=number * size) if one[0] >= start]
        number += 1
    return Page(found[:limit], len(found) > limit)


def overlap(store: ObjectStore, dataset: Dataset, other: Dataset) -> Overlap:
    """Tell which rows of a dataset have a picture that is in the other, or one that looks like it.

    Raises:
        Conflict: one is not ready, or was made before pictures were compared.
        Invalid: they are too large to be compared at once.
    """
    for each in (dataset, other):
        _require_ready(each)
        if not each.fingerprints:
            raise Conflict(
                f"{each.id} was made by an earlier version, which did not compare pictures: make it again "
                "from its file"
            )
    rows_in_all = (dataset.rows or 0) + (other.rows or 0)
    if rows_in_all > MOST_COMPARED:
        raise Invalid(
            f"other: the two have {rows_in_all} rows, more than the {MOST_COMPARED} that are compared at "
            "once; a split of one file is compared whatever its size, see its statistics",
            param="other",
            code="too_large_to_compare",
        )
    return compare(fingerprints(_fingerprints(store, dataset)), fingerprints(_fingerprints(store, other)))


def _fingerprints(store: ObjectStore, dataset: Dataset) -> bytes:
    assert dataset.fingerprints
    with store.open(dataset.fingerprints[0]["key"]) as stream:
        return stream.read()


def _require_ready(dataset: Dataset) -> None:
    if dataset.state is not DatasetState.ready:
        raise Conflict(f"{dataset.id} is {dataset.state.value}: it has rows when it is ready")
