"""What is asked, made a method of a client: of one that blocks, or of one for asyncio.

The functions of spindle.calls are written once, with their arguments, types and words; these descriptors give
both clients the same methods.
"""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

from spindle.call import Call, Listing, Plan
from spindle.results import Result
from spindle.transport import AsyncTransport, Transport

P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U")
R = TypeVar("R", bound=Result)


class Blocking(Protocol):
    """Whatever holds a transport that blocks."""

    @property
    def transport(self) -> Transport:
        """Sends what is asked."""


class Awaiting(Protocol):
    """Whatever holds a transport for asyncio."""

    @property
    def transport(self) -> AsyncTransport:
        """Sends what is asked."""


class Resource:
    """One resource of a client that blocks."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport


class AsyncResource:
    """One resource of a client for asyncio."""

    def __init__(self, transport: AsyncTransport) -> None:
        self.transport = transport


class Does(Generic[P, T]):
    """A method that does a call or a plan, and returns what ``made`` makes of its result."""

    def __init__(self, ask: Callable[P, Call[Any] | Plan[Any]], made: Callable[[Any, Any], T]) -> None:
        self._ask = ask
        self._made = made
        self.__doc__ = ask.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> "Does[P, T]": ...

    @overload
    def __get__(self, owner: Blocking, kind: type) -> Callable[P, T]: ...

    def __get__(self, owner: Blocking | None, kind: type) -> "Does[P, T] | Callable[P, T]":
        """Bind it."""
        if owner is None:
            return self

        @functools.wraps(self._ask)
        def do(*args: P.args, **kwargs: P.kwargs) -> T:
            return self._made(owner, owner.transport.run(self._ask(*args, **kwargs)))

        return do


class AsyncDoes(Generic[P, T]):
    """The same, to be awaited."""

    def __init__(self, ask: Callable[P, Call[Any] | Plan[Any]], made: Callable[[Any, Any], T]) -> None:
        self._ask = ask
        self._made = made
        self.__doc__ = ask.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> "AsyncDoes[P, T]": ...

    @overload
    def __get__(self, owner: Awaiting, kind: type) -> Callable[P, Awaitable[T]]: ...

    def __get__(self, owner: Awaiting | None, kind: type) -> "AsyncDoes[P, T] | Callable[P, Awaitable[T]]":
        """Bind it."""
        if owner is None:
            return self

        @functools.wraps(self._ask)
        async def do(*args: P.args, **kwargs: P.kwargs) -> T:
            return self._made(owner, await owner.transport.run(self._ask(*args, **kwargs)))

        return do


class Lists(Generic[P, R]):
    """A method that yields the items of a list, page after page."""

    def __init__(self, ask: Callable[P, Listing[R]]) -> None:
        self._ask = ask
        self.__doc__ = ask.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> "Lists[P, R]": ...

    @overload
    def __get__(self, owner: Blocking, kind: type) -> Callable[P, Iterator[R]]: ...

    def __get__(self, owner: Blocking | None, kind: type) -> "Lists[P, R] | Callable[P, Iterator[R]]":
        """Bind it."""
        if owner is None:
            return self

        @functools.wraps(self._ask)
        def items(*args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
            pages = self._ask(*args, **kwargs).pages()
            call = next(pages, None)
            while call is not None:
                page = owner.transport.send(call)
                yield from page
                call = _after(pages, page)

        return items


class AsyncLists(Generic[P, R]):
    """The same, for ``async for``."""

    def __init__(self, ask: Callable[P, Listing[R]]) -> None:
        self._ask = ask
        self.__doc__ = ask.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> "AsyncLists[P, R]": ...

    @overload
    def __get__(self, owner: Awaiting, kind: type) -> Callable[P, AsyncIterator[R]]: ...

    def __get__(
        self, owner: Awaiting | None, kind: type
    ) -> "AsyncLists[P, R] | Callable[P, AsyncIterator[R]]":
        """Bind it."""
        if owner is None:
            return self

        @functools.wraps(self._ask)
        async def items(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
            pages = self._ask(*args, **kwargs).pages()
            call = next(pages, None)
            while call is not None:
                page = await owner.transport.send(call)
                for item in page:
                    yield item
                call = _after(pages, page)

        return items


def does(ask: Callable[P, Call[T] | Plan[T]]) -> Does[P, T]:
    """Return a method that does what is asked."""
    return Does(ask, _as_it_is)


def async_does(ask: Callable[P, Call[T] | Plan[T]]) -> AsyncDoes[P, T]:
    """Return the same, to be awaited."""
    return AsyncDoes(ask, _as_it_is)


def _as_it_is(_owner: Any, found: Any) -> Any:
    return found


def _after(pages: Any, page: list[Any]) -> Any:
    """Return the request for the next page; None when there is none."""
    try:
        return pages.send(page)
    except StopIteration:
        return None
