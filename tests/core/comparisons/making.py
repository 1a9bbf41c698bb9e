"""Comparisons of base models without weights, drawn without an engine."""

import random
from typing import Any

from core.comparisons import ballots, records
from core.comparisons.ballots import Drawn
from core.comparisons.records import Contender, Plan, Question
from core.db import Database, transaction
from core.models import Ballot, Choice, Comparison, Model, ModelKind
from core.settings import Settings
from core.storage.store import store_for
from tests.comparing import Paint, draw_whole, paint
from tests.core.runs.making import PROJECT, ground


def models(database: Database, count: int) -> list[str]:
    """Make the ground and so many base models; return their names."""
    names = [f"model-{place}" for place in range(count)]
    with transaction(database) as session:
        ground(session)
        session.add_all(
            Model(id=name, kind=ModelKind.base, source=f"folder:/models/{name}", digest=name)
            for name in names
        )
    return names


def make(
    database: Database, names: list[str], *, prompts: int = 2, seeds: tuple[int, ...] = (0,), **more: Any
) -> str:
    """Make a comparison and return its id."""
    plan = Plan(
        contenders=[Contender(name) for name in names],
        questions=[Question(f"prompt {place}", seeds) for place in range(prompts)],
        **more,
    )
    with transaction(database) as session:
        return records.create_comparison(session, project_id=PROJECT, plan=plan).id


def drawn(
    database: Database,
    settings: Settings,
    *,
    count: int = 2,
    prompts: int = 2,
    seeds: tuple[int, ...] = (0,),
    paint: Paint = paint,
) -> str:
    """Make a comparison of so many models that is ready; return its id."""
    comparison_id = make(database, models(database, count), prompts=prompts, seeds=seeds)
    draw_whole(database, store_for(settings), comparison_id, paint=paint)
    return comparison_id


def row(database: Database, comparison_id: str) -> Comparison:
    """Return a comparison as it is."""
    with transaction(database) as session:
        return session.get_one(Comparison, comparison_id)


def ask(
    database: Database, comparison_id: str, *, voter: str = "ada", seed: int | None = None, **more: Any
) -> Drawn:
    """Draw a ballot; with a seed, by a chance that repeats."""
    chance = ballots.CHANCE if seed is None else random.Random(seed)
    with transaction(database) as session:
        return ballots.draw_ballot(
            session, project_id=PROJECT, comparison_id=comparison_id, voter=voter, chance=chance, **more
        )


def asked(database: Database, comparison_id: str, **more: Any) -> Ballot:
    """Draw a ballot, which must be there."""
    ballot = ask(database, comparison_id, **more).ballot
    assert ballot is not None, "nothing is left to ask"
    return ballot


def cast(
    database: Database, comparison_id: str, ballot: Ballot, choice: Choice = Choice.left, **more: Any
) -> Ballot:
    """Cast a ballot."""
    with transaction(database) as session:
        return ballots.cast_vote(
            session,
            project_id=PROJECT,
            comparison_id=comparison_id,
            ballot_id=ballot.id,
            choice=choice,
            **more,
        )


def prefer(database: Database, comparison_id: str, winner: int | None, **more: Any) -> Ballot:
    """Draw a ballot and vote for the model at a place, or for a tie where it is not on the ballot."""
    ballot = asked(database, comparison_id, **more)
    sides = ballots.sides(ballot)
    choice = Choice.tie
    if winner in sides:
        choice = Choice.left if sides[0] == winner else Choice.right
    return cast(database, comparison_id, ballot, choice)
