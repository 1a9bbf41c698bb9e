"""What every resource of the client shares: how one is read, made, deleted, and listed page by page."""

from collections.abc import Iterator
from typing import Any, TypeVar

from spindle.results import Deleted, Result
from spindle.transport import Transport

R = TypeVar("R", bound=Result)
PAGE = 100


class Resource:
    """One resource of the API: a path and the ways to read it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def _get(self, kind: type[R], path: str, **params: Any) -> R:
        return kind.model_validate(self._transport.request("GET", path, params=params))

    def _post(self, kind: type[R], path: str, body: dict[str, Any] | None = None) -> R:
        return kind.model_validate(self._transport.request("POST", path, body=body))

    def _delete(self, path: str) -> Deleted:
        return Deleted.model_validate(self._transport.request("DELETE", path))

    def _pages(
        self, kind: type[R], path: str, limit: int | None, *, page_size: int = PAGE, **params: Any
    ) -> Iterator[R]:
        """Yield the items of a list, page after page, at most ``limit`` of them."""
        left = limit
        while left is None or left > 0:
            size = page_size if left is None else min(page_size, left)
            page = self._transport.request("GET", path, params=params | {"limit": size})
            for item in page["data"]:
                yield kind.model_validate(item)
            if not page.get("has_more") or not page["data"]:
                return
            params["after"] = page.get("last_id") or page["data"][-1]["id"]
            left = None if left is None else left - len(page["data"])
