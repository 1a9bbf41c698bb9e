"""What is told of ballots and votes. What a voter is told names no model."""

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import BaseModel, Field

from api.schemas import Timestamp
from core.comparisons.ballots import Drawn, sides
from core.models import Ballot, Choice, Comparison


class SideObject(BaseModel):
    """One of the two pictures."""

    url: str = Field(description="An address of this API, for keys and sessions that may vote.")


class BallotObject(BaseModel):
    """Two pictures of one prompt and seed. Which model drew which is told to nobody who votes.

    With nothing left to ask, ``id`` and the pictures are null.
    """

    id: str | None
    object: Literal["comparison.ballot"] = "comparison.ballot"
    comparison: str
    prompt: str | None
    left: SideObject | None
    right: SideObject | None
    voter: str
    expires: Timestamp | None
    remaining: int = Field(description="Pairs of pictures that are left for this voter, this one included.")

    @classmethod
    def of(cls, comparison: Comparison, drawn: Drawn, *, voter: str) -> Self:
        """Render what is asked."""
        ballot = drawn.ballot
        if ballot is None:
            return cls(
                id=None,
                comparison=comparison.id,
                prompt=None,
                left=None,
                right=None,
                voter=voter,
                expires=None,
                remaining=drawn.remaining,
            )
        at = f"/v1/comparisons/{comparison.id}/ballots/{ballot.id}"
        return cls(
            id=ballot.id,
            comparison=comparison.id,
            prompt=comparison.prompts[ballot.prompt]["prompt"],
            left=SideObject(url=f"{at}/left"),
            right=SideObject(url=f"{at}/right"),
            voter=ballot.voter,
            expires=ballot.expires_at,
            remaining=drawn.remaining,
        )


class CastObject(BaseModel):
    """A vote as its voter is told of it: without the models."""

    id: str
    object: Literal["comparison.vote"] = "comparison.vote"
    comparison: str
    ballot: str
    choice: Choice
    voter: str
    created: Timestamp

    @classmethod
    def of(cls, ballot: Ballot) -> Self:
        """Render a ballot that was cast."""
        assert ballot.vote_id is not None
        assert ballot.choice is not None
        assert ballot.voted_at is not None
        return cls(
            id=ballot.vote_id,
            comparison=ballot.comparison_id,
            ballot=ballot.id,
            choice=ballot.choice,
            voter=ballot.voter,
            created=ballot.voted_at,
        )


class VoteObject(CastObject):
    """A vote with what it was about."""

    prompt: str
    seed: int
    left: str = Field(description="The model whose picture was on the left.")
    right: str
    winner: str | None = Field(description="Null for a tie.")

    @classmethod
    def told(cls, ballot: Ballot, comparison: Comparison, models: Sequence[str]) -> Self:
        """Render a ballot that was cast, with its models."""
        left, right = sides(ballot)
        return cls(
            **dict(CastObject.of(ballot)),
            prompt=comparison.prompts[ballot.prompt]["prompt"],
            seed=ballot.seed,
            left=models[left],
            right=models[right],
            winner=None if ballot.winner is None else models[ballot.winner],
        )


class UndoneObject(BaseModel):
    """A vote that was taken back, and its ballot, which is open again with the sides as they were."""

    id: str
    object: Literal["comparison.vote.undone"] = "comparison.vote.undone"
    ballot: BallotObject
