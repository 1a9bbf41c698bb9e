"""What a comparison's page makes of its results: who stands where, and who wins against whom."""

import pytest

from api.web.comparisons_results import matrix, standings
from core.comparisons.ranking import ranking
from core.comparisons.rates import Tally, win_rate
from core.comparisons.results import Contest, Results
from core.models import ComparisonModel

NAMES = ("base", "iteration 1", "iteration 2")


def models(count: int) -> list[ComparisonModel]:
    return [ComparisonModel(position=n, model_id=f"m{n}", name=f"n{n}", label=NAMES[n]) for n in range(count)]


def results(count: int, by_prompt: dict[int, dict[tuple[int, int], Tally]]) -> Results:
    """Return what core would say of these votes, the lower place of each pair first."""
    pairs = [(one, other) for one in range(count) for other in range(one + 1, count)]
    contests = [
        Contest(
            model=other,
            other=one,
            rate=win_rate([own.get((one, other), Tally()).reversed() for own in by_prompt.values()]),
            asked=4,
            same=0,
        )
        for one, other in pairs
    ]
    ranked = ranking(count, list(by_prompt.values())) if count > 2 else []
    return Results(contests, ranked, None, by_prompt)


def test_of_two_models_the_better_one_stands_first_and_the_shares_make_one() -> None:
    found = results(2, {0: {(0, 1): Tally(wins=1, losses=3)}, 1: {(0, 1): Tally(wins=0, losses=4)}})
    first, second = standings(models(2), found)
    assert (first.name, second.name) == ("iteration 1", "base")
    assert (first.share, first.votes) == (0.875, 8)
    assert second.share == pytest.approx(0.125)
    assert first.low is not None
    assert second.high == pytest.approx(1 - first.low)


def test_nobody_stands_anywhere_without_votes() -> None:
    assert standings(models(2), results(2, {})) == []
    assert standings(models(3), results(3, {})) == []


def test_three_models_stand_in_the_order_of_their_ranking_with_their_own_shares() -> None:
    votes = {
        prompt: {(0, 1): Tally(0, 2), (0, 2): Tally(0, 2), (1, 2): Tally(1, 1)} for prompt in range(2)
    } | {2: {(1, 2): Tally(0, 2)}}
    told = standings(models(3), results(3, votes))
    assert [one.name for one in told] == ["iteration 2", "iteration 1", "base"]
    assert [one.share for one in told] == [0.8, 0.6, 0.0]
    assert [one.votes for one in told] == [10, 10, 8]


def test_the_matrix_says_the_same_from_both_sides() -> None:
    votes = {0: {(0, 1): Tally(3, 1)}, 1: {(0, 1): Tally(2, 2)}}
    cells = matrix(3, results(3, votes))
    assert [cells[place][place] for place in range(3)] == [None, None, None]
    ours, theirs = cells[0][1], cells[1][0]
    assert ours is not None
    assert theirs is not None
    assert (ours.rate, theirs.rate, ours.votes, theirs.votes) == (0.625, 0.375, 8, 8)
    assert ours.low is not None
    assert theirs.high == pytest.approx(1 - ours.low)
    unasked = cells[0][2]
    assert unasked is not None
    assert (unasked.rate, unasked.low, unasked.votes) == (None, None, 0)
