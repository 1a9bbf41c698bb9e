"""What becomes of drawings that this process waits for: one small query a moment, however many there are."""

import asyncio
import threading
import time
from dataclasses import dataclass, field

import structlog
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.exc import SQLAlchemyError

from core import drawings
from core.db import Database, look
from core.drawings import Sight

log = structlog.get_logger(__name__)

SHORTEST_SECONDS = 0.01
LONGEST_SECONDS = 0.2
SHARE = 0.01  # of the time since something last happened: who waited long can wait a moment longer
AWAY_SECONDS = 0.5


@dataclass(eq=False)
class _Waiter:
    drawing_id: str
    known: Sight | None
    news: "asyncio.Future[Sight | None]"


@dataclass
class Watch:
    """Looks on behalf of everybody who waits in this process.

    It looks again after 10 ms, or after a hundredth of the time that nothing has happened, and no later than
    after 200 ms; not at all when nobody waits.
    """

    database: Database
    stopping: threading.Event
    _waiters: set[_Waiter] = field(default_factory=set)
    _looking: "asyncio.Task[None] | None" = None

    async def news(self, drawing_id: str, known: Sight | None, *, seconds: float) -> Sight | None:
        """Return what a drawing looks like once that is not as ``known``; None: not within ``seconds``.

        It is None at once when the process has to stop.
        """
        waiter = _Waiter(drawing_id, known, asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                return await waiter.news
        except TimeoutError:
            return None
        finally:
            self._waiters.discard(waiter)

    async def _look(self) -> None:
        happened = time.monotonic()
        while self._waiters:
            if self.stopping.is_set():
                for waiter in self._waiters:
                    _tell(waiter, None)
                return
            try:
                if await self._tell_news():
                    happened = time.monotonic()
            except SQLAlchemyError as error:  # they wait as long as they wish to
                log.warning("drawings_not_seen", error=type(error).__name__)
                await asyncio.sleep(AWAY_SECONDS)
            quiet = time.monotonic() - happened
            await asyncio.sleep(min(max(SHORTEST_SECONDS, SHARE * quiet), LONGEST_SECONDS))

    async def _tell_news(self) -> bool:
        """Tell everybody what is new to them; return whether anything was."""
        waiters = list(self._waiters)
        found = await run_in_threadpool(self._sights, {waiter.drawing_id for waiter in waiters})
        told = False
        for waiter in waiters:
            sight = found.get(waiter.drawing_id)
            if sight is not None and sight != waiter.known:
                _tell(waiter, sight)
                told = True
        return told

    def _sights(self, ids: set[str]) -> dict[str, Sight]:
        with look(self.database) as session:
            return drawings.sights(session, ids)


def _tell(waiter: _Waiter, sight: Sight | None) -> None:
    if not waiter.news.done():
        waiter.news.set_result(sight)
