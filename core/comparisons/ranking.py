"""Several models in one order: strengths by Bradley and Terry's model, with intervals. Pure Python."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.comparisons.rates import Tally, t_quantile

PRIOR = 0.5
STEPS = 100
CLOSE = 1e-10

Pair = tuple[int, int]
Matrix = list[list[float]]


@dataclass(frozen=True)
class Rank:
    """A model's strength in log-odds, 0 being the mean, with its 95% interval.

    ``share`` is how often it is expected to win against one of the others, taken at random. ``low`` and
    ``high`` are None where votes are on fewer than two prompts.
    """

    model: int
    strength: float
    low: float | None
    high: float | None
    share: float
    votes: int


def ranking(models: int, by_prompt: Sequence[Mapping[Pair, Tally]]) -> list[Rank]:
    """Return the models, the strongest first.

    P(i wins against j) = 1 / (1 + exp(s_j - s_i)) (Bradley and Terry 1952), a tie being half a win for each.
    Every two models begin with half a tie, so that one that always wins has a finite strength, and one
    without votes stands in the middle. The variance of a strength is the larger one of the model's own and
    of the one between prompts (the cluster-robust one of Liang and Zeger 1986); its interval is Student's.

    Args:
        models: how many there are.
        by_prompt: for each prompt the votes between two models, each pair the lower one first.
    """
    total: dict[Pair, Tally] = {}
    for own in by_prompt:
        for pair, tally in own.items():
            total[pair] = total.get(pair, Tally()) + tally
    pairs = [(one, other) for one in range(models) for other in range(one + 1, models)]
    votes = {pair: total.get(pair, Tally()).votes + PRIOR for pair in pairs}
    scores = {pair: total.get(pair, Tally()).score + PRIOR / 2 for pair in pairs}
    strengths = _fitted(models, scores, votes)
    errors = _errors(strengths, votes, by_prompt)
    found = []
    for model, strength in enumerate(strengths):
        half = None if errors is None else errors[model]
        others = [strengths[each] for each in range(models) if each != model]
        found.append(
            Rank(
                model=model,
                strength=strength,
                low=None if half is None else strength - half,
                high=None if half is None else strength + half,
                share=sum(_chance(strength - other) for other in others) / len(others),
                votes=sum(tally.votes for pair, tally in total.items() if model in pair),
            )
        )
    return sorted(found, key=lambda rank: (-rank.strength, rank.model))


def _chance(difference: float) -> float:
    return 1 / (1 + math.exp(-difference))


def _fitted(models: int, scores: Mapping[Pair, float], votes: Mapping[Pair, float]) -> list[float]:
    """Return the strengths of the greatest likelihood: Newton's steps, shortened where they overshoot."""
    strengths = [0.0] * models
    height = _likelihood(strengths, scores, votes)
    for _ in range(STEPS):
        slope = _slope(strengths, scores, votes)
        step = solved(_information(strengths, votes, grounded=True), [[each] for each in slope])
        length = 1.0
        while True:
            tried = [at + length * by[0] for at, by in zip(strengths, step, strict=True)]
            reached = _likelihood(tried, scores, votes)
            if reached >= height or length < CLOSE:
                break
            length /= 2
        moved = max(abs(new - old) for new, old in zip(tried, strengths, strict=True))
        strengths, height = tried, reached
        if moved < CLOSE:
            break
    mean = sum(strengths) / models
    return [each - mean for each in strengths]


def _likelihood(
    strengths: Sequence[float], scores: Mapping[Pair, float], votes: Mapping[Pair, float]
) -> float:
    total = 0.0
    for (one, other), count in votes.items():
        difference, won = strengths[one] - strengths[other], scores[one, other]
        total -= won * math.log1p(math.exp(-difference)) + (count - won) * math.log1p(math.exp(difference))
    return total


def _slope(
    strengths: Sequence[float], scores: Mapping[Pair, float], votes: Mapping[Pair, float]
) -> list[float]:
    slope = [0.0] * len(strengths)
    for (one, other), count in votes.items():
        more = scores[one, other] - count * _chance(strengths[one] - strengths[other])
        slope[one] += more
        slope[other] -= more
    return slope


def _information(strengths: Sequence[float], votes: Mapping[Pair, float], *, grounded: bool) -> Matrix:
    """Return the information matrix; ``grounded`` holds the mean, which no vote tells of, in place."""
    models = len(strengths)
    matrix = [[1 / models if grounded else 0.0] * models for _ in range(models)]
    for (one, other), count in votes.items():
        chance = _chance(strengths[one] - strengths[other])
        weight = count * chance * (1 - chance)
        matrix[one][one] += weight
        matrix[other][other] += weight
        matrix[one][other] -= weight
        matrix[other][one] -= weight
    return matrix


def _errors(
    strengths: Sequence[float], votes: Mapping[Pair, float], by_prompt: Sequence[Mapping[Pair, Tally]]
) -> list[float] | None:
    """Return half of each strength's interval; None where votes are on fewer than two prompts."""
    voted = [own for own in by_prompt if any(tally.votes for tally in own.values())]
    models, prompts = len(strengths), len(voted)
    if prompts < 2:
        return None
    unit = [[float(row == column) for column in range(models)] for row in range(models)]
    inverse = solved(_information(strengths, votes, grounded=True), unit)
    own = [[inverse[row][column] - 1 / models for column in range(models)] for row in range(models)]
    between = [0.0] * models
    for each in voted:
        counts = {pair: float(tally.votes) for pair, tally in each.items()}
        slope = _slope(strengths, {pair: tally.score for pair, tally in each.items()}, counts)
        for row in range(models):
            moved = sum(own[row][column] * slope[column] for column in range(models))
            between[row] += prompts / (prompts - 1) * moved**2
    wide = t_quantile(prompts - 1)
    return [wide * math.sqrt(max(own[row][row], between[row])) for row in range(models)]


def solved(matrix: Matrix, right: Matrix) -> Matrix:
    """Return X of A X = B, by elimination with pivots; A is small and can be inverted."""
    size = len(matrix)
    rows = [list(matrix[row]) + list(right[row]) for row in range(size)]
    for column in range(size):
        pivot = max(range(column, size), key=lambda row: abs(rows[row][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for row in range(size):
            if row != column and rows[row][column]:
                factor = rows[row][column] / rows[column][column]
                rows[row] = [a - factor * b for a, b in zip(rows[row], rows[column], strict=True)]
    return [[value / rows[row][row] for value in rows[row][size:]] for row in range(size)]
