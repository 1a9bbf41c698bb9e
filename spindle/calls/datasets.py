"""``/v1/datasets``."""

from collections.abc import Mapping
from typing import Any

from spindle import results
from spindle.call import Call, Listing, Plan, known, post
from spindle.call import delete as _delete
from spindle.call import get as _get
from spindle.calls.waiting import until

PATH = "/v1/datasets"
LOOK_SECONDS = 0.5


def create(
    name: str,
    file_id: str,
    *,
    tolerance: float | None = None,
    split: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
    **more: Any,
) -> Call[results.Dataset]:
    """Build a new version of a dataset from an uploaded file; it is checked in the background.

    Args:
        name: of the dataset; one that exists gets its next version.
        file_id: of an uploaded file.
        tolerance: the share of rows that may be bad; above it the dataset fails.
        split: what is held out, such as ``{"validation": 0.1, "by": "caption", "seed": 0}``.
        columns: of a table or parquet file with unusual names: ``{"image": ..., "caption": ...}``.
        more: other fields of the API.
    """
    told = {"name": name, "file": file_id, "tolerance": tolerance, "split": split, "columns": columns}
    return post(results.Dataset, PATH, known(told | more))


def get(dataset_id: str) -> Call[results.Dataset]:
    """Return a dataset with its statistics and rejected rows."""
    return _get(results.Dataset, f"{PATH}/{dataset_id}")


def list_(*, limit: int | None = None, name: str | None = None) -> Listing[results.Dataset]:
    """Yield datasets, or the versions of one name, newest first."""
    return Listing(results.Dataset, PATH, limit, params={"name": name})


def delete(dataset_id: str) -> Call[results.Deleted]:
    """Delete a dataset that no job was made with; of a split both parts."""
    return _delete(f"{PATH}/{dataset_id}")


def rows(dataset_id: str, *, limit: int | None = None) -> Listing[results.DatasetRow]:
    """Yield a dataset's rows in order."""
    return Listing(results.DatasetRow, f"{PATH}/{dataset_id}/rows", limit)


def rejected(dataset_id: str, *, limit: int | None = None) -> Listing[results.Rejected]:
    """Yield the rows that did not make it into a dataset, each with its reason."""
    return Listing(results.Rejected, f"{PATH}/{dataset_id}/rejected", limit)


def overlap(dataset_id: str, other_id: str) -> Call[results.Overlap]:
    """Compare two datasets: how many pictures of the first are in the other, or look like one there."""
    return _get(results.Overlap, f"{PATH}/{dataset_id}/overlap", other=other_id)


def wait(
    dataset_id: str, *, timeout: float | None = None, poll: float = LOOK_SECONDS
) -> Plan[results.Dataset]:
    """Wait until a dataset is checked, and return it, ready or failed.

    Args:
        dataset_id: of the dataset.
        timeout: seconds to wait at most; None: for ever.
        poll: seconds between two looks.

    Raises:
        WaitedTooLongError: it was still being checked.
    """
    return until(get(dataset_id), lambda found: found.finished, timeout=timeout, poll=poll)
