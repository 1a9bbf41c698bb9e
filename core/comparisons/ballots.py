"""Ballots: which two pictures are shown next and on which side, and what the voter says.

Whoever draws or casts a ballot locks the comparison's row first, so that votes spread evenly and a ballot
counts once, whoever else does the same at that moment.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations
from typing import NamedTuple

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from core.clock import database_now, utcnow
from core.comparisons.records import get_comparison, lock
from core.errors import Conflict, NotFound
from core.ids import new_id
from core.models import Ballot, Choice, Comparison, ComparisonPicture, ComparisonState, PictureState
from core.paging import Page, page
from core.runs.lifecycle import QUIETLY

GOOD_SECONDS = 1800.0
FORGET_SECONDS = 24 * 3600.0
CHANCE = random.SystemRandom()
ITEM = (Ballot.prompt, Ballot.seed, Ballot.first, Ballot.second)


class Item(NamedTuple):
    """What can be asked: two models, the lower place first, on one prompt and seed."""

    prompt: int
    seed: int
    first: int
    second: int


@dataclass(frozen=True)
class Drawn:
    """A ballot, or None when nothing is left to ask; and how many are left for this voter, with it."""

    ballot: Ballot | None
    remaining: int


def items_of(session: Session, comparison: Comparison) -> tuple[list[Item], list[Item]]:
    """Return what can be asked now, and what need not be because both pictures show the same."""
    rows = select(ComparisonPicture.model, ComparisonPicture.prompt, ComparisonPicture.pixels).where(
        ComparisonPicture.comparison_id == comparison.id, ComparisonPicture.state == PictureState.drawn
    )
    shown: dict[int, list[tuple[int, list[str]]]] = {}
    for model, prompt, pixels in session.execute(rows.order_by(ComparisonPicture.model)):
        shown.setdefault(prompt, []).append((model, pixels or []))
    different: list[Item] = []
    same: list[Item] = []
    for prompt, drawn in sorted(shown.items()):
        for (first, ours), (second, theirs) in combinations(drawn, 2):
            for seed, mine, other in zip(comparison.prompts[prompt]["seeds"], ours, theirs, strict=True):
                (same if mine == other else different).append(Item(prompt, seed, first, second))
    return different, same


def draw_ballot(
    session: Session,
    *,
    project_id: str,
    comparison_id: str,
    voter: str,
    chance: random.Random = CHANCE,
    now: datetime | None = None,
) -> Drawn:
    """Put the next question to a voter: what has the fewest votes, and is not his already.

    Of what has as few, it is of the models that have the fewest, then of the prompt that has, then by lot.
    Ballots of others that are still good count as votes. One that the voter has open is put again when
    nothing else is left.

    Raises:
        Conflict: nothing is drawn yet, or nothing could be.
    """
    comparison = lock(session, project_id=project_id, comparison_id=comparison_id)
    different, _ = items_of(session, comparison)
    if not different and comparison.state is not ComparisonState.ready:
        raise _not_ready(comparison)
    counts = (Ballot.comparison_id == comparison.id) & (
        Ballot.choice.is_not(None) | (Ballot.expires_at > database_now(now=now))
    )
    own = select(*ITEM, Ballot.choice).where(counts, Ballot.voter == voter)
    mine = {Item(*item): choice for *item, choice in session.execute(own)}
    left = [each for each in different if mine.get(each) is None]
    fresh = [each for each in left if each not in mine]
    if not fresh:
        return Drawn(_again(session, comparison.id, voter, now) if left else None, len(left))
    item = _least(fresh, _times(session, counts), chance)
    ballot = Ballot(
        id=new_id("bal-"),
        comparison_id=comparison.id,
        prompt=item.prompt,
        seed=item.seed,
        first=item.first,
        second=item.second,
        swapped=chance.random() < 0.5,
        voter=voter,
        expires_at=(now or utcnow()) + timedelta(seconds=GOOD_SECONDS),
    )
    session.add(ballot)
    session.flush()
    return Drawn(ballot, len(left))


def _times(session: Session, counts: ColumnElement[bool]) -> Counter[Item]:
    """Return how often each item was asked."""
    rows = session.execute(select(*ITEM, func.count()).where(counts).group_by(*ITEM))
    return Counter({Item(*item): count for *item, count in rows})


def _least(items: Sequence[Item], times: Counter[Item], chance: random.Random) -> Item:
    """Return one of the items that were asked least."""
    of_models: Counter[tuple[int, int]] = Counter()
    of_prompt: Counter[int] = Counter()
    for item, count in times.items():
        of_models[item[2:]] += count
        of_prompt[item[0]] += count
    asked = [(times[each], of_models[each[2:]], of_prompt[each[0]]) for each in items]
    least = min(asked)
    return chance.choice([each for each, how in zip(items, asked, strict=True) if how == least])


def _again(session: Session, comparison_id: str, voter: str, now: datetime | None) -> Ballot:
    """Put a voter's oldest open ballot again."""
    mine = select(Ballot).where(
        Ballot.comparison_id == comparison_id,
        Ballot.voter == voter,
        Ballot.choice.is_(None),
        Ballot.expires_at > database_now(now=now),
    )
    oldest = session.scalars(mine.order_by(Ballot.expires_at, Ballot.id).limit(1)).one()
    oldest.expires_at = (now or utcnow()) + timedelta(seconds=GOOD_SECONDS)
    session.flush()
    return oldest


def remaining(session: Session, comparison: Comparison, *, voter: str) -> int:
    """Count what is left for a voter."""
    different, _ = items_of(session, comparison)
    cast = select(func.count()).where(
        Ballot.comparison_id == comparison.id, Ballot.voter == voter, Ballot.choice.is_not(None)
    )
    return len(different) - (session.scalar(cast) or 0)


def cast_vote(
    session: Session,
    *,
    project_id: str,
    comparison_id: str,
    ballot_id: str,
    choice: Choice,
    voter: str | None = None,
    now: datetime | None = None,
) -> Ballot:
    """Write what a voter says. A ballot counts once, and a voter once for the same pictures.

    Args:
        session: an open transaction.
        project_id: whose comparison it is.
        comparison_id: which.
        ballot_id: what was asked.
        choice: what is said.
        voter: who says it; None: whom the ballot was drawn for.
        now: what the time is taken to be, in place of the database's clock.

    Raises:
        NotFound: there is no such ballot.
        Conflict: it was cast already, has expired, or the voter has voted on these pictures.
    """
    comparison = lock(session, project_id=project_id, comparison_id=comparison_id)
    ballot = get_ballot(session, project_id=project_id, comparison_id=comparison_id, ballot_id=ballot_id)
    if ballot.choice is not None:
        raise Conflict(f"{ballot_id} was cast already; take the next ballot", code="ballot_cast")
    moment = now or session.scalars(select(database_now())).one()
    if ballot.expires_at <= moment:
        raise Conflict(f"{ballot_id} has expired; take the next ballot", code="ballot_expired")
    who = ballot.voter if voter is None else voter
    if _has_voted(session, ballot, who):
        raise Conflict(f"{who} has voted on these pictures; take the next ballot", code="already_voted")
    ballot.voter = who
    ballot.choice = choice
    ballot.winner = None if choice is Choice.tie else sides(ballot)[choice is Choice.right]
    ballot.vote_id = new_id("vote-")
    ballot.voted_at = moment
    comparison.votes += 1
    session.flush()
    return ballot


def take_back(
    session: Session, *, project_id: str, comparison_id: str, voter: str, now: datetime | None = None
) -> tuple[str, Ballot]:
    """Undo a voter's last vote; return its id and the ballot, which is open again, the sides as they were.

    Raises:
        NotFound: the voter has no vote here.
    """
    comparison = lock(session, project_id=project_id, comparison_id=comparison_id)
    last = session.scalars(
        select(Ballot)
        .where(Ballot.comparison_id == comparison_id, Ballot.voter == voter, Ballot.choice.is_not(None))
        .order_by(Ballot.vote_id.desc())
        .limit(1)
    ).first()
    if last is None or last.vote_id is None:
        raise NotFound(f"{voter} has no vote in {comparison_id}", param="voter", code="vote_not_found")
    vote_id = last.vote_id
    last.choice = last.winner = last.vote_id = last.voted_at = None
    last.expires_at = (now or utcnow()) + timedelta(seconds=GOOD_SECONDS)
    comparison.votes -= 1
    session.flush()
    return vote_id, last


def get_ballot(session: Session, *, project_id: str, comparison_id: str, ballot_id: str) -> Ballot:
    """Return a ballot of a comparison of the project, as it is now."""
    get_comparison(session, project_id=project_id, comparison_id=comparison_id)
    ballot = session.scalar(
        select(Ballot)
        .where(Ballot.id == ballot_id, Ballot.comparison_id == comparison_id)
        .execution_options(populate_existing=True)
    )
    if ballot is None:
        raise NotFound(f"there is no ballot {ballot_id}", param="ballot", code="ballot_not_found")
    return ballot


def list_votes(
    session: Session, *, project_id: str, comparison_id: str, after: str | None, limit: int
) -> Page[Ballot]:
    """Return the votes of a comparison, the last cast first."""
    get_comparison(session, project_id=project_id, comparison_id=comparison_id)
    cast = select(Ballot).where(Ballot.comparison_id == comparison_id, Ballot.choice.is_not(None))
    return page(session, cast, by=Ballot.vote_id, after=after, limit=limit)


def sides(ballot: Ballot) -> tuple[int, int]:
    """Return which models stand left and right. It is for the results, never for who votes."""
    return (ballot.second, ballot.first) if ballot.swapped else (ballot.first, ballot.second)


def picture_of(session: Session, ballot: Ballot, side: Choice) -> str:
    """Return the key of the picture on one side of a ballot."""
    row = session.get_one(
        ComparisonPicture, (ballot.comparison_id, sides(ballot)[side is Choice.right], ballot.prompt)
    )
    comparison = session.get_one(Comparison, ballot.comparison_id)
    assert row.files is not None, "what is on a ballot is drawn"
    place = comparison.prompts[ballot.prompt]["seeds"].index(ballot.seed)
    return str(row.files[place]["key"])


def sweep(session: Session, *, now: datetime | None = None) -> int:
    """Forget ballots that expired a day ago or earlier without a vote; return how many."""
    old = delete(Ballot).where(
        Ballot.choice.is_(None), Ballot.expires_at < database_now(plus=-FORGET_SECONDS, now=now)
    )
    return len(session.execute(old.returning(Ballot.id).execution_options(**QUIETLY)).all())


def _has_voted(session: Session, ballot: Ballot, voter: str) -> bool:
    cast = select(Ballot.id).where(
        Ballot.comparison_id == ballot.comparison_id,
        Ballot.voter == voter,
        Ballot.prompt == ballot.prompt,
        Ballot.seed == ballot.seed,
        Ballot.first == ballot.first,
        Ballot.second == ballot.second,
        Ballot.choice.is_not(None),
    )
    return session.scalar(cast.limit(1)) is not None


def _not_ready(comparison: Comparison) -> Conflict:
    if comparison.state is ComparisonState.failed:
        why = (comparison.failure or {}).get("message", "its pictures could not be drawn")
        return Conflict(f"{comparison.id} has no pair to vote on: {why}", code="comparison_failed")
    return Conflict(
        f"{comparison.id} is being drawn: its first pair is still to come; ask again in a moment",
        code="comparison_drawing",
    )
