"""Ballots on both databases: spread evenly, sides by lot, cast once whoever else does, and taken back."""

import threading
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from core.clock import utcnow
from core.comparisons import ballots
from core.db import Database, transaction
from core.errors import Conflict, NotFound
from core.models import Ballot, Choice
from core.settings import Settings
from tests.comparing import png
from tests.core.comparisons.making import ask, asked, cast, drawn, make, models, prefer, row
from tests.core.runs.making import PROJECT, snapshot


def times(database: Database, *columns: object) -> Counter[tuple[int, ...]]:
    with transaction(database) as session:
        rows = session.execute(select(*columns, func.count()).group_by(*columns))  # type: ignore[call-overload]
        return Counter({tuple(each[:-1]): each[-1] for each in rows})


def test_votes_spread_evenly_over_pairs_prompts_and_seeds(database: Database, settings: Settings) -> None:
    comparison_id = drawn(database, settings, count=3, prompts=4, seeds=(0, 1))
    for number in range(36):  # 24 items: one vote each, and half of them a second one
        prefer(database, comparison_id, 0, voter=f"voter {number % 2}")
        of_items = times(database, Ballot.prompt, Ballot.seed, Ballot.first, Ballot.second)
        of_pairs = times(database, Ballot.first, Ballot.second)
        of_prompts = times(database, Ballot.prompt)
        assert max(of_items.values()) - (min(of_items.values()) if len(of_items) == 24 else 0) <= 1
        assert max(of_pairs.values()) - (min(of_pairs.values()) if len(of_pairs) == 3 else 0) <= 2
        assert max(of_prompts.values()) - (min(of_prompts.values()) if len(of_prompts) == 4 else 0) <= 2
    assert row(database, comparison_id).votes == 36


def test_sides_are_drawn_by_lot(database: Database, settings: Settings) -> None:
    comparison_id = drawn(database, settings, prompts=1)
    swapped = [asked(database, comparison_id, voter=f"v{n}", seed=n).swapped for n in range(60)]
    assert 15 < sum(swapped) < 45
    again = asked(database, comparison_id, voter="v0")
    assert again.swapped is swapped[0]  # kept, however often it is put


def test_a_voter_is_asked_everything_once(database: Database, settings: Settings) -> None:
    comparison_id = drawn(database, settings, prompts=3)
    left = []
    for _ in range(3):
        given = ask(database, comparison_id)
        assert given.ballot is not None
        cast(database, comparison_id, given.ballot)
        left.append(given.remaining)
    assert left == [3, 2, 1]
    over = ask(database, comparison_id)
    assert (over.ballot, over.remaining) == (None, 0)
    assert ask(database, comparison_id, voter="bob").remaining == 3


def test_an_open_ballot_is_put_again_only_when_nothing_else_is_left(
    database: Database, settings: Settings
) -> None:
    comparison_id = drawn(database, settings, prompts=2)
    first, second = asked(database, comparison_id), asked(database, comparison_id)
    assert first.prompt != second.prompt
    third = ask(database, comparison_id)
    assert third.ballot is not None
    assert (third.ballot.id, third.remaining) == (first.id, 2)


def test_what_shows_the_same_is_never_asked(database: Database, settings: Settings) -> None:
    """The bytes differ, for each file says who drew it; the pixels of prompt 0 do not."""
    comparison_id = drawn(
        database,
        settings,
        prompts=2,
        paint=lambda drawing, _: png(
            drawing.request["prompt"] if drawing.request["prompt"] == "prompt 0" else drawing.model_id,
            text=drawing.model_id,
        ),
    )
    only = ask(database, comparison_id)
    assert only.ballot is not None
    assert (only.ballot.prompt, only.remaining) == (1, 1)
    cast(database, comparison_id, only.ballot)
    assert ask(database, comparison_id).ballot is None


def test_of_many_who_cast_one_ballot_one_is_counted(database: Database, settings: Settings) -> None:
    comparison_id = drawn(database, settings, prompts=1)
    ballot = asked(database, comparison_id)
    start, told = threading.Barrier(6), list[str]()

    def vote(choice: Choice) -> None:
        start.wait()
        try:
            cast(database, comparison_id, ballot, choice)
            told.append("cast")
        except Conflict as error:
            told.append(str(error.code))

    threads = [threading.Thread(target=vote, args=(choice,)) for choice in (*Choice, *Choice)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(told) == {"cast": 1, "ballot_cast": 5}
    assert row(database, comparison_id).votes == 1


def test_of_many_who_ask_each_gets_something_else(database: Database, settings: Settings) -> None:
    comparison_id = drawn(database, settings, prompts=6)
    start, found = threading.Barrier(6), list[int]()

    def draw(number: int) -> None:
        start.wait()
        found.append(asked(database, comparison_id, voter=f"voter {number}").prompt)

    threads = [threading.Thread(target=draw, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, 1, 2, 3, 4, 5]


def test_a_ballot_expires_and_makes_room_for_others(database: Database, settings: Settings) -> None:
    comparison_id = drawn(database, settings, prompts=1)
    late = utcnow() + timedelta(seconds=ballots.GOOD_SECONDS + 1)
    old = asked(database, comparison_id)
    with pytest.raises(Conflict) as refused:
        cast(database, comparison_id, old, now=late)
    assert refused.value.code == "ballot_expired"
    fresh = asked(database, comparison_id, now=late)
    assert fresh.id != old.id
    cast(database, comparison_id, fresh, now=late)
    with transaction(database) as session:
        assert ballots.sweep(session, now=late) == 0
        assert ballots.sweep(session, now=late + timedelta(days=1)) == 1
        assert session.scalars(select(Ballot.id)).all() == [fresh.id]


def test_a_voter_counts_once_for_the_same_pictures_under_whatever_ballot(
    database: Database, settings: Settings
) -> None:
    comparison_id = drawn(database, settings, prompts=1)
    hers, his = asked(database, comparison_id, voter="ada"), asked(database, comparison_id, voter="bob")
    cast(database, comparison_id, his, voter="ada")
    before = snapshot(database)
    for ballot, voter in ((hers, None), (hers, "ada")):
        with pytest.raises(Conflict) as refused:
            cast(database, comparison_id, ballot, voter=voter)
        assert refused.value.code == "already_voted"
    after = snapshot(database)
    assert after == before
    assert cast(database, comparison_id, hers, voter="eve").voter == "eve"


def test_the_last_vote_is_taken_back_and_then_the_one_before(database: Database, settings: Settings) -> None:
    comparison_id = drawn(database, settings, prompts=3)
    mine = [prefer(database, comparison_id, 0) for _ in range(2)]
    prefer(database, comparison_id, 1, voter="bob")
    for vote in reversed(mine):
        with transaction(database) as session:
            undone, ballot = ballots.take_back(
                session, project_id=PROJECT, comparison_id=comparison_id, voter="ada"
            )
        assert (undone, ballot.id, ballot.choice, ballot.swapped) == (
            vote.vote_id,
            vote.id,
            None,
            vote.swapped,
        )
    assert row(database, comparison_id).votes == 1
    with transaction(database) as session, pytest.raises(NotFound):
        ballots.take_back(session, project_id=PROJECT, comparison_id=comparison_id, voter="ada")
    recast = cast(database, comparison_id, mine[0], Choice.tie)
    assert (recast.winner, recast.choice) == (None, Choice.tie)


def test_before_anything_is_drawn_there_is_nothing_to_ask(database: Database) -> None:
    comparison_id = make(database, models(database, 2))
    with pytest.raises(Conflict) as refused:
        ask(database, comparison_id)
    assert refused.value.code == "comparison_drawing"


def test_another_projects_comparison_does_not_exist(database: Database, settings: Settings) -> None:
    comparison_id = drawn(database, settings, prompts=1)
    ballot = asked(database, comparison_id)
    before = snapshot(database)
    with transaction(database) as session, pytest.raises(NotFound):
        ballots.draw_ballot(session, project_id="proj-default", comparison_id=comparison_id, voter="eve")
    with transaction(database) as session, pytest.raises(NotFound):
        ballots.cast_vote(
            session,
            project_id="proj-default",
            comparison_id=comparison_id,
            ballot_id=ballot.id,
            choice=Choice.left,
        )
    assert snapshot(database) == before
