"""Pages of a project that has a lot ask as little as those of one that has next to nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from core.db import transaction
from core.models import ApiKey
from tests.api.conftest import copied, settings_in
from tests.api.platform import Running, platform_in
from tests.api.web.filled import Effort, effort, fill

FEW, MANY = 30, 10_000
PAGES = (
    "/",
    "/datasets",
    "/datasets?name=set-7",
    "/datasets/{id}",
    "/jobs",
    "/jobs?state=succeeded",
    "/jobs?state=failed",
    "/jobs?after={job}",
    "/project",
    "/queue",
    "/keys",
    "/audit",
)
MOST_STEPS = 800
"""Thousands of steps of SQLite's machine; a look at each of 10,000 rows takes some 100."""


@contextmanager
def visited(prepared: Path, home: Path, number: int) -> Iterator[Running]:
    """Yield a platform with so many datasets and jobs, whose client is a browser that is signed in."""
    home.mkdir()
    with platform_in(settings_in(copied(prepared, home))) as running:
        with transaction(running.database) as session:
            key_id = session.scalars(select(ApiKey.id)).one()
        fill(running.database, number=number, key_id=key_id)
        form, origin = {"key": running.secret}, {"Origin": "http://testserver", "Authorization": ""}
        entered = running.client.post("/sign-in", data=form, headers=origin, follow_redirects=False)
        cookie = f"spindle_session={entered.cookies['spindle_session']}"
        running.client.headers.pop("Authorization")
        running.client.headers |= {"Cookie": cookie, "Accept": "text/html"}
        yield running


def efforts(running: Running) -> dict[str, Effort]:
    """Return what each page asks of the database, at the second look."""
    newest = running.client.get("/v1/datasets?limit=1").json()["data"][0]["id"]
    job = running.client.get("/v1/fine_tuning/jobs?limit=1").json()["data"][0]["id"]
    found = {}
    for page in PAGES:
        path = page.format(id=newest, job=job)
        assert running.client.get(path).status_code == 200, path
        with effort(running.database) as found[page]:
            running.client.get(path)
    return found


@pytest.fixture(scope="module")
def asked(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Effort]]:
    """What each page asks, by how much there is."""
    folder = tmp_path_factory.mktemp("sizes")
    found = {}
    for number in (FEW, MANY):
        with visited(prepared, folder / str(number), number) as running:
            found[number] = efforts(running)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_a_page_asks_as_little_of_much_as_of_little(asked: dict[int, dict[str, Effort]], page: str) -> None:
    few, many = asked[FEW][page], asked[MANY][page]
    assert len(many.statements) == len(few.statements)
    assert len(many.statements) <= 40
    assert many.steps <= MOST_STEPS
