"""Which address of the reference a request is for."""

from collections.abc import Mapping
from typing import Any

from starlette.types import Scope


def route_of(scope: Scope) -> str:
    """Return the route's template, so that ids do not become labels."""
    route = scope.get("route")
    if route is None:
        return "none"
    prefix = "/v1" if scope["path"].startswith("/v1/") else ""
    return prefix + str(route.path_format)


def object_of(params: Mapping[str, Any]) -> str | None:
    """Return what an address is about: the last id in it; of a registered name's parts ``NAME@PART``."""
    last = next(reversed(list(params.values())), None)
    if last is None:
        return None
    return f"{params['name']}@{last}" if "name" in params and len(params) > 1 else str(last)
