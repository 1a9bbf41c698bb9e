"""One picture a job."""

from core.db import Database, transaction
from core.models import Sample
from core.runs.thumbnails import thumbnails
from tests.core.runs.making import make_job, ready_dataset


def test_a_job_is_shown_by_the_first_prompt_of_its_last_iteration(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    with transaction(database) as session:
        for iteration in (-1, 2, 1):
            for index in (0, 1):
                key = f"{iteration}/{index}"
                session.add(
                    Sample(job_id=job_id, iteration=iteration, index=index, prompt="a fox", seed=7, key=key)
                )
        session.flush()
        assert thumbnails(session, [job_id, "ftjob-nothing"]) == {job_id: "2/0"}
        assert thumbnails(session, []) == {}
