"""What votes say, counted by the database: rates by prompt and pair, the order, agreement, winners."""

from core.comparisons.ballots import Item
from core.comparisons.rates import Tally
from core.comparisons.results import Results, decided, results
from core.db import Database, transaction
from core.models import Choice, Comparison
from core.settings import Settings
from tests.comparing import png
from tests.core.comparisons.making import asked, cast, drawn, prefer


def told_of(database: Database, comparison_id: str, *, models: int = 2) -> Results:
    with transaction(database) as session:
        return results(session, session.get_one(Comparison, comparison_id), models=models)


def test_votes_are_counted_by_prompt_and_seen_from_the_later_model(
    database: Database, settings: Settings
) -> None:
    comparison_id = drawn(database, settings, prompts=3, seeds=(0, 1))
    for voter, winner in (("ada", 1), ("bob", 1), ("eve", 0)):
        for _ in range(6):
            prefer(database, comparison_id, winner, voter=voter)
    told = told_of(database, comparison_id)
    [contest] = told.contests
    assert (contest.model, contest.other, contest.asked, contest.same) == (1, 0, 6, 0)
    assert contest.rate.tally == Tally(wins=12, losses=6)
    assert (contest.rate.rate, contest.rate.prompts) == (2 / 3, 3)
    assert told.by_prompt == {place: {(0, 1): Tally(wins=2, losses=4)} for place in range(3)}
    assert told.ranking == []
    assert told.agreement is not None
    assert (told.agreement.pairs, told.agreement.votes, told.agreement.rate) == (6, 18, 1 / 3)


def test_three_models_are_put_in_order(database: Database, settings: Settings) -> None:
    comparison_id = drawn(database, settings, count=3, prompts=4)
    for _ in range(12):
        ballot = asked(database, comparison_id)
        first_is_left = not ballot.swapped
        cast(database, comparison_id, ballot, Choice.right if first_is_left else Choice.left)
    told = told_of(database, comparison_id, models=3)
    assert [each.model for each in told.ranking] == [2, 1, 0]
    assert [(each.model, each.other, each.rate.rate) for each in told.contests] == [
        (1, 0, 1.0),
        (2, 0, 1.0),
        (2, 1, 1.0),
    ]
    assert told.agreement is None


def test_pairs_that_show_the_same_are_told_and_in_no_rate(database: Database, settings: Settings) -> None:
    comparison_id = drawn(database, settings, prompts=2, paint=lambda drawing, _: png("x", text=drawing.id))
    [contest] = told_of(database, comparison_id).contests
    assert (contest.asked, contest.same, contest.rate.rate, contest.rate.note) == (0, 2, None, "no_votes")


def test_a_winner_has_more_votes_and_as_many_as_are_asked_for() -> None:
    votes = {
        Item(0, 0, 0, 1): Tally(wins=2, losses=1),
        Item(1, 0, 0, 1): Tally(losses=3, ties=1),
        Item(2, 0, 0, 1): Tally(wins=1, losses=1, ties=5),
        Item(3, 0, 0, 1): Tally(ties=2),
        Item(4, 0, 0, 2): Tally(wins=1),
    }
    assert [(item.prompt, won, lost) for item, won, lost in decided(votes)] == [
        (0, 0, 1),
        (1, 1, 0),
        (4, 0, 2),
    ]
    assert [item.prompt for item, *_ in decided(votes, agreed=0.8)] == [1, 4]
    assert [item.prompt for item, *_ in decided(votes, agreed=1.0)] == [4]
