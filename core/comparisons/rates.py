"""How often one model's picture is preferred to another's, and how sure that is. Pure, and without numpy.

Votes on one prompt are not independent: a prompt that suits one model suits it at every seed and for every
voter. So prompts are what was sampled, and votes only tell about them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

CONFIDENCE = 0.95
FEW_PROMPTS = 10
Z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)

Note = Literal["no_votes", "one_prompt", "one_sided", "few_prompts"]
"""Why an interval says less than it seems to: nobody voted; all votes are on one prompt, so that nothing is
known of others; every vote says the same; there are fewer than ``FEW_PROMPTS`` prompts."""


@dataclass(frozen=True)
class Tally:
    """Votes between two models, seen from one of them."""

    wins: int = 0
    losses: int = 0
    ties: int = 0

    @property
    def votes(self) -> int:
        """How many there are."""
        return self.wins + self.losses + self.ties

    @property
    def score(self) -> float:
        """The wins, a tie counting half."""
        return self.wins + self.ties / 2

    @property
    def rate(self) -> float | None:
        """The share of wins, a tie counting half; None without votes."""
        return self.score / self.votes if self.votes else None

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.wins + other.wins, self.losses + other.losses, self.ties + other.ties)

    def reversed(self) -> "Tally":
        """Return the same votes seen from the other model."""
        return Tally(self.losses, self.wins, self.ties)


@dataclass(frozen=True)
class WinRate:
    """A share of wins with its 95% interval; None without votes.

    ``prompts`` have votes; ``effective`` is how many independent votes these are worth; ``p_value`` is of the
    sign test over prompts.
    """

    tally: Tally
    rate: float | None
    low: float | None
    high: float | None
    p_value: float | None
    prompts: int
    effective: float
    note: Note | None


def win_rate(by_prompt: Sequence[Tally]) -> WinRate:
    """Return the rate over all votes, with an interval that knows which votes share a prompt.

    It is Wilson's interval for as many independent votes as these are worth: p (1 - p) over the variance of
    the rate between prompts, at most the votes there are, times (z / t)^2 for having estimated that variance
    from few prompts (Korn and Graubard 1998, with Wilson's interval as in Franco et al. 2019). Where every
    vote says the same, that variance is not known, and a prompt counts as one vote.

    Args:
        by_prompt: the votes on each prompt; those without any are left out.
    """
    voted = [tally for tally in by_prompt if tally.votes]
    total = sum(voted, Tally())
    rate = total.rate
    if rate is None:
        return WinRate(total, None, None, None, None, 0, 0.0, "no_votes")
    effective = _effective(voted, rate)
    low, high = wilson(rate, effective)
    note = _note(total, len(voted))
    return WinRate(total, rate, low, high, sign_test(voted), len(voted), effective, note)


def _effective(voted: Sequence[Tally], rate: float) -> float:
    """Return how many independent votes those on these prompts are worth."""
    clusters, votes = len(voted), sum(tally.votes for tally in voted)
    if clusters == 1:
        return 1.0
    spread = rate * (1 - rate)
    between = sum((tally.score - rate * tally.votes) ** 2 for tally in voted)
    variance = clusters / (clusters - 1) * between / votes**2
    if spread == 0:
        worth = float(clusters)
    elif variance == 0:
        worth = float(votes)
    else:
        worth = min(float(votes), spread / variance)
    return worth * (Z / t_quantile(clusters - 1)) ** 2


def _note(total: Tally, prompts: int) -> Note | None:
    if prompts == 1:
        return "one_prompt"
    if total.votes in (total.wins, total.losses, total.ties):
        return "one_sided"
    return "few_prompts" if prompts < FEW_PROMPTS else None


def wilson(rate: float, votes: float) -> tuple[float, float]:
    """Return Wilson's 95% interval (1927) of a share of so many independent votes, a fraction too."""
    shrunk = Z**2 / votes
    centre = (rate + shrunk / 2) / (1 + shrunk)
    half = math.sqrt(rate * (1 - rate) * shrunk + shrunk**2 / 4) / (1 + shrunk)
    return max(0.0, centre - half), min(1.0, centre + half)


def sign_test(by_prompt: Sequence[Tally]) -> float:
    """Return the two-sided p-value for: a prompt is as likely to favour the one model as the other.

    Exact, by the binomial distribution. A prompt counts once, for whichever model has more votes on it, and
    not at all when neither has.
    """
    ours = sum(tally.wins > tally.losses for tally in by_prompt)
    theirs = sum(tally.wins < tally.losses for tally in by_prompt)
    decided = ours + theirs
    tail = sum(math.comb(decided, count) for count in range(min(ours, theirs) + 1))
    return min(1.0, float(2 * tail / 2**decided))


def t_quantile(freedom: int) -> float:
    """Return the 97.5% quantile of Student's t distribution, to three parts in a thousand.

    For one and two degrees of freedom it has a closed form; from three on it is the expansion around the
    normal quantile (Fisher and Cornish 1960).
    """
    upper = 0.5 + CONFIDENCE / 2
    if freedom == 1:
        return math.tan(math.pi * (upper - 0.5))
    if freedom == 2:
        return (2 * upper - 1) * math.sqrt(2 / (4 * upper * (1 - upper)))
    terms = (
        (Z**3 + Z) / 4,
        (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96,
        (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384,
        (79 * Z**9 + 776 * Z**7 + 1482 * Z**5 - 1920 * Z**3 - 945 * Z) / 92160,
    )
    return Z + sum(term / float(freedom) ** power for power, term in enumerate(terms, start=1))
