"""``spindle up --profile cluster`` and ``spindle doctor`` on real servers, and refused without them."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spindle.cli.main import app
from spindle.client import Spindle
from spindle.errors import SpindleError
from spindle.profile import Profile, check_cluster
from spindle.running import temporary
from tests.conftest import Servers
from tests.databases import create_database, drop_database

EMPTY = "spindle_up_cluster"


def test_a_cluster_that_is_not_named_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    state = tmp_path / "state"
    result = CliRunner().invoke(
        app,
        ["up", "--profile", "cluster", "--port", "0", "--state", str(state)],
        env={"SPINDLE_BROKER_URL": "redis://127.0.0.1:6379/0"},
    )
    assert result.exit_code == 1
    assert "SPINDLE_DATABASE_URL is not set: give postgresql://" in result.output
    assert "SPINDLE_STORE_URL is not set: give s3://" in result.output
    assert "SPINDLE_BROKER_URL" not in result.output
    assert not state.exists()


def test_parts_of_the_embedded_profile_are_no_cluster() -> None:
    urls = {
        "SPINDLE_DATABASE_URL": "sqlite:////tmp/spindle.db",
        "SPINDLE_STORE_URL": "s3://a:b@host/bucket",
        "SPINDLE_BROKER_URL": "filesystem:///tmp/queue",
    }
    with pytest.raises(SpindleError) as refused:
        check_cluster(urls)
    assert "SPINDLE_DATABASE_URL begins with sqlite://" in str(refused.value)
    assert "SPINDLE_BROKER_URL begins with filesystem://" in str(refused.value)
    assert "SPINDLE_STORE_URL" not in str(refused.value)
    check_cluster(
        {
            "SPINDLE_DATABASE_URL": "postgresql+psycopg://a:b@host/name",
            "SPINDLE_STORE_URL": "s3://a:b@host/bucket",
            "SPINDLE_BROKER_URL": "rediss://:b@host/0",
        }
    )


def test_a_cluster_comes_up_from_empty_servers_and_the_doctor_is_content(
    tmp_path: Path, servers: Servers
) -> None:
    create_database(servers.postgres, EMPTY, template="template1")
    urls = {
        "SPINDLE_DATABASE_URL": servers.postgres.format(database=EMPTY),
        "SPINDLE_STORE_URL": servers.seaweedfs.replace("/spindle?", "/brought-up?"),
        "SPINDLE_BROKER_URL": f"{servers.redis.rpartition('/')[0]}/15",
    }
    state = tmp_path / "state"
    with temporary(state, settings=urls, profile=Profile.cluster) as client:
        assert isinstance(client, Spindle)
        assert [model.kind for model in client.models.list()] == ["base"]
        result = CliRunner().invoke(
            app, ["doctor", "--json", "--state", str(state)], env={**os.environ, **urls}
        )
        found = {each["part"]: each for each in json.loads(result.output)}
        assert (result.exit_code, {part for part, each in found.items() if each["health"] == "fail"}) == (
            0,
            set(),
        )
        assert "postgresql answers" in found["database"]["told"]
        assert "units-1@" in found["workers"]["told"]
        assert found["beat"]["health"] == "ok"
    assert not list(state.glob("*.db"))
    drop_database(servers.postgres, EMPTY)
