"""Fair shares: the pure number, and that no project starves however units come and go."""

import heapq
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.runs.shares import HALF_LIFE_SECONDS, NEVER_SERVED, served


def test_the_share_is_the_logarithm_of_what_was_used_at_the_start() -> None:
    assert served(None, seconds=8.0, at=0.0) == 3.0
    assert served(3.0, seconds=8.0, at=0.0) == 4.0
    assert served(None, seconds=8.0, at=HALF_LIFE_SECONDS) == 4.0  # fresh service counts double


def test_what_took_no_time_counts_a_second() -> None:
    assert served(None, seconds=0.0, at=0.0) == 0.0


@given(
    now=st.floats(0, 4e9),
    used=st.lists(st.tuples(st.floats(1, 1e6), st.floats(0, 1e6)), min_size=1, max_size=20),
)
def test_service_adds_and_fades(now: float, used: list[tuple[float, float]]) -> None:
    """The stored number is the sum of what was used, each faded by its age: at any time, in any order."""
    share = None
    for seconds, ago in used:
        share = served(share, seconds=seconds, at=now - ago)
    assert share is not None
    faded = sum(seconds * 2.0 ** (-ago / HALF_LIFE_SECONDS) for seconds, ago in used)
    assert 2.0 ** (share - now / HALF_LIFE_SECONDS) == pytest.approx(faded, rel=1e-6)


@dataclass
class Project:
    """One project of the simulation: how long each of its endless units takes."""

    seconds: float
    running: int = 0
    share: float | None = None
    used: float = 0.0
    claims: list[float] = field(default_factory=list)


def simulate(projects: list[Project], *, workers: int, until: float) -> None:
    """Let workers claim as the claim's ORDER BY does: fewest running, least served."""
    free_at = [(0.0, number, None) for number in range(workers)]
    heap: list[tuple[float, int, Project | None]] = list(free_at)
    while heap[0][0] < until:
        now, number, done = heapq.heappop(heap)
        if done is not None:
            done.running -= 1
            done.used += done.seconds
            done.share = served(done.share, seconds=done.seconds, at=now)
        chosen = min(
            enumerate(projects),
            key=lambda pair: (
                pair[1].running,
                NEVER_SERVED if pair[1].share is None else pair[1].share,
                pair[0],
            ),
        )[1]
        chosen.running += 1
        chosen.claims.append(now)
        heapq.heappush(heap, (now + chosen.seconds, number, chosen))


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.floats(1, 600), min_size=2, max_size=6), workers=st.integers(1, 8))
def test_no_project_with_work_starves(lengths: list[float], workers: int) -> None:
    """Between two claims of a project the others have at most as much as it takes to overtake it."""
    projects = [Project(seconds) for seconds in lengths]
    until = 40 * sum(lengths)
    simulate(projects, workers=workers, until=until)
    # A project without a running unit is overtaken only by such as were served less: while it waits, each of
    # the others catches up with it once, and may have just begun.
    longest = sum(lengths) + 2 * len(lengths) * max(lengths)
    for project in projects:
        claims = [0.0, *project.claims, until]
        assert max(later - earlier for earlier, later in pairwise(claims)) <= longest


def test_one_worker_gives_projects_the_same_time_and_not_the_same_number() -> None:
    short, long = Project(10.0), Project(100.0)
    simulate([short, long], workers=1, until=20_000.0)
    assert 0.8 < short.used / long.used < 1.25
    assert len(short.claims) > 7 * len(long.claims)


def test_a_newcomer_waits_for_nobody_and_is_no_more_than_a_half_life_ahead() -> None:
    old, new = Project(60.0), Project(60.0)
    simulate([old], workers=1, until=100 * HALF_LIFE_SECONDS)
    start = old.claims[-1]
    old.running = 0
    old.claims.clear()
    shares = [old.share, None]
    clock, waited = start, 0.0
    while old.share == shares[0]:
        new_share = served(new.share, seconds=60.0, at=clock + 60.0)
        assert old.share is not None
        if new.share is not None and new.share > old.share:
            break
        new.share, clock, waited = new_share, clock + 60.0, waited + 60.0
    assert HALF_LIFE_SECONDS * 0.9 < waited < HALF_LIFE_SECONDS * 1.1
