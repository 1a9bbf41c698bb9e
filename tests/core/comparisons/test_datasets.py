"""Which datasets came of a comparison's votes."""

from core.comparisons import pairs
from core.comparisons.datasets import datasets_of
from core.db import Database, transaction
from core.models import Comparison
from core.settings import Settings
from tests.core.comparisons.making import drawn, prefer
from tests.core.runs.making import PROJECT


def test_the_newest_dataset_of_the_votes_stands_first(database: Database, settings: Settings) -> None:
    comparison_id = drawn(database, settings)
    prefer(database, comparison_id, 0)
    with transaction(database) as session:
        comparison = session.get_one(Comparison, comparison_id)
        assert datasets_of(session, comparison=comparison) == []
        made = [
            pairs.create_dataset(session, project_id=PROJECT, comparison_id=comparison_id, name="preferred")
            for _ in range(2)
        ]
        found = datasets_of(session, comparison=comparison)
        assert [one.id for one in found] == [one.id for one in reversed(made)]
