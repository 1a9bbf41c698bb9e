"""Comparisons through the Python clients and the command line, against a real server."""

import asyncio
import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from spindle.async_client import AsyncSpindle
from spindle.cli.main import app
from spindle.client import Spindle
from spindle.errors import ApiError
from tests.api.platform import Served
from tests.comparing import draw_whole


@pytest.fixture(scope="module")
def job_id(server: Served) -> str:
    """A job that is done."""
    job = server.job()
    server.work()
    return str(job["id"])


def test_a_client_compares_votes_and_learns(server: Served, job_id: str, tmp_path: Path) -> None:
    with Spindle(url=server.url, key=server.secret) as client:
        made = client.comparisons.create(job=job_id, iteration=2, prompts=["a fox", "a bird"], name="mine")
        assert (made.status, made.finished, made.results) == ("drawing", False, None)
        draw_whole(server.database, server.store, made.id)
        ready = client.comparisons.wait(made.id, timeout=5)
        assert [each.label for each in ready.models] == ["iteration 1", "iteration 2"]
        assert made.id in [each.id for each in client.comparisons.list(job=job_id)]
        ballot = client.comparisons.ballot(made.id, voter="ada")
        assert ballot.id is not None
        assert ballot.left is not None
        size = client.comparisons.save(ballot.left, tmp_path / "left.png")
        assert size == (tmp_path / "left.png").stat().st_size
        with Image.open(tmp_path / "left.png") as picture:
            assert picture.size == (16, 16)
        cast = client.comparisons.vote(made.id, ballot.id, "tie", voter="ada")
        undone = client.comparisons.undo(made.id, voter="ada")
        assert (undone.id, undone.ballot.id) == (cast.id, ballot.id)
        client.comparisons.vote(made.id, ballot.id, "right")
        [vote] = client.comparisons.votes(made.id)
        assert (vote.voter, vote.winner) == ("ada", vote.right)
        told = client.comparisons.get(made.id)
        assert told.results is not None
        assert (told.results[0].wins + told.results[0].losses, told.results[0].note) == (1, "one_prompt")
        assert client.comparisons.get(made.id, reveal=False).results is None
        assert [each.prompt for each in client.comparisons.pictures(made.id)] == ["a fox", "a bird"]
        dataset = client.comparisons.create_dataset(made.id, "preferred", agreed=0.75)
        server.work()
        assert client.datasets.wait(dataset.id, timeout=5).rows == 1
        assert client.comparisons.delete(made.id).deleted
        with pytest.raises(ApiError, match="there is no comparison"):
            client.comparisons.get(made.id)


def test_the_asynchronous_client_does_the_same(server: Served, job_id: str, tmp_path: Path) -> None:
    async def go() -> None:
        async with AsyncSpindle(url=server.url, key=server.secret) as client:
            made = await client.comparisons.create(job=job_id, seeds=[3])
            await asyncio.to_thread(draw_whole, server.database, server.store, made.id)
            assert (await client.comparisons.wait(made.id, timeout=5)).status == "ready"
            ballot = await client.comparisons.ballot(made.id)
            assert ballot.id is not None
            assert ballot.right is not None
            assert await client.comparisons.save(ballot.right, tmp_path / "right.png") > 0
            await client.comparisons.vote(made.id, ballot.id, "left")
            assert (await client.comparisons.ballot(made.id)).id is None
            assert [each.choice async for each in client.comparisons.votes(made.id)] == ["left"]

    asyncio.run(go())


def test_the_command_line_does_the_same(
    server: Served, job_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPINDLE_URL", server.url)
    monkeypatch.setenv("SPINDLE_API_KEY", server.secret)

    def said(*words: str) -> str:
        ran = CliRunner().invoke(app, ["compare", *words])
        assert ran.exit_code == 0, ran.output
        return ran.output

    (tmp_path / "prompts.txt").write_text("a fox\n\na bird\n")
    create = ("create", "--job", job_id, "--iteration", "1", "--prompts", str(tmp_path / "prompts.txt"))
    made = json.loads(said(*create, "--seed", "4", "--seed", "5", "--steps", "3", "--json"))
    assert [each["seeds"] for each in made["prompts"]] == [[4, 5], [4, 5]]
    assert made["steps"] == 3
    draw_whole(server.database, server.store, made["id"])
    assert "8 of 8" in said("show", made["id"])
    assert made["id"] in said("list", "--job", job_id)
    assert said("vote", made["id"]).strip() == f"{server.url}/comparisons/{made['id']}/vote"
    ballot = json.loads(said("vote", made["id"], "--pictures", str(tmp_path / "out"), "--json"))
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["left.png", "right.png"]
    assert "left" in said("vote", made["id"], ballot["id"], "left")
    assert "is open again" in said("undo", made["id"])
    said("vote", made["id"], ballot["id"], "right", "--voter", "bob")
    assert "bob" in said("votes", made["id"])
    told = said("results", made["id"], "--per-prompt")
    assert "iteration 1 against base" in told
    assert "one prompt alone" in told
    dataset = json.loads(said("dataset", made["id"], "preferred", "--no-wait", "--json"))
    server.work()
    assert server.client.get(f"/v1/datasets/{dataset['id']}").json()["status"] == "ready"
    assert "deleted" in said("delete", made["id"])
    wrong = CliRunner().invoke(app, ["compare", "vote", made["id"], "bal-1"])
    assert (wrong.exit_code, "left, right, tie" in wrong.output) == (1, True)
