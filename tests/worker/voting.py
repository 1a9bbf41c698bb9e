"""Comparisons through real workers: drawn by the serving worker, taken in by the beat, voted on."""

import io
import tarfile

from core.comparisons import ballots, iterations, pairs, records
from core.comparisons.records import Plan, Question
from core.db import transaction
from core.keys import DEFAULT_PROJECT
from core.models import Choice, Comparison, ComparisonState, DatasetState
from tests.worker.platform import Platform


def compared(made: Platform, job_id: str, iteration: int, questions: list[Question]) -> str:
    """Return a comparison of an iteration with the one before it that is drawn."""
    with transaction(made.database) as session:
        found = iterations.round_of(session, project_id=DEFAULT_PROJECT, job_id=job_id, iteration=iteration)
        plan = Plan(found.contenders, questions, found.sitting, job_id=job_id, iteration=iteration)
        comparison_id = records.create_comparison(session, project_id=DEFAULT_PROJECT, plan=plan).id

    def is_over() -> bool:
        with transaction(made.database) as session:
            return session.get_one(Comparison, comparison_id).state is not ComparisonState.drawing

    made.until(is_over)
    with transaction(made.database) as session:
        row = session.get_one(Comparison, comparison_id)
        assert (row.state, row.drawn, row.failed) == (ComparisonState.ready, row.total, 0), row.failure
    return comparison_id


def vote_for_the_later(made: Platform, comparison_id: str) -> None:
    """Vote for the second model wherever it stands, until nothing is left to ask."""
    asked = {"project_id": DEFAULT_PROJECT, "comparison_id": comparison_id}
    while True:
        with transaction(made.database) as session:
            ballot = ballots.draw_ballot(session, voter="ada", **asked).ballot
            if ballot is None:
                return
            choice = Choice.left if ballot.swapped else Choice.right
            ballots.cast_vote(session, ballot_id=ballot.id, choice=choice, **asked)


def dataset_of(made: Platform, comparison_id: str) -> str:
    """Make a dataset of the votes and then delete the comparison: what the dataset needs, it has."""
    asked = {"project_id": DEFAULT_PROJECT, "comparison_id": comparison_id}
    with transaction(made.database) as session:
        dataset_id = pairs.create_dataset(session, name="preferred", **asked).id
    made.until(lambda: made.dataset(dataset_id).state is not DatasetState.validating)
    with transaction(made.database) as session:
        records.delete_comparison(session, **asked)
    return dataset_id


def files_of(made: Platform, dataset_id: str) -> dict[str, bytes]:
    """Return the files of a dataset's one shard."""
    [shard] = made.dataset(dataset_id).shards or []
    with made.store.open(shard["key"]) as stream, tarfile.open(fileobj=io.BytesIO(stream.read())) as tar:
        opened = {member.name: tar.extractfile(member) for member in tar}
        return {name: each.read() for name, each in opened.items() if each is not None}
