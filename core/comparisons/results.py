"""What the votes of a comparison say."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.comparisons.agreement import Agreement, agreement
from core.comparisons.ballots import Item, items_of
from core.comparisons.ranking import Pair, Rank, ranking
from core.comparisons.rates import Tally, WinRate, win_rate
from core.models import Ballot, Comparison

Votes = dict[Item, Tally]


@dataclass(frozen=True)
class Contest:
    """One model against another, seen from ``model``; both are places.

    ``asked`` counts what could be voted on, ``same`` what both draw alike to the last pixel: nobody is asked
    about it, and it is in no rate.
    """

    model: int
    other: int
    rate: WinRate
    asked: int
    same: int


@dataclass(frozen=True)
class Results:
    """The contests of every two models, the later one first seen from; and all that follows from them.

    ``ranking`` is empty for two models, whom one rate orders. ``by_prompt`` has the votes on each prompt that
    has any, by pairs, the lower place first.
    """

    contests: list[Contest]
    ranking: list[Rank]
    agreement: Agreement | None
    by_prompt: dict[int, dict[Pair, Tally]]


def votes_of(session: Session, comparison: Comparison) -> Votes:
    """Return the votes on each item that has any, seen from its first model."""
    columns = (Ballot.prompt, Ballot.seed, Ballot.first, Ballot.second, Ballot.winner)
    cast = select(*columns, func.count()).where(
        Ballot.comparison_id == comparison.id, Ballot.choice.is_not(None)
    )
    found: Votes = defaultdict(Tally)
    for prompt, seed, first, second, winner, count in session.execute(cast.group_by(*columns)):
        item = Item(prompt, seed, first, second)
        ties, wins = (count, 0) if winner is None else (0, count if winner == first else 0)
        found[item] += Tally(wins, count - ties - wins, ties)
    return dict(found)


def results(session: Session, comparison: Comparison, *, models: int) -> Results:
    """Return what the votes say: of each two models, of all of them in order, and of how far voters agree.

    Args:
        session: an open transaction.
        comparison: which.
        models: how many stand in it.
    """
    votes = votes_of(session, comparison)
    different, same = items_of(session, comparison)
    by_prompt: dict[int, dict[Pair, Tally]] = defaultdict(lambda: defaultdict(Tally))
    for item, tally in votes.items():
        by_prompt[item.prompt][item.first, item.second] += tally
    prompts = {prompt: dict(by_prompt[prompt]) for prompt in sorted(by_prompt)}
    asked, alike = (Counter((each.first, each.second) for each in items) for items in (different, same))
    contests = [
        Contest(
            model=second,
            other=first,
            rate=win_rate([own.get((first, second), Tally()).reversed() for own in prompts.values()]),
            asked=asked[first, second],
            same=alike[first, second],
        )
        for first, second in combinations(range(models), 2)
    ]
    ranked = ranking(models, list(prompts.values())) if models > 2 else []
    return Results(contests, ranked, agreement([_scores(tally) for tally in votes.values()]), prompts)


def _scores(tally: Tally) -> list[float]:
    return [1.0] * tally.wins + [0.5] * tally.ties + [0.0] * tally.losses


def decided(votes: Mapping[Item, Tally], *, agreed: float = 0.5) -> list[tuple[Item, int, int]]:
    """Return what has a winner: the item, the model that won and the one that lost.

    A winner has more votes than the other, and of all votes, a tie counting half, at least the share
    ``agreed``.
    """
    found = []
    for item, tally in sorted(votes.items()):
        rate = tally.rate
        if rate is not None and rate > 0.5 and rate >= agreed:
            found.append((item, item.first, item.second))
        elif rate is not None and rate < 0.5 and 1 - rate >= agreed:
            found.append((item, item.second, item.first))
    return found
