"""What a client asks, apart from how it is sent: the same for ``Spindle`` and for ``AsyncSpindle``.

A ``Call`` is one request and how its answer reads. A ``Plan`` is several, with pauses between: a generator
that yields them and is sent their results. A ``Listing`` is a list, page after page.
"""

import uuid
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Generic, TypeAlias, TypeVar

from spindle.results import Deleted, Result

T = TypeVar("T")
R = TypeVar("R", bound=Result)
PAGE = 100


@dataclass(frozen=True)
class Upload:
    """Bytes that go up as multipart form data, read piece by piece."""

    stream: BinaryIO
    filename: str
    form: Mapping[str, str] = field(default_factory=dict)
    field: str = "file"


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request.

    Attributes:
        method: of HTTP.
        path: from ``/v1`` on.
        read: turns the JSON of the answer into the result.
        params: the query; None is left out.
        body: JSON.
        upload: in place of ``body``.
        headers: beside those that every request has.
        timeout: seconds to wait for the answer; None: the client's own.
        key: the Idempotency-Key of a POST: the same however often it is sent, so that it takes effect once.
    """

    method: str
    path: str
    read: Callable[[Any], T]
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    upload: Upload | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    key: str = field(default_factory=lambda: str(uuid.uuid4()))

    def arguments(self) -> dict[str, Any]:
        """Return what httpx calls these."""
        headers = dict(self.headers)
        if self.method == "POST":
            headers["Idempotency-Key"] = self.key
        told: dict[str, Any] = {"params": known(self.params), "headers": headers}
        if self.timeout is not None:
            told["timeout"] = self.timeout
        if self.body is not None:
            told["json"] = self.body
        if self.upload is not None:
            self.upload.stream.seek(0)
            told["data"] = self.upload.form
            told["files"] = {self.upload.field: (self.upload.filename, self.upload.stream)}
        return told


@dataclass(frozen=True)
class Pause:
    """Some seconds in which nothing is asked."""

    seconds: float


Plan: TypeAlias = Generator[Call[Any] | Pause, Any, T]


@dataclass(frozen=True)
class Listing(Generic[R]):
    """A list: what its items are, and how many are wanted at most."""

    kind: type[R]
    path: str
    limit: int | None = None
    page_size: int = PAGE
    params: Mapping[str, Any] = field(default_factory=dict)

    def pages(self) -> Generator[Call[list[R]], list[R], None]:
        """Yield the request for each page, and be sent its items."""
        params, left = dict(self.params), self.limit
        last: dict[str, Any] = {}

        def read(page: dict[str, Any]) -> list[R]:
            last.clear()
            last.update(page)
            return [self.kind.model_validate(item) for item in page["data"]]

        while left is None or left > 0:
            size = self.page_size if left is None else min(self.page_size, left)
            items = yield Call("GET", self.path, read, params=params | {"limit": size})
            if not last.get("has_more") or not items:
                return
            params["after"] = last.get("last_id") or last["data"][-1]["id"]
            left = None if left is None else left - len(items)


def get(kind: type[R], path: str, **params: Any) -> Call[R]:
    """Ask for one thing."""
    return Call("GET", path, kind.model_validate, params=params)


def post(kind: type[R], path: str, body: Mapping[str, Any] | None = None) -> Call[R]:
    """Make or change one thing."""
    return Call("POST", path, kind.model_validate, body=body)


def delete(path: str) -> Call[Deleted]:
    """Delete one thing."""
    return Call("DELETE", path, Deleted.model_validate)


def known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what was not given."""
    return {name: value for name, value in values.items() if value is not None}


def steps(plan: "Call[T] | Plan[T]") -> Plan[T]:
    """Return a plan: a call is one of a single step."""
    if isinstance(plan, Call):
        result: T = yield plan
        return result
    return (yield from plan)
