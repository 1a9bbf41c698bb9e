"""The chart by the real Helm engine: rendered, held against Kubernetes' schemas, strict with its values."""

import json
import os
import re
from pathlib import Path
from typing import Any

import helm_python
import pytest

from core.models import UnitKind
from core.settings import Settings
from tests.deploy.image import ROOT, assert_real
from tests.deploy.kubernetes import VERSIONS, assert_valid
from tests.deploy.release import CHART, SCENARIOS, Manifest, render, scenario

# What the chart itself sets, or takes from Secrets and volumes.
PLACED = {
    "state",
    "database_url",
    "broker_url",
    "store_url",
    "base_models",
    "secret",
    "previous_secrets",
    "first_key",
    "c2pa_key",
    "c2pa_certificates",
    "metrics_port",
}
LIMITS = {"type", "minimum", "maximum", "exclusiveMinimum", "pattern"}
OURS = ("api", "beat", "serve", "migrate", "worker-")
SECRET = {
    "SPINDLE_DATABASE_URL": "postgresql://user:aebc81@db.example.org/spindle",
    "SPINDLE_BROKER_URL": "rediss://:aebc81@redis.example.org:6380/0",
    "SPINDLE_STORE_URL": "s3://key:aebc81@s3.example.org/bucket",
    "SPINDLE_FIRST_KEY": "9f2c4e7a1b8d3065c4f19e7b2a6d8530",
}
ALL = ("minimal", "gpu-pools", "external-everything", "scaled-job", "air-gapped")


def pods(given: dict[str, Any]) -> dict[str, Manifest]:
    """Return the specs of the platform's own pods, by component."""
    found = render(given).pods()
    return {name: pod["spec"] for name, pod in found.items() if name.startswith(OURS)}


def mounts(pod: Manifest) -> set[str]:
    return {each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}


def test_each_way_to_run_it_has_a_scenario() -> None:
    assert set(ALL) <= set(SCENARIOS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_chart_passes_the_linter(name: str) -> None:
    report = helm_python.lint(CHART, scenario(name), strict=True)
    assert report["errors"] == []
    assert [each for each in report["messages"] if each["severity"] > 1] == []


@pytest.mark.parametrize("name", SCENARIOS)
def test_kubernetes_knows_every_field(name: str) -> None:
    manifests = render(scenario(name)).objects
    for version in VERSIONS:
        for each in manifests:
            assert_valid(each, version)
    names = [(each["kind"], each["metadata"]["name"]) for each in manifests]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_commands_are_real(name: str) -> None:
    commands = {tuple(pod["containers"][0]["args"]) for pod in pods(scenario(name)).values()}
    assert len(commands) >= 4
    for command in commands:
        assert_real([word.replace("$(POD_IP)", "10.1.2.3") for word in command])


@pytest.mark.parametrize("name", ALL)
def test_the_settings_are_real(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings refuses a variable that it does not know, and values that it cannot use."""
    values = scenario(name)
    for component, pod in pods(values).items():
        with monkeypatch.context() as patch:
            for each in pod["containers"][0]["env"]:
                reference = each.get("valueFrom", {}).get("secretKeyRef")
                if reference is not None:
                    assert reference == {"name": values["existingSecret"], "key": each["name"]}
                if each["name"].startswith("SPINDLE_"):
                    given = each["value"] if reference is None else SECRET[each["name"]]
                    patch.setenv(each["name"], given)
            if "SPINDLE_BASE_MODELS" in os.environ:
                assert os.environ["SPINDLE_BASE_MODELS"] in mounts(pod)
                patch.setenv("SPINDLE_BASE_MODELS", str(tmp_path))
            settings = Settings.load()
        wanted = values["settings"]
        assert {key: getattr(settings, key) for key in wanted} == wanted
        assert (settings.first_key is not None) == (component == "migrate")
        watched = [port for port in pod["containers"][0].get("ports", []) if port["name"] == "metrics"]
        assert [port["containerPort"] for port in watched] == [settings.metrics_port] * bool(
            settings.metrics_port
        )


def test_the_schema_knows_every_setting() -> None:
    """A new setting of core.settings stands in values.schema.json, with its limits, or it cannot be set."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    told = {
        name: {key: limit for key, limit in each.items() if key in LIMITS}
        for name, each in schema["properties"]["settings"]["properties"].items()
    }
    assert told == {
        name: {key: limit for key, limit in each.items() if key in LIMITS}
        for name, each in Settings.model_json_schema()["properties"].items()
        if name not in PLACED
    }
    kinds = schema["$defs"]["pool"]["properties"]["kinds"]["items"]["enum"]
    assert kinds == [kind.value for kind in UnitKind]
    queries = (CHART / "templates" / "_queries.tpl").read_text()
    assert " ".join(kinds) in queries.splitlines()


def test_the_schema_lets_nothing_unknown_through() -> None:
    """Only what is Kubernetes' own, and long, is taken as it is."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    open_ones: set[str] = set()

    def look(part: Any, name: str) -> None:
        if isinstance(part, dict):
            if part.get("type") == "object" and "additionalProperties" not in part:
                open_ones.add(name)
            for key, inner in part.items():
                look(inner, name if key in {"properties", "items"} else key)

    look(schema, "")
    kubernetes = {"valueFrom", "nodeAffinity", "podAffinity", "podAntiAffinity", "labelSelector"}
    assert open_ones <= kubernetes | {
        "global",
        "matchExpressions",
        "podSelector",
        "namespaceSelector",
        "ipBlock",
        "peers",
    }


@pytest.mark.parametrize("name", SCENARIOS)
def test_pods_can_do_little(name: str) -> None:
    for pod in pods(scenario(name)).values():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert f"USER {pod['securityContext']['runAsUser']}" in (ROOT / "Dockerfile").read_text()
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"/state", "/tmp"} <= mounts(pod)  # noqa: S108  mounts in the pod


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_pod_that_stays_is_asked_whether_it_lives(name: str) -> None:
    for component, pod in pods(scenario(name)).items():
        (container,) = pod["containers"]
        if component == "migrate":
            continue
        port = "http" if component == "api" else "metrics"
        assert port in {each["name"] for each in container["ports"]}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"] == {"path": "/livez", "port": port}


def test_only_who_serves_is_given_the_key_that_signs_pictures() -> None:
    found = pods(scenario("gpu-pools"))
    told = {name: {each["name"] for each in pod["containers"][0]["env"]} for name, pod in found.items()}
    assert {name for name, env in told.items() if "SPINDLE_C2PA_KEY" in env} == {"serve"}
    assert {name for name, pod in found.items() if "/c2pa" in mounts(pod)} == {"serve"}
    secret = next(each for each in found["serve"]["volumes"] if each["name"] == "c2pa")
    files = [{"key": name, "path": name} for name in ("key.pem", "certificates.pem")]
    assert secret["secret"] == {"secretName": "spindle-c2pa", "items": files}


def test_behind_an_air_gap_every_byte_is_known_and_nothing_is_asked_of_the_internet() -> None:
    found = pods(scenario("air-gapped"))
    for component, pod in found.items():
        (container,) = pod["containers"]
        assert re.fullmatch(
            r"registry\.internal\.example\.org:5000/mirror/spindle-\w+:0\.1\.0@sha256:[0-9a-f]{64}",
            container["image"],
        )
        assert pod["imagePullSecrets"] == [{"name": "registry-internal"}]
        offline = {"name": "HF_HUB_OFFLINE", "value": "1"} in container["env"]
        assert offline == component.startswith(("worker-", "serve"))


def test_images_are_named_by_registry_tag_and_digest() -> None:
    images = {"registry": "r.example.org", "api": {"tag": "2"}, "worker": {"digest": "sha256:" + "a" * 64}}
    found = {
        name: pod["containers"][0]["image"] for name, pod in pods(scenario("minimal", images=images)).items()
    }
    assert found["api"] == found["beat"] == found["migrate"] == "r.example.org/spindle-api:2"
    assert found["serve"] == "r.example.org/spindle-serve:0.1.0-cuda"
    assert found["worker-gpu"] == "r.example.org/spindle-worker:0.1.0-cuda@sha256:" + "a" * 64
    on_processors = pods(scenario("minimal", images={"accelerator": "cpu"}))
    assert on_processors["serve"]["containers"][0]["image"] == "spindle-serve:0.1.0"
