"""Win rates: known values, what is degenerate, and by simulation that intervals hold what they say."""

import random

import pytest

from core.comparisons.rates import Tally, Z, sign_test, t_quantile, wilson, win_rate

# Of Student's t at 97.5%, from the tables; three parts in a thousand is what is promised.
QUANTILES = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 9: 2.2622, 29: 2.0452, 199: 1.9720}


@pytest.mark.parametrize(("freedom", "known"), QUANTILES.items())
def test_quantiles_are_those_of_the_tables(freedom: int, known: float) -> None:
    assert t_quantile(freedom) == pytest.approx(known, rel=3e-3)


@pytest.mark.parametrize(
    ("wins", "votes", "low", "high"),
    # Newcombe 1998, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_is_the_published_one(wins: int, votes: int, low: float, high: float) -> None:
    assert wilson(wins / votes, votes) == pytest.approx((low, high), abs=5e-5)


def test_votes_on_prompts_of_their_own_are_independent() -> None:
    found = win_rate([Tally(wins=1)] * 140 + [Tally(losses=1)] * 60)
    assert found.rate == 0.7
    assert found.effective == pytest.approx(200 * (Z / t_quantile(199)) ** 2, rel=0.006)
    assert (found.low, found.high) == pytest.approx(wilson(0.7, 200), abs=1e-3)
    assert (found.prompts, found.note) == (200, None)


def test_votes_that_only_repeat_their_prompt_are_worth_the_prompts() -> None:
    """Ten voters who all say the same of each prompt know no more of the models than one."""
    one = win_rate([Tally(wins=1)] * 14 + [Tally(losses=1)] * 6)
    ten = win_rate([Tally(wins=10)] * 14 + [Tally(losses=10)] * 6)
    assert ten.tally.votes == 200
    assert (ten.rate, ten.low, ten.high) == pytest.approx((one.rate, one.low, one.high))
    assert ten.p_value == one.p_value


def test_a_tie_counts_half() -> None:
    found = win_rate([Tally(wins=1, ties=2)] * 6 + [Tally(losses=1, ties=2)] * 6)
    assert (found.rate, found.tally.ties) == (0.5, 24)
    assert found.rate == pytest.approx((found.low + found.high) / 2)  # type: ignore[operator]  # there are votes


@pytest.mark.parametrize(
    ("by_prompt", "note"),
    [
        ([], "no_votes"),
        ([Tally()] * 3, "no_votes"),
        ([Tally(wins=9, losses=3)], "one_prompt"),
        ([Tally(wins=2)] * 30, "one_sided"),
        ([Tally(ties=2)] * 30, "one_sided"),
        ([Tally(wins=2, losses=1)] * 9, "few_prompts"),
        ([Tally(wins=2, losses=1)] * 10, None),
    ],
)
def test_what_says_less_than_it_seems_to_is_told(by_prompt: list[Tally], note: str | None) -> None:
    assert win_rate(by_prompt).note == note


def test_without_votes_there_is_no_rate() -> None:
    found = win_rate([Tally()])
    assert (found.rate, found.low, found.high, found.p_value) == (None, None, None, None)


def test_of_one_prompt_nothing_is_known_of_others() -> None:
    found = win_rate([Tally(wins=1000)])
    assert (found.low, found.high) == pytest.approx(wilson(1.0, 1.0))
    assert found.p_value == 1.0


def test_all_wins_are_not_certainty() -> None:
    found = win_rate([Tally(wins=5)] * 20)
    assert (found.rate, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(wilson(1.0, 20 * (Z / t_quantile(19)) ** 2)[0])


@pytest.mark.parametrize(
    ("ours", "theirs", "undecided", "p_value"),
    # 2 P(X <= 2 | 10, 1/2) = 112 / 1024; 2 / 2^8; and what cannot be significant.
    [(8, 2, 0, 0.109375), (0, 8, 5, 0.0078125), (1, 0, 0, 1.0), (3, 3, 0, 1.0), (0, 0, 4, 1.0)],
)
def test_the_sign_test_counts_prompts(ours: int, theirs: int, undecided: int, p_value: float) -> None:
    tallies = [Tally(wins=3, losses=1)] * ours + [Tally(wins=1, losses=2)] * theirs
    assert sign_test([*tallies, *[Tally(wins=1, losses=1)] * undecided]) == p_value


@pytest.mark.parametrize(
    ("prompts", "votes", "rate", "strength"),
    [(12, 4, 0.6, 4.0), (40, 3, 0.75, 2.0), (40, 1, 0.5, 2.0), (80, 2, 0.9, 3.0)],
)
def test_intervals_hold_the_truth_as_often_as_they_say(
    prompts: int, votes: int, rate: float, strength: float
) -> None:
    """Prompts whose own rates are drawn from a beta distribution around the true one; 300 comparisons."""
    chance = random.Random(7)
    held = 0
    for _ in range(300):
        tallies = []
        for _ in range(prompts):
            own = chance.betavariate(rate * strength, (1 - rate) * strength)
            wins = sum(chance.random() < own for _ in range(votes))
            tallies.append(Tally(wins=wins, losses=votes - wins))
        found = win_rate(tallies)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= rate <= found.high
    assert 0.93 <= held / 300 <= 0.99


def test_an_interval_that_took_votes_for_independent_would_not() -> None:
    """The reason for all this: of 20 prompts with ten votes each, it holds the truth two times in three."""
    chance = random.Random(3)
    held = 0
    for _ in range(200):
        wins = sum(
            sum(chance.random() < own for _ in range(10))
            for own in (chance.betavariate(0.6, 0.4) for _ in range(20))
        )
        low, high = wilson(wins / 200, 200)
        held += low <= 0.6 <= high
    assert held / 200 < 0.75
