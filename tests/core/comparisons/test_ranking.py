"""The order of several models: known values, models that always win, and coverage by simulation."""

import math
import random

import pytest

from core.comparisons.ranking import Pair, ranking, solved
from core.comparisons.rates import Tally


def test_two_models_have_the_log_odds_of_their_votes() -> None:
    """With the half tie that every two begin with: (30 + 1/4) to (10 + 1/4)."""
    first, second = ranking(2, [{(0, 1): Tally(wins=3, losses=1)}] * 10)
    assert (first.model, second.model) == (0, 1)
    assert first.strength - second.strength == pytest.approx(math.log(30.25 / 10.25))
    assert first.strength == pytest.approx(-second.strength)
    assert first.share == pytest.approx(30.25 / 40.5)
    assert first.votes == 40


def test_votes_that_fit_give_back_the_strengths_they_were_made_from() -> None:
    true = [0.8, 0.1, -0.9]
    votes: dict[Pair, Tally] = {}
    for one, other in ((0, 1), (0, 2), (1, 2)):
        wins = round(1_000_000 / (1 + math.exp(true[other] - true[one])))
        votes[one, other] = Tally(wins=wins, losses=1_000_000 - wins)
    found = ranking(3, [votes, votes])
    assert [each.model for each in found] == [0, 1, 2]
    assert [each.strength for each in found] == pytest.approx(true, abs=1e-4)


def test_a_model_that_always_wins_is_finite_and_one_without_votes_is_in_the_middle() -> None:
    best, unknown, worst = ranking(3, [{(0, 2): Tally(wins=1)}] * 30)
    assert (best.model, unknown.model, worst.model) == (0, 1, 2)
    assert 0 < best.strength < 10
    assert (unknown.strength, unknown.votes) == (pytest.approx(0.0, abs=1e-9), 0)
    assert unknown.high is not None
    assert best.low is not None
    assert unknown.high - unknown.strength > best.strength - best.low  # nothing is known of it


def test_votes_that_go_in_a_circle_leave_all_equal() -> None:
    circle = {(0, 1): Tally(wins=2), (1, 2): Tally(wins=2), (0, 2): Tally(losses=2)}
    assert [each.strength for each in ranking(3, [circle] * 5)] == pytest.approx([0.0, 0.0, 0.0], abs=1e-9)


def test_one_prompt_has_an_order_and_no_interval() -> None:
    first, *_ = ranking(3, [{(0, 1): Tally(wins=5), (0, 2): Tally(wins=5)}])
    assert (first.model, first.low, first.high) == (0, None, None)


def test_nobody_voted() -> None:
    found = ranking(4, [])
    assert [(each.model, each.strength, each.low) for each in found] == [(n, 0.0, None) for n in range(4)]


def rates(chance: random.Random) -> dict[Pair, float]:
    """Return how often each model wins against another on one prompt, which suits one more than others."""
    suits = [each + chance.gauss(0, 0.5) for each in (0.6, 0.0, -0.6)]
    return {
        (one, other): 1 / (1 + math.exp(suits[other] - suits[one])) for one, other in ((0, 1), (0, 2), (1, 2))
    }


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """40 prompts, three models, four votes a pair; 150 comparisons. The truth is that of 20,000 prompts."""
    chance, held = random.Random(5), 0
    many = [rates(chance) for _ in range(20_000)]
    sums = {pair: sum(round(100 * own[pair]) for own in many) for pair in many[0]}
    all_votes = {pair: Tally(wins=wins, losses=2_000_000 - wins) for pair, wins in sums.items()}
    true = {each.model: each.strength for each in ranking(3, [all_votes])}
    for _ in range(150):
        by_prompt: list[dict[Pair, Tally]] = []
        for own in (rates(chance) for _ in range(40)):
            wins = {pair: sum(chance.random() < rate for _ in range(4)) for pair, rate in own.items()}
            by_prompt.append({pair: Tally(wins=won, losses=4 - won) for pair, won in wins.items()})
        for each in ranking(3, by_prompt):
            assert each.low is not None
            assert each.high is not None
            held += each.low <= true[each.model] <= each.high
    assert 0.93 <= held / 450 <= 0.99


def test_elimination_solves() -> None:
    assert solved([[0.0, 2.0], [4.0, 1.0]], [[6.0], [11.0]]) == [[2.0], [3.0]]
