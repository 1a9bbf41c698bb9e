"""Prompts out of a dataset: some of its captions, from all over it. Reads the store and holds no session."""

from core import contents
from core.errors import Conflict, Invalid
from core.ingest.limits import Limits
from core.models import Dataset, DatasetState
from core.storage.store import ObjectStore

PLACES = 8
"""From where in a dataset captions are read, a page of rows each: what a request can wait for."""


def prompts_of(store: ObjectStore, dataset: Dataset, *, count: int) -> list[str]:
    """Return different captions of a dataset, in its order and spread over it; the same each time.

    Raises:
        Conflict: the dataset is not ready.
        Invalid: there are not so many different ones where it was looked.
    """
    if dataset.state is not DatasetState.ready:
        raise Conflict(f"{dataset.id} is {dataset.state.value}: it has captions when it is ready")
    pages = len(dataset.pages or ())
    places = sorted({page * pages // PLACES for page in range(PLACES)}) if pages else []
    captions: dict[str, None] = {}
    for place in places:
        after = place * Limits.page_rows - 1
        rows = contents.rows(store, dataset, after=after if after >= 0 else None, limit=Limits.page_rows)
        captions.update(dict.fromkeys(row.text for row in rows.items))
    if len(captions) < count:
        raise Invalid(
            f"prompts_from: {len(captions)} different captions were found in {dataset.id}; "
            "ask for no more, or give prompts",
            param="prompts_from",
            code="too_few_captions",
        )
    found = list(captions)
    return [found[index * len(found) // count] for index in range(count)]
