"""How far voters agree who were asked the same. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Agreement:
    """Of ``pairs`` of pictures that several people voted on, with ``votes`` in all.

    ``rate`` is the share of two votes on one pair that are the same. ``alpha`` is Krippendorff's: 1 where all
    agree, 0 where they agree as often as chance would, None where all votes are the same, whatever the pair.
    """

    pairs: int
    votes: int
    rate: float
    alpha: float | None


def agreement(asked: Sequence[Sequence[float]]) -> Agreement | None:
    """Return how far voters agree; None where no pair has two votes.

    alpha = 1 - observed / expected disagreement, that of two votes being the square of their difference
    (Krippendorff 2011, for interval data): a tie is halfway between left and right.

    Args:
        asked: the votes on each pair: 1, 0.5 and 0 for the first, a tie, and the second.
    """
    several = [votes for votes in asked if len(votes) > 1]
    if not several:
        return None
    count = sum(len(votes) for votes in several)
    same = twos = 0.0
    observed = 0.0
    for votes in several:
        times = Counter(votes)
        same += sum(many * (many - 1) / 2 for many in times.values())
        twos += len(votes) * (len(votes) - 1) / 2
        observed += _disagreement(times) / (len(votes) - 1)
    expected = _disagreement(Counter(vote for votes in several for vote in votes)) / (count - 1)
    return Agreement(len(several), count, same / twos, 1 - observed / expected if expected else None)


def _disagreement(times: Counter[float]) -> float:
    """Return the sum over each two votes, both ways round, of the square of their difference."""
    return sum(
        many * others * (value - other) ** 2
        for value, many in times.items()
        for other, others in times.items()
    )
