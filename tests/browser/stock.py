"""Models to look at: jobs that have ended, with previews that look like something."""

import io
from typing import Any

from core.db import transaction
from core.models import Sample
from tests.api.platform import Running
from tests.browser.drawer import picture, png

PROMPTS = ("birthday cake", "bell pepper", "beer mug", "beverage box")


def finished_job(site: Running, *, suffix: str, **more: Any) -> dict[str, Any]:
    """Return a job that has ended, with previews of its base and of each iteration."""
    job = site.job(suffix=suffix, **more)
    site.work()
    told = dict(site.client.get(f"/v1/fine_tuning/jobs/{job['id']}").json())
    with transaction(site.database) as session:
        for iteration in (-1, 1, 2):
            for index, prompt in enumerate(PROMPTS):
                model = "tiny" if iteration < 0 else f"{suffix}-{iteration}"
                data = png(picture(prompt, model=model, seed=index))
                key = f"samples/{job['id']}/{iteration}/{index}.png"
                site.store.put(key, io.BytesIO(data), len(data))
                session.merge(
                    Sample(
                        job_id=job["id"], iteration=iteration, index=index, prompt=prompt, seed=index, key=key
                    )
                )
    return told


def checkpoints_of(site: Running, job: dict[str, Any]) -> list[str]:
    """Return a job's checkpoints, the newest first."""
    listed = site.client.get(f"/v1/fine_tuning/jobs/{job['id']}/checkpoints").json()["data"]
    return [each["id"] for each in listed]


def register(site: Running, name: str, model: str, **more: Any) -> dict[str, Any]:
    """Make a model the next version of a name."""
    answer = site.client.post(f"/v1/registry/{name}/versions", json={"model": model, "create": True} | more)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())
