"""``/v1/registry``."""

from collections.abc import Mapping
from typing import Any

from spindle import registered
from spindle.call import Call, Listing, known, post
from spindle.call import delete as _delete
from spindle.call import get as _get
from spindle.results import Deleted

PATH = "/v1/registry"


def create(name: str, *, description: str | None = None) -> Call[registered.Name]:
    """Register a name."""
    return post(registered.Name, PATH, known({"name": name, "description": description}))


def get(name: str) -> Call[registered.Name]:
    """Return a registered name with its aliases."""
    return _get(registered.Name, f"{PATH}/{name}")


def list_(*, limit: int | None = None) -> Listing[registered.Name]:
    """Yield registered names, newest first."""
    return Listing(registered.Name, PATH, limit)


def describe(name: str, description: str | None) -> Call[registered.Name]:
    """Change what is said of a name."""
    body = {"description": description}
    return Call("PATCH", f"{PATH}/{name}", registered.Name.model_validate, body=body)


def delete(name: str) -> Call[Deleted]:
    """Remove a name that has no alias; the models stay."""
    return _delete(f"{PATH}/{name}")


def promote(
    name: str, model: str, *, alias: str | None = None, notes: str | None = None, create: bool = True
) -> Call[registered.Version]:
    """Make a model the next version of a name, and let an alias point at it.

    Args:
        name: the registered name.
        model: a result, a checkpoint or an import.
        alias: what is to point at the new version from the same moment.
        notes: what people should know of it.
        create: register the name if there is none such.
    """
    told = {"model": model, "alias": alias, "notes": notes, "create": create}
    return post(registered.Version, f"{PATH}/{name}/versions", known(told))


def versions(name: str, *, limit: int | None = None) -> Listing[registered.Version]:
    """Yield a name's versions, newest first."""
    return Listing(registered.Version, f"{PATH}/{name}/versions", limit)


def note(name: str, version: int, notes: str | None) -> Call[registered.Version]:
    """Change what is said of a version."""
    path = f"{PATH}/{name}/versions/{version}"
    return Call("PATCH", path, registered.Version.model_validate, body={"notes": notes})


def delete_version(name: str, version: int) -> Call[Deleted]:
    """Let go of a version at which no alias points."""
    return _delete(f"{PATH}/{name}/versions/{version}")


def aliases(name: str, *, limit: int | None = None) -> Listing[registered.Alias]:
    """Yield a name's aliases by the alphabet."""
    return Listing(registered.Alias, f"{PATH}/{name}/aliases", limit)


def point(
    name: str,
    alias: str,
    version: int,
    *,
    split: Mapping[str, Any] | None = None,
    expected: int | None = None,
) -> Call[registered.Alias]:
    """Make an alias point at a version.

    Args:
        name: the registered name.
        alias: a word.
        version: of the name.
        split: ``{"version": 1, "share": 0.1}``: another version for a part of the requests.
        expected: the version at which it must point until now, 0 when it must be new.
    """
    told = known({"version": version, "split": split, "expected": expected})
    path = f"{PATH}/{name}/aliases/{alias}"
    return Call("PUT", path, registered.Alias.model_validate, body=told)


def rollback(name: str, alias: str, *, expected: int | None = None) -> Call[registered.Alias]:
    """Make an alias point where it did before; once more, and it goes one further back."""
    path = f"{PATH}/{name}/aliases/{alias}/rollback"
    return post(registered.Alias, path, known({"expected": expected}))


def history(name: str, alias: str, *, limit: int | None = None) -> Listing[registered.Move]:
    """Yield every move of an alias, newest first."""
    return Listing(registered.Move, f"{PATH}/{name}/aliases/{alias}/history", limit)


def delete_alias(name: str, alias: str) -> Call[Deleted]:
    """Take an alias away; its history stays."""
    return _delete(f"{PATH}/{name}/aliases/{alias}")
