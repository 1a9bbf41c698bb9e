"""What the votes of a comparison say, and the pictures that they were about."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from api.deps import PlatformDep, SessionDep
from api.web.comparisons import called
from api.web.links import steady_url
from api.web.pages import VisitorDep, page
from core.comparisons import records
from core.comparisons.datasets import datasets_of
from core.comparisons.pictures import pictures_of
from core.comparisons.rates import Tally, WinRate, win_rate
from core.comparisons.results import Contest, Results, results
from core.models import Comparison, ComparisonModel, ComparisonState
from core.storage.store import ObjectStore

router = APIRouter(include_in_schema=False)

PROMPTS = 10
NOTES = {
    "no_votes": "Nobody has voted yet.",
    "one_prompt": "All votes are on one prompt: nothing is known of others, and the interval says so.",
    "one_sided": "Every vote says the same; a few more prompts would make this surer.",
    "few_prompts": "Fewer than ten prompts have votes: the interval is wide for that reason.",
}


@dataclass(frozen=True)
class Standing:
    """A model's part of all votes that it stood in, in the order of the ranking."""

    name: str
    model_id: str
    share: float | None
    low: float | None
    high: float | None
    votes: int


@dataclass(frozen=True)
class Cell:
    """How often the model of a row wins against the one of a column."""

    rate: float | None
    low: float | None
    high: float | None
    votes: int


@dataclass(frozen=True)
class Shot:
    """A picture under the name of who drew it."""

    name: str
    seed: int
    url: str


@dataclass(frozen=True)
class Round:
    """One prompt: its pictures, seed by seed, and its votes as ``(model, other, tally)``."""

    prompt: str
    shots: list[Shot]
    votes: list[tuple[str, str, Tally]]


@router.get("/comparisons/{comparison_id}")
def comparison(
    comparison_id: str,
    request: Request,
    session: SessionDep,
    parts: PlatformDep,
    who: VisitorDep,
    after: Annotated[int, Query(ge=-1, le=1000)] = -1,
) -> Response:
    """Show how far a comparison is drawn, what its votes say, and its pictures."""
    row = records.get_comparison(session, project_id=who.project_id, comparison_id=comparison_id)
    models = records.models_of(session, [row.id])[row.id]
    found = results(session, row, models=len(models))
    rounds, more = _rounds(session, row, models, found, parts.store, after + 1)
    return page(
        request,
        "comparisons/one.html",
        who=who,
        comparison=row,
        link=f"{parts.settings.public_url.rstrip('/')}/comparisons/{row.id}/vote",
        models=[(called(one), one.model_id) for one in models],
        drawing=row.state is ComparisonState.drawing,
        asked=sum(each.asked for each in found.contests),
        same=sum(each.same for each in found.contests),
        headline=_headline(found.contests[0]) if len(models) == 2 else None,
        standings=standings(models, found),
        matrix=matrix(len(models), found) if len(models) > 2 else None,
        agreement=found.agreement,
        note=_note(found),
        rounds=rounds,
        start=after + 1,
        next_after=after + PROMPTS if more else None,
        made=datasets_of(session, comparison=row),
    )


def standings(models: list[ComparisonModel], found: Results) -> list[Standing]:
    """Return the models with their share of wins, the best first; none without votes."""
    if len(models) == 2:
        rate = found.contests[0].rate
        if rate.rate is None or rate.low is None or rate.high is None:
            return []
        later, sooner = models[1], models[0]
        votes = rate.tally.votes
        both = [
            Standing(called(later), later.model_id, rate.rate, rate.low, rate.high, votes),
            Standing(called(sooner), sooner.model_id, 1 - rate.rate, 1 - rate.high, 1 - rate.low, votes),
        ]
        return both if rate.rate >= 0.5 else both[::-1]
    if not any(each.rate.tally.votes for each in found.contests):
        return []
    told = []
    for rank in found.ranking:
        rate = against_all(found, rank.model)
        one = models[rank.model]
        told.append(Standing(called(one), one.model_id, rate.rate, rate.low, rate.high, rate.tally.votes))
    return told


def against_all(found: Results, model: int) -> WinRate:
    """Return how often a model wins against whomever it met."""
    by_prompt = []
    for own in found.by_prompt.values():
        mine = Tally()
        for (first, second), tally in own.items():
            if model in (first, second):
                mine += tally if model == first else tally.reversed()
        by_prompt.append(mine)
    return win_rate(by_prompt)


def matrix(models: int, found: Results) -> list[list[Cell | None]]:
    """Return who wins how often against whom: a row a model, a column an opponent, nothing against itself."""
    cells: list[list[Cell | None]] = [[None] * models for _ in range(models)]
    for each in found.contests:
        rate, votes = each.rate, each.rate.tally.votes
        cells[each.model][each.other] = Cell(rate.rate, rate.low, rate.high, votes)
        cells[each.other][each.model] = Cell(
            rate=None if rate.rate is None else 1 - rate.rate,
            low=None if rate.high is None else 1 - rate.high,
            high=None if rate.low is None else 1 - rate.low,
            votes=votes,
        )
    return cells


def _headline(contest: Contest) -> str | None:
    """Return in a word what a contest of two says: sure, open, or nothing yet."""
    rate = contest.rate
    if rate.rate is None or rate.low is None or rate.high is None:
        return None
    return "sure" if rate.low > 0.5 or rate.high < 0.5 else "open"


def _note(found: Results) -> str | None:
    notes = {each.rate.note for each in found.contests} - {None}
    return next((text for name, text in NOTES.items() if name in notes and name != "no_votes"), None)


def _rounds(
    session: Session,
    row: Comparison,
    models: list[ComparisonModel],
    found: Results,
    store: ObjectStore,
    start: int,
) -> tuple[list[Round], bool]:
    shown = pictures_of(session, row, start=start, limit=PROMPTS)
    names = [called(one) for one in models]
    rounds = [
        Round(
            prompt=row.prompts[each.prompt]["prompt"],
            shots=[Shot(names[one.model], one.seed, steady_url(store, one.key)) for one in each.pictures],
            votes=[
                (names[second], names[first], tally.reversed())
                for (first, second), tally in sorted(found.by_prompt.get(each.prompt, {}).items())
            ],
        )
        for each in shown.items
    ]
    return rounds, shown.has_more
