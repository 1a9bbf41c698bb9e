"""Servers for trying out: those of docker-compose.yml, each with its volume; and the tables come first."""

import os
import re
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from core.settings import Settings
from core.storage.s3 import S3Store
from core.storage.store import store_for
from tests.deploy.image import ROOT, assert_real
from tests.deploy.release import Release, render, scenario

SERVERS = {"postgres": 5432, "redis": 6379, "seaweedfs": 8333}
OURS = ("api", "beat", "serve", "worker-units", "worker-aside")


@pytest.fixture(scope="module")
def trial() -> Release:
    return render(scenario("trial"))


@pytest.fixture(scope="module")
def composed() -> dict[str, Any]:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return {server: dict(services["s3" if server == "seaweedfs" else server]) for server in SERVERS}


def container(release: Release, component: str) -> dict[str, Any]:
    return dict(release.pods()[component]["spec"]["containers"][0])


def environment(release: Release, of: dict[str, Any]) -> dict[str, str]:
    """Return the environment of a container, with what its Secret holds."""
    secret = release.of("Secret")["trial"]["stringData"]
    found = {}
    for each in of["env"]:
        reference = each.get("valueFrom", {}).get("secretKeyRef")
        if reference is not None:
            assert reference["name"] == "demo-trial"
        found[each["name"]] = each["value"] if reference is None else secret[reference["key"]]
    return found


@pytest.mark.parametrize("server", SERVERS)
def test_the_images_are_those_of_compose(trial: Release, composed: dict[str, Any], server: str) -> None:
    assert container(trial, server)["image"] == composed[server]["image"]


@pytest.mark.parametrize("server", ["redis", "seaweedfs"])
def test_the_commands_are_those_of_compose(trial: Release, composed: dict[str, Any], server: str) -> None:
    """Redis keeps messages, SeaweedFS tells nobody; here its parts talk to each other on the loopback."""
    made = container(trial, server)
    ran = [*made["command"], *made.get("args", [])]
    wanted = [re.sub(r"\$\{(\w+):[^}]*\}", r"$(\1)", each) for each in composed[server]["command"]]
    if server == "seaweedfs":
        wanted = ["weed", "-logtostderr=true", *wanted]
        wanted[wanted.index("-ip=s3")] = "-ip=127.0.0.1"
    assert ran == wanted


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_keeps_its_data_and_can_do_little(trial: Release, server: str) -> None:
    made = trial.of("StatefulSet")[server]["spec"]
    pod, own = made["template"]["spec"], container(trial, server)
    assert made["replicas"] == 1
    [claim] = made["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert "storageClassName" not in claim["spec"]
    mounts = {each["mountPath"]: each["name"] for each in own["volumeMounts"]}
    home = {"postgres": "/var/lib/postgresql", "redis": "/data", "seaweedfs": "/data"}[server]
    assert mounts[home] == claim["metadata"]["name"] == "data"
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    assert pod["securityContext"]["runAsUser"] > 0
    assert own["securityContext"]["readOnlyRootFilesystem"] is True
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= own.keys()
    service = trial.of("Service")[server]["spec"]
    assert [port["port"] for port in service["ports"]] == [SERVERS[server]]


def test_the_storage_class_and_size_are_the_users() -> None:
    given = {"storageClass": "fast", "postgres": {"size": "1Gi"}}
    made = render(scenario("trial", trial=given)).of("StatefulSet")["postgres"]["spec"]
    assert made["volumeClaimTemplates"][0]["spec"]["storageClassName"] == "fast"
    assert made["volumeClaimTemplates"][0]["spec"]["resources"] == {"requests": {"storage": "1Gi"}}


@pytest.mark.parametrize("component", OURS)
def test_the_addresses_are_those_of_the_servers(
    trial: Release, component: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from another namespace, where KEDA asks the database."""
    for name in [name for name in os.environ if name.startswith("SPINDLE_")]:
        monkeypatch.delenv(name)
    for name, value in environment(trial, container(trial, component)).items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    assert settings.database_url.endswith("@demo-postgres.team.svc:5432/spindle")
    assert settings.broker_url.endswith("@demo-redis.team.svc:6379/0")
    assert "@demo-seaweedfs.team.svc:8333/spindle?" in settings.store_url
    assert settings.first_key is None
    link = S3Store.from_url(settings.store_url).signed_url("a/b", 60)
    assert link.startswith("http://127.0.0.1:8333/spindle/a/b?")


def test_the_servers_ask_for_the_passwords_that_ours_have(trial: Release) -> None:
    ours = environment(trial, container(trial, "api"))
    postgres, redis, weed = (environment(trial, container(trial, each)) for each in SERVERS)
    assert f":{postgres['POSTGRES_PASSWORD']}@" in ours["SPINDLE_DATABASE_URL"]
    assert f":{redis['REDIS_PASSWORD']}@" in ours["SPINDLE_BROKER_URL"]
    assert redis["REDISCLI_AUTH"] == redis["REDIS_PASSWORD"]
    assert f"{weed['AWS_ACCESS_KEY_ID']}:{weed['AWS_SECRET_ACCESS_KEY']}@" in ours["SPINDLE_STORE_URL"]


def test_secrets_are_drawn_and_stay_with_the_volumes(trial: Release) -> None:
    secret = trial.of("Secret")["trial"]
    assert secret["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    drawn = {name: text for name, text in secret["stringData"].items() if not name.endswith("_URL")}
    assert set(drawn) == {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "S3_SECRET_KEY", "SPINDLE_FIRST_KEY"}
    assert len(set(drawn.values())) == len(drawn)
    assert all(re.fullmatch(r"[A-Za-z0-9]{48}", text) for text in drawn.values())
    again = render(scenario("trial")).of("Secret")["trial"]["stringData"]
    assert all(again[name] != text for name, text in drawn.items())


@pytest.mark.parametrize("component", OURS)
def test_each_pod_makes_sure_of_the_tables_before_it_starts(trial: Release, component: str) -> None:
    """A migration before the release would find no servers; the release has no Job for it."""
    pod = trial.pods()[component]["spec"]
    [first] = pod["initContainers"]
    assert first["args"] == ["python", "-m", "core.migrate", "--wait", "600"]
    assert_real(first["args"])
    own = container(trial, component)
    for key in ("image", "securityContext"):
        assert first[key] == own[key]
    told = environment(trial, first)
    assert told.pop("SPINDLE_FIRST_KEY") == trial.of("Secret")["trial"]["stringData"]["SPINDLE_FIRST_KEY"]
    assert told.items() <= environment(trial, own).items()
    assert {"/state", "/tmp"} <= {each["mountPath"] for each in first["volumeMounts"]}  # noqa: S108
    assert trial.of("Job") == {}


def test_elsewhere_no_pod_waits_and_nothing_of_it_is_there() -> None:
    release = render(scenario("minimal"))
    assert release.of("StatefulSet") == release.of("Secret") == {}
    assert [name for name, pod in release.pods().items() if "initContainers" in pod["spec"]] == []


def test_each_part_may_have_a_secret_of_its_own() -> None:
    given = {"database": {"name": "pg-app", "key": "uri"}, "firstKey": {"name": "first"}}
    release = render(scenario("minimal", secrets=given))
    wanted = {
        "SPINDLE_DATABASE_URL": ("pg-app", "uri"),
        "SPINDLE_BROKER_URL": ("spindle", "SPINDLE_BROKER_URL"),
        "SPINDLE_STORE_URL": ("spindle", "SPINDLE_STORE_URL"),
    }
    for component, pod in release.pods().items():
        [own] = pod["spec"]["containers"]
        found = {
            each["name"]: (
                each["valueFrom"]["secretKeyRef"]["name"],
                each["valueFrom"]["secretKeyRef"]["key"],
            )
            for each in own.get("env", [])
            if "valueFrom" in each
        }
        first = {"SPINDLE_FIRST_KEY": ("first", "SPINDLE_FIRST_KEY")}
        expected = wanted | (first if component == "migrate" else {})
        assert found == ({} if component == "test" else expected), component
    assert "get secret first -o" in release.notes
    together = {part: {"name": "one"} for part in ("database", "broker", "store", "firstKey")}
    assert render(scenario("minimal", existingSecret="", secrets=together)).of("Secret") == {}


def test_pods_of_the_api_need_no_secret_that_signs_links(tmp_path: Path) -> None:
    """Links to S3 are signed with the store's own key, so any number of pods sign alike."""
    s3 = Settings(state=tmp_path, store_url="s3://key:aebc81@s3.example.org/bucket")
    store_for(s3).signed_url("a/b", 60)
    assert list(tmp_path.iterdir()) == []
    store_for(Settings(state=tmp_path)).signed_url("a/b", 60)
    assert (tmp_path / "secret").is_file()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"existingSecret": "spindle"}, "leave existingSecret empty, or turn the trial off"),
        ({"secrets": {"store": {"name": "s3"}}}, "secrets.store.name: trial.enabled brings servers"),
        ({"trial": {"enabled": False}}, "existingSecret: name a Secret with SPINDLE_DATABASE_URL"),
        ({"trial": {"enabled": False}, "secrets": {"database": {"name": "a"}}}, "secrets.broker"),
        ({"trial": {"redis": {"password": "a"}}}, "'password'"),
        ({"trial": {"seaweedfs": {"publicUrl": "s3.example.org"}}}, "publicUrl"),
        ({"secrets": {"database": {"value": "postgresql://"}}}, "'value'"),
    ],
)
def test_what_could_not_work_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(helm_python.HelmError, match=told):
        render(scenario("trial", **wrong))
