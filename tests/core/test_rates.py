"""Buckets: so many at once, refilled steadily; shared through Redis, and without it each for itself."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import rates
from core.rates import OwnBuckets, Rate, SharedBuckets, Standing, buckets_for
from core.settings import Settings

DEAD = "redis://127.0.0.1:9/0"


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def test_a_bucket_empties_and_refills() -> None:
    clock = Clock()
    buckets = OwnBuckets(Rate(3, 60.0), clock=clock)
    assert [buckets.take("k").remaining for _ in range(3)] == [2, 1, 0]
    assert buckets.take("k") == Standing(admitted=False, remaining=0, full_seconds=60.0, retry_seconds=20.0)
    clock.now += 19.0
    assert not buckets.take("k").admitted
    clock.now += 1.0
    assert buckets.take("k") == Standing(admitted=True, remaining=0, full_seconds=60.0, retry_seconds=20.0)
    clock.now += 3600.0
    assert buckets.take("k") == Standing(admitted=True, remaining=2, full_seconds=20.0, retry_seconds=0.0)


def test_names_do_not_share() -> None:
    buckets = OwnBuckets(Rate(1))
    assert [buckets.take(name).admitted for name in ("a", "a", "b")] == [True, False, True]


@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 20))
def test_never_more_than_the_burst_and_what_was_refilled(pauses: list[float], requests: int) -> None:
    clock = Clock()
    buckets = OwnBuckets(Rate(requests, 60.0), clock=clock)
    began, admitted = clock.now, 0
    for pause in pauses:
        clock.now += pause
        admitted += buckets.take("k").admitted
    assert admitted <= requests + (clock.now - began) * requests / 60.0 + 0.01
    if len(pauses) <= requests:
        assert admitted == len(pauses)


def test_many_names_do_not_stay() -> None:
    clock = Clock()
    buckets = OwnBuckets(Rate(10), clock=clock)
    for number in range(10_000):
        buckets.take(str(number))
    clock.now += 3600.0
    buckets.take("one more")
    assert len(buckets._full_at) == 1


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy Redis take its time: nobody counts alone."""
    monkeypatch.setattr(rates, "REDIS_SECONDS", 30.0)


@pytest.mark.usefixtures("patient")
def test_processes_share_a_bucket_in_redis(redis_url: str) -> None:
    one, two = (SharedBuckets(Rate(4, 3600.0), url=redis_url) for _ in range(2))
    assert [buckets.take("shared").remaining for buckets in (one, two, one, two)] == [3, 2, 1, 0]
    refused = one.take("shared")
    assert (refused.admitted, refused.remaining) == (False, 0)
    assert 800 < refused.retry_seconds <= 900
    assert 3500 < refused.full_seconds <= 3600
    assert two.take("another").admitted


@pytest.mark.usefixtures("patient")
def test_at_once_no_more_pass_than_there_are(redis_url: str) -> None:
    admitted: list[bool] = []

    def ask() -> None:
        buckets = SharedBuckets(Rate(5, 3600.0), url=redis_url)
        admitted.extend(buckets.take("at once").admitted for _ in range(3))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert admitted.count(True) == 5


def test_without_redis_each_counts_alone_and_looks_again_later() -> None:
    clock = Clock()
    buckets = SharedBuckets(Rate(2), url=DEAD, clock=clock)
    assert [buckets.take("k").admitted for _ in range(3)] == [True, True, False]
    assert buckets._away_until == clock.now + 10.0


def test_the_queue_says_where_buckets_are(tmp_path: object) -> None:
    def chosen(**told: object) -> object:
        return buckets_for(Settings.model_validate({"state": tmp_path} | told))

    assert isinstance(chosen(), OwnBuckets)
    assert isinstance(chosen(broker_url=DEAD), SharedBuckets)
    assert chosen(requests_per_minute=0) is None
