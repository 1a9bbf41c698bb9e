"""``/v1/models``."""

from spindle import results
from spindle.call import Call, Listing
from spindle.call import delete as _delete
from spindle.call import get as _get

PATH = "/v1/models"


def get(name: str) -> Call[results.Model]:
    """Return a model's description."""
    return _get(results.Model, f"{PATH}/{name}")


def list_(*, limit: int | None = None) -> Listing[results.Model]:
    """Yield the models that can be used, newest first."""
    return Listing(results.Model, PATH, limit)


def delete(name: str) -> Call[results.Deleted]:
    """Delete a result."""
    return _delete(f"{PATH}/{name}")


def lineage(name: str) -> Call[results.Lineage]:
    """Tell where a model comes from: dataset version, job, iteration, checkpoint, model."""
    return _get(results.Lineage, f"{PATH}/{name}/lineage")
