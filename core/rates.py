"""How often a key may ask: a bucket that empties with each request and refills steadily.

The algorithm is GCRA (ITU-T I.371): of a bucket only the moment is kept at which it will be full again. A
request moves it by ``seconds / requests``, and is refused when that would put it more than ``seconds`` ahead.
Redis keeps it where the queue is Redis, so that all API processes count together; otherwise this process.
(The library for this, limits 5.8, wants a redis older than the queue's.)
"""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.settings import Settings

log = structlog.get_logger(__name__)

MINUTE = 60.0
MOST_KEPT = 10_000
REDIS_SECONDS = 0.25
PAUSE_SECONDS = 10.0
TAKE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local step, seconds = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now) + step
if full - now > seconds + step / 1e3 then
  return {0, string.format('%.6f', full - step - now)}
end
redis.call('SET', KEYS[1], string.format('%.6f', full), 'PX', math.ceil((full - now) * 1e3))
return {1, string.format('%.6f', full - now)}
"""


@dataclass(frozen=True)
class Rate:
    """``requests`` at once, and as many again in ``seconds``."""

    requests: int
    seconds: float = MINUTE

    @property
    def step(self) -> float:
        """Seconds in which one request is refilled."""
        return self.seconds / self.requests


@dataclass(frozen=True)
class Standing:
    """How a bucket stands after it was asked.

    Attributes:
        admitted: the request may go on.
        remaining: requests that may follow at once.
        full_seconds: until the bucket is full again, if nobody asks.
        retry_seconds: until the next request may come; 0 when it may come at once.
    """

    admitted: bool
    remaining: int
    full_seconds: float
    retry_seconds: float


class Buckets(Protocol):
    """One bucket a name, all of one rate."""

    rate: Rate

    def take(self, name: str) -> Standing:
        """Take one request out of a bucket, if it holds one."""


def standing(rate: Rate, *, admitted: bool, ahead: float) -> Standing:
    """Return how a bucket stands that will be full ``ahead`` seconds from now."""
    left = rate.seconds - ahead
    return Standing(
        admitted=admitted,
        remaining=max(0, math.floor(left / rate.step + 1e-3)),
        full_seconds=ahead,
        retry_seconds=max(0.0, rate.step - left),
    )


class OwnBuckets:
    """Buckets in this process."""

    def __init__(self, rate: Rate, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._full_at: dict[str, float] = {}
        self._guard = threading.Lock()

    def take(self, name: str) -> Standing:
        """Take one request out of a bucket, if it holds one."""
        with self._guard:
            now = self._clock()
            full = max(self._full_at.get(name, now), now) + self.rate.step
            if full - now > self.rate.seconds + self.rate.step / 1e3:
                return standing(self.rate, admitted=False, ahead=full - self.rate.step - now)
            self._full_at[name] = full
            if len(self._full_at) > MOST_KEPT:  # a full bucket is as good as none
                self._full_at = {each: at for each, at in self._full_at.items() if at > now}
            return standing(self.rate, admitted=True, ahead=full - now)


class SharedBuckets:
    """Buckets in Redis, by its clock. While it does not answer, each process counts for itself.

    Limits protect the platform; they must not stop it.
    """

    def __init__(self, rate: Rate, *, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._own = OwnBuckets(rate, clock=clock)
        self._clock = clock
        self._away_until = 0.0
        client = redis.Redis.from_url(
            url,
            socket_timeout=REDIS_SECONDS,
            socket_connect_timeout=REDIS_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._take = client.register_script(TAKE)

    def take(self, name: str) -> Standing:
        """Take one request out of a bucket, if it holds one."""
        if self._clock() >= self._away_until:
            try:
                admitted, ahead = self._take(
                    keys=[f"spindle:rate:{name}"], args=[self.rate.step, self.rate.seconds]
                )
                return standing(self.rate, admitted=bool(admitted), ahead=float(ahead))
            except redis.RedisError as error:
                self._away_until = self._clock() + PAUSE_SECONDS
                log.warning("rates_counted_alone", error=str(error), seconds=PAUSE_SECONDS)
        return self._own.take(name)


def buckets_for(settings: Settings) -> Buckets | None:
    """Return the buckets of the platform's keys; None when any number of requests is allowed."""
    if settings.requests_per_minute == 0:
        return None
    rate = Rate(settings.requests_per_minute)
    if settings.broker_url.startswith("redis"):
        return SharedBuckets(rate, url=settings.broker_url)
    return OwnBuckets(rate)
