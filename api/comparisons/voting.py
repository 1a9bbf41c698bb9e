"""Voting: a ballot, its two pictures, what the voter says of them, and taking that back."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from sqlalchemy.orm import Session

from api.comparisons.ballots import BallotObject, CastObject, UndoneObject, VoteObject
from api.comparisons.schemas import BallotCreate, VoteCreate
from api.deps import ArtistDep, CallerDep, OnceDep, Platform, PlatformDep, SessionDep
from api.schemas import Listed, ListQuery, page_of
from core.comparisons import ballots, records
from core.comparisons.ballots import Drawn
from core.comparisons.pixels import bare
from core.db import transaction
from core.errors import NotFound
from core.keys import Caller
from core.models import Choice

router = APIRouter(prefix="/comparisons/{comparison_id}", tags=["comparisons"])

PNG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
}
SEEN_SECONDS = 3600


@router.post("/ballots", response_model=BallotObject)
def draw_ballot(
    comparison_id: str,
    session: SessionDep,
    who: ArtistDep,
    once: OnceDep,
    body: BallotCreate | None = None,
) -> JSONResponse:
    """Put the next question to a voter: what has the fewest votes, the sides drawn by lot.

    With nothing left for this voter the ballot's `id` and pictures are null.
    """
    voter = _voter(who, None if body is None else body.voter)
    return once(session, lambda: _drawn(session, who, comparison_id, voter))


def _drawn(session: Session, who: Caller, comparison_id: str, voter: str) -> BallotObject:
    drawn = ballots.draw_ballot(session, project_id=who.project_id, comparison_id=comparison_id, voter=voter)
    comparison = records.get_comparison(session, project_id=who.project_id, comparison_id=comparison_id)
    return BallotObject.of(comparison, drawn, voter=voter)


def _voter(who: Caller, given: str | None) -> str:
    return who.key_id if given is None else given


@router.get("/ballots/{ballot_id}/left", response_class=Response, responses=PNG)
def left(comparison_id: str, ballot_id: str, parts: PlatformDep, who: ArtistDep) -> Response:
    """Return the left picture of a ballot: its pixels, and nothing that tells who drew it."""
    return _picture(parts, who, comparison_id, ballot_id, Choice.left)


@router.get("/ballots/{ballot_id}/right", response_class=Response, responses=PNG)
def right(comparison_id: str, ballot_id: str, parts: PlatformDep, who: ArtistDep) -> Response:
    """Return the right picture of a ballot: its pixels, and nothing that tells who drew it."""
    return _picture(parts, who, comparison_id, ballot_id, Choice.right)


def _picture(parts: Platform, who: Caller, comparison_id: str, ballot_id: str, side: Choice) -> Response:
    with transaction(parts.database) as session:
        ballot = ballots.get_ballot(
            session, project_id=who.project_id, comparison_id=comparison_id, ballot_id=ballot_id
        )
        key = ballots.picture_of(session, ballot, side)
    try:
        with parts.store.open(key) as stream:
            png = bare(stream.read())
    except FileNotFoundError as error:
        raise NotFound(f"the picture of {ballot_id} is gone", code="picture_gone") from error
    return Response(
        png,
        media_type="image/png",
        headers={
            "Cache-Control": f"private, max-age={SEEN_SECONDS}",
            "X-Content-Type-Options": "nosniff",
        },
    )


@router.post("/votes", response_model=CastObject)
def vote(
    comparison_id: str, body: VoteCreate, session: SessionDep, who: ArtistDep, once: OnceDep
) -> JSONResponse:
    """Say which picture of a ballot is better. A ballot counts once."""
    return once(
        session,
        lambda: CastObject.of(
            ballots.cast_vote(
                session,
                project_id=who.project_id,
                comparison_id=comparison_id,
                ballot_id=body.ballot,
                choice=body.choice,
                voter=body.voter,
            )
        ),
    )


@router.get("/votes", response_model=Listed[VoteObject])
def list_votes(comparison_id: str, session: SessionDep, who: CallerDep, query: ListQuery) -> object:
    """List the votes of a comparison with the models they were about, the last cast first."""
    page = ballots.list_votes(
        session,
        project_id=who.project_id,
        comparison_id=comparison_id,
        after=query.after,
        limit=query.limit,
    )
    comparison = records.get_comparison(session, project_id=who.project_id, comparison_id=comparison_id)
    models = [each.model_id for each in records.models_of(session, [comparison_id])[comparison_id]]
    data = [VoteObject.told(ballot, comparison, models) for ballot in page.items]
    return page_of(data, has_more=page.has_more)


@router.post("/votes/undo", response_model=UndoneObject)
def undo(
    comparison_id: str,
    session: SessionDep,
    who: ArtistDep,
    once: OnceDep,
    body: BallotCreate | None = None,
) -> JSONResponse:
    """Take a voter's last vote back; its ballot is open again. Once more takes back the one before."""
    voter = _voter(who, None if body is None else body.voter)
    return once(session, lambda: _undone(session, who, comparison_id, voter))


def _undone(session: Session, who: Caller, comparison_id: str, voter: str) -> UndoneObject:
    vote_id, ballot = ballots.take_back(
        session, project_id=who.project_id, comparison_id=comparison_id, voter=voter
    )
    comparison = records.get_comparison(session, project_id=who.project_id, comparison_id=comparison_id)
    left_for = ballots.remaining(session, comparison, voter=voter)
    return UndoneObject(id=vote_id, ballot=BallotObject.of(comparison, Drawn(ballot, left_for), voter=voter))
