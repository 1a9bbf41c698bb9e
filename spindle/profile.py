"""What a platform keeps its rows, objects and messages in."""

from collections.abc import Mapping
from enum import StrEnum

from spindle.errors import SpindleError

CLUSTER = {
    "SPINDLE_DATABASE_URL": (("postgresql", "postgres"), "postgresql://USER:PASSWORD@HOST/NAME"),
    "SPINDLE_STORE_URL": (("s3",), "s3://KEY:SECRET@HOST:PORT/BUCKET"),
    "SPINDLE_BROKER_URL": (("redis", "rediss"), "redis://:PASSWORD@HOST:PORT/0"),
}


class Profile(StrEnum):
    """Which parts: ``embedded`` in the state folder, ``cluster`` on servers that the environment names."""

    embedded = "embedded"
    cluster = "cluster"


def check_cluster(environment: Mapping[str, str]) -> None:
    """Make sure that the environment names the three servers of a cluster.

    Raises:
        SpindleError: naming each variable that is missing, or names a part of the embedded profile.
    """
    wrong = []
    for name, (schemes, form) in CLUSTER.items():
        url = environment.get(name, "")
        scheme = url.partition("://")[0].partition("+")[0]
        if not url:
            wrong.append(f"{name} is not set: give {form}")
        elif scheme not in schemes:
            wrong.append(f"{name} begins with {scheme}://, which is no part of a cluster: give {form}")
    if wrong:
        told = "\n".join(f"  {each}" for each in wrong)
        raise SpindleError(
            f"`--profile cluster` takes database, store and queue from the environment.\n{told}"
        )
